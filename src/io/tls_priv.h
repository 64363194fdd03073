/* TLS sessions on a socket, for tcp.c and sock.c. The socket stays the caller's. */
#ifndef KOAN_IO_TLS_PRIV_H
#define KOAN_IO_TLS_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct tls_client;
struct tls_server;
struct tls_session;

/* NULL when out of memory. */
struct tls_session *tls_session_accept(struct tls_server *t, int fd);
/* `name` is checked against the certificate and sent as SNI. `older`: offer TLS 1.2 only. */
struct tls_session *tls_session_connect(struct tls_client *t, int fd, const char *name, bool older);
/* The handshake failed because the server, which speaks TLS 1.2, signed as only 1.3 can check: a
 * new connection that offers no more than 1.2 will do. Nothing weaker than 1.2 is ever spoken, and
 * the certificate is checked either way. */
bool tls_session_wants_older(const struct tls_session *s);
/* For sockets that block: the whole handshake, with the reason of a failure in words. */
int tls_session_handshake(struct tls_session *s, struct err *e);
/* For sockets that do not block: 0 done, -1 again, else a code and the words. */
int tls_session_step(struct tls_session *s, struct err *e);
/* As tcp_read() and tcp_write() of one piece; -1 again, -2 broken. The handshake is done on the
 * way. After -1 from a write the next write must offer the same bytes. */
ssize_t tls_session_read(struct tls_session *s, void *p, size_t n);
ssize_t tls_session_write(struct tls_session *s, const void *p, size_t n);
/* The last -1 was for want of room to write, not of bytes to read. */
bool tls_session_wants_write(const struct tls_session *s);
/* Decrypted bytes wait inside: the socket will not report them. */
bool tls_session_has_bytes(const struct tls_session *s);
/* Says goodbye, as far as the socket takes it. */
void tls_session_end(struct tls_session *s);
void tls_session_free(struct tls_session *s);

#endif
