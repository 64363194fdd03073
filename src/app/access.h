/* Access - who may talk to the API: anybody on a loopback address, else whoever has the token.
 *
 * The token is the setting `token`; else the file "token" in the data folder, made on the first
 * start that needs one (0600). It is shown to people once, when it is made. */
#ifndef KOAN_APP_ACCESS_H
#define KOAN_APP_ACCESS_H

#include <stdbool.h>

struct config;
struct err;

struct access {
    char *token; /* NULL: none is needed */
    bool made;   /* just now */
    char why[160];
};

int access_open(const struct config *config, const char *data, struct access *out, struct err *e);
void access_fini(struct access *a);

#endif
