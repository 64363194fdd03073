/* TCP - listeners and connections as byte streams that do not block, plain or TLS.
 *
 * Readiness style: the owner is told that bytes can be read or written and then does so itself,
 * into buffers of its own choosing. So an idle connection holds no buffer, and a whole turn's
 * answers leave with one writev. TLS happens inside tcp_read() and tcp_write(): the owner cannot
 * tell, except by tcp_is_tls().
 *
 * Several loops listen on one port through SO_REUSEPORT, each with a listener of its own. All calls
 * on the loop's thread. */
#ifndef KOAN_IO_TCP_H
#define KOAN_IO_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct err;
struct loop;
struct tcp;
struct tcp_listener;
struct tls_server;

enum { TCP_BACKLOG = 1024, TCP_ADDRESS_TEXT = 64, TCP_ACCEPTS_PER_TURN = 64 };

/* ---- listening ---- */

/* The callee owns `t` and must call tcp_start() or tcp_close() before it returns. */
typedef void tcp_accept_cb(void *arg, struct tcp *t);

struct tcp_listen_options {
    const char *address; /* a numeric IPv4 or IPv6 address, or "localhost" */
    uint16_t port;       /* 0: any free one */
    /* Another listener of this process has the port already. Without it the port must be free:
     * SO_REUSEPORT alone would let a second process of the same user take half of our clients. */
    bool shared;
    /* A socket that listens already, instead of address and port; several listeners may have the
     * same. It is not taken over: the listener works on a duplicate. 0: none. */
    int fd;
    struct tls_server *tls; /* NULL: plain. Not owned */
};

/* In use by another program: ERR_CONFLICT, with the way out in the message. */
int tcp_listen(struct loop *l, const struct tcp_listen_options *options, tcp_accept_cb *accept,
               void *arg, struct tcp_listener **out, struct err *e);
uint16_t tcp_listener_port(const struct tcp_listener *s);
/* Stop and continue accepting, for a limit on connections. */
void tcp_listener_pause(struct tcp_listener *s, bool pause);
/* No callback after this. Takes NULL. */
void tcp_listener_close(struct tcp_listener *s);

/* ---- a connection ---- */

enum tcp_events { TCP_READABLE = 1, TCP_WRITABLE = 2, TCP_HANGUP = 4, TCP_RESET = 8 };

/* TCP_READABLE: read as much as you like, it is told again; but first all that tcp_has_bytes().
 * TCP_WRITABLE: only after a short tcp_write(). TCP_HANGUP, told once: the peer sends no more; a
 * write finds out whether it still reads. TCP_RESET: it neither sends nor reads any more. */
typedef void tcp_ready_cb(void *arg, unsigned events);
void tcp_start(struct tcp *t, tcp_ready_cb *ready, void *arg);

/* Results below 0 of tcp_read(). */
enum { TCP_AGAIN = -1, TCP_BROKEN = -2 };

/* ---- connecting ---- */

struct tcp_connect_options {
    const char *address; /* numeric */
    uint16_t port;
    struct tls_client *tls; /* NULL: plain. Not owned */
    const char *name;       /* with TLS: what the certificate must say */
    bool older;             /* offer TLS 1.2 only */
};

/* Begins; then tcp_start(), and when TCP_WRITABLE or TCP_RESET is told, tcp_connected() says how it
 * went. ERR_UNAVAILABLE where there is no way at all. */
int tcp_connect(struct loop *l, const struct tcp_connect_options *options, struct tcp **out,
                struct err *e);
int tcp_connected(struct tcp *t, struct err *e);
/* Before the first byte of a connection that we began: 0 when it may be used, TCP_AGAIN: try again
 * when anything is told, or ERR_UNAVAILABLE with why the other side is not believed. Plain: 0. */
int tcp_handshake(struct tcp *t, struct err *e);
/* After it failed: would it do with `older`? Some servers of TLS 1.2 choose what only 1.3 can
 * check. */
bool tcp_wants_older(const struct tcp *t);

/* Bytes read; 0 at the peer's end of stream; TCP_AGAIN; TCP_BROKEN. */
ssize_t tcp_read(struct tcp *t, void *p, size_t n);
/* Bytes taken, fewer than given when the peer is slow: then TCP_WRITABLE follows. The next call
 * must begin with the first byte that was not taken, and with at least as many bytes. -1: broken.
 */
ssize_t tcp_write(struct tcp *t, const struct iovec *iov, int count);
/* Bytes wait inside the TLS layer, where the socket does not report them. */
bool tcp_has_bytes(const struct tcp *t);
/* Reading on (the state after tcp_start) or off. While off, only writability and hang-ups are told.
 * Having turned it on again, try tcp_read() at once. */
void tcp_want_read(struct tcp *t, bool on);
bool tcp_wants_read(const struct tcp *t);
/* While reading is off: is it the end of the stream that waits there? */
bool tcp_at_end(struct tcp *t);
/* No more bytes from us; the peer reads end of stream after what was written. */
void tcp_shutdown(struct tcp *t);
/* No callback after this; the memory goes by itself. Takes NULL. */
void tcp_close(struct tcp *t);

bool tcp_is_tls(const struct tcp *t);
/* "192.0.2.1" or "2001:db8::1". */
const char *tcp_peer(const struct tcp *t);

#endif
