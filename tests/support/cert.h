/* Cert - throw-away certificates for tests: self-signed, for localhost and 127.0.0.1, in a new
 * folder under TMPDIR. */
#ifndef KOAN_SUPPORT_CERT_H
#define KOAN_SUPPORT_CERT_H

struct err;

struct cert_files {
    char folder[200], cert[256], key[256];
};

int cert_make(struct cert_files *out, struct err *e);
void cert_remove(struct cert_files *f); /* also of a zeroed one */

#endif
