/* Activation - what systemd hands to a service that it starts: a socket that already listens, and
 * credentials.
 *
 * A socket (koan.socket; LISTEN_PID and LISTEN_FDS, descriptor 3) stays open while Koan is
 * restarted: clients that come meanwhile wait in its queue instead of being refused. It takes the
 * place of `http.listen` before all else, and its address counts for what depends on one: whether a
 * token is needed. The descriptor stays open until the process ends.
 *
 * A credential is a file in CREDENTIALS_DIRECTORY (LoadCredential=, SetCredentialEncrypted=) that
 * only this service can read: "koan.token" is the setting `token`. It stands above the
 * configuration file and below the environment. */
#ifndef KOAN_APP_ACTIVATION_H
#define KOAN_APP_ACTIVATION_H

struct err;

enum { ACTIVATION_FD = 3, ACTIVATION_ADDRESS_MAX = 64, ACTIVATION_CREDENTIALS_MAX = 256 };

/* ACTIVATION_FD with its address, as a setting would write it, in `address`; 0: none was handed
 * to this process; ERR_INVALID: what was handed over is nothing to serve HTTP on. Can be asked
 * again and again. */
int activation_socket(char *const *environment, char address[ACTIVATION_ADDRESS_MAX],
                      struct err *e);

/* Of each file koan.NAME in `folder`; `name` is NAME. */
typedef void activation_credential_cb(void *arg, const char *name, const char *path);
int activation_credentials(const char *folder, activation_credential_cb *each, void *arg,
                           struct err *e);

#endif
