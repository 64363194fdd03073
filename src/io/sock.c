#include "io/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/tls_priv.h"

enum { SOCK_TIMEOUT_MS = 30 * 1000, SOCK_BROKEN = -2 };

struct sock {
    int fd;
    struct tls_session *tls;
    char peer[300];
};

/* Connects within the time, then lets the socket block with that time on each wait. */
static int sock_dial(const struct addrinfo *a, uint32_t timeout_ms)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int errnum = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (errnum == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t n = sizeof errnum;
        int ready = poll(&p, 1, (int)timeout_ms);
        if (ready <= 0)
            errnum = ready == 0 ? ETIMEDOUT : errno;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &n) != 0)
            errnum = errno;
    }
    if (errnum != 0) {
        close(fd);
        return -errnum;
    }
    struct timeval t = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    int on = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int sock_refused(int errnum, const struct sock_options *o, struct err *e)
{
    switch (errnum) {
    case ECONNREFUSED:
        return err_set(e, ERR_UNAVAILABLE,
                       "nothing listens on %s port %u; is the server running, and on this port?",
                       o->host, o->port);
    case ETIMEDOUT:
        return err_set(e, ERR_UNAVAILABLE, "%s port %u does not answer; is a firewall between us?",
                       o->host, o->port);
    default:
        return err_set(e, ERR_UNAVAILABLE, "cannot connect to %s port %u: %s", o->host, o->port,
                       strerror(errnum));
    }
}

static int sock_open(const struct sock_options *o, uint32_t timeout_ms, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *all;
    char port[8];
    snprintf(port, sizeof port, "%u", o->port);
    int rc = getaddrinfo(o->host, port, &hints, &all);
    if (rc != 0 && strcasecmp(o->host, "localhost") == 0) /* a machine without /etc/hosts */
        rc = getaddrinfo("127.0.0.1", port, &hints, &all);
    if (rc != 0)
        return err_set(e, ERR_UNAVAILABLE, "host %s: %s", o->host, gai_strerror(rc));
    int fd = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next)
        fd = sock_dial(a, timeout_ms);
    freeaddrinfo(all);
    return fd >= 0 ? fd : sock_refused(-fd, o, e);
}

/* `*older`: in, offer TLS 1.2 only; out, that is what the server wants. */
static int sock_begin(const struct sock_options *o, bool *older, struct sock **out, struct err *e)
{
    int fd = sock_open(o, o->timeout_ms > 0 ? o->timeout_ms : SOCK_TIMEOUT_MS, e);
    if (fd < 0)
        return fd;
    struct sock *s = mem_new(sizeof *s);
    s->fd = fd;
    snprintf(s->peer, sizeof s->peer, "%s port %u", o->host, o->port);
    if (o->tls != NULL) {
        s->tls = tls_session_connect(o->tls, fd, o->host, *older);
        int rc = s->tls == NULL ? err_set(e, ERR_NOMEM, "tls session")
                                : tls_session_handshake(s->tls, e);
        if (rc != 0) {
            *older = !*older && s->tls != NULL && tls_session_wants_older(s->tls);
            sock_close(s);
            return err_context(e, "%s port %u", o->host, o->port);
        }
    }
    *older = false;
    *out = s;
    return 0;
}

int sock_connect(const struct sock_options *options, struct sock **out, struct err *e)
{
    bool older = false;
    int rc = sock_begin(options, &older, out, e);
    return older ? sock_begin(options, &older, out, e) : rc;
}

static int sock_failed(const struct sock *s, int errnum, struct err *e)
{
    if (errnum == EAGAIN)
        return err_set(e, ERR_TIMEOUT, "%s does not answer in time", s->peer);
    if (errnum == EPIPE || errnum == ECONNRESET)
        return err_set(e, ERR_CANCELED, "%s closed the connection", s->peer);
    return err_set(e, ERR_UNAVAILABLE, "%s: %s", s->peer,
                   errnum != 0 ? strerror(errnum) : "the connection broke");
}

ssize_t sock_read(struct sock *s, void *p, size_t n, struct err *e)
{
    for (;;) {
        errno = 0;
        ssize_t got = s->tls != NULL ? tls_session_read(s->tls, p, n) : recv(s->fd, p, n, 0);
        if (got >= 0)
            return got;
        if (errno == EINTR)
            continue;
        return sock_failed(s, s->tls != NULL && got != SOCK_BROKEN ? EAGAIN : errno, e);
    }
}

int sock_write(struct sock *s, const void *p, size_t n, struct err *e)
{
    const char *from = p;
    while (n > 0) {
        errno = 0;
        ssize_t put = s->tls != NULL ? tls_session_write(s->tls, from, n)
                                     : send(s->fd, from, n, MSG_NOSIGNAL);
        if (put >= 0) {
            from += put;
            n -= (size_t)put;
        } else if (errno != EINTR) {
            return sock_failed(s, s->tls != NULL && put != SOCK_BROKEN ? EAGAIN : errno, e);
        }
    }
    return 0;
}

void sock_close(struct sock *s)
{
    if (s == NULL)
        return;
    if (s->tls != NULL) {
        tls_session_end(s->tls);
        tls_session_free(s->tls);
    }
    close(s->fd);
    mem_free(s);
}
