#include "io/tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/tcp_priv.h"
#include "io/tls_priv.h"

/* A shortage of descriptors would otherwise make the listener spin. */
enum { TCP_ACCEPT_REST_MS = 100 };

struct tcp_listener {
    uv_poll_t poll;
    uv_timer_t rest;
    int fd, closing;
    uint16_t port;
    bool paused, resting;
    struct loop *loop;
    struct tls_server *tls;
    tcp_accept_cb *accept;
    void *arg;
};

/* ---- addresses ---- */

int tcp_parse_address(const char *text, uint16_t port, union tcp_address *out, socklen_t *len,
                      struct err *e)
{
    memset(out, 0, sizeof *out);
    if (strcmp(text, "localhost") == 0)
        text = "127.0.0.1";
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        *len = sizeof out->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        *len = sizeof out->v6;
        return 0;
    }
    return err_set(e, ERR_INVALID,
                   "address '%s': not a numeric IPv4 or IPv6 address; use 127.0.0.1, 0.0.0.0, ::1 "
                   "or ::",
                   text);
}

static void tcp_format_peer(const union tcp_address *a, char out[TCP_ADDRESS_TEXT])
{
    const char *text = NULL;
    if (a->any.sa_family == AF_INET)
        text = inet_ntop(AF_INET, &a->v4.sin_addr, out, TCP_ADDRESS_TEXT);
    else if (a->any.sa_family == AF_INET6)
        text = inet_ntop(AF_INET6, &a->v6.sin6_addr, out, TCP_ADDRESS_TEXT);
    if (text == NULL)
        memcpy(out, "?", 2);
    else if (strncmp(text, "::ffff:", 7) == 0 && strchr(text, '.') != NULL)
        memmove(out, out + 7, strlen(out + 7) + 1); /* IPv4 through a dual-stack socket */
}

/* ---- listening ---- */

static int tcp_bind_error(int errnum, const char *address, uint16_t port, struct err *e)
{
    switch (errnum) {
    case EADDRINUSE:
        return err_set(
            e, ERR_CONFLICT,
            "%s port %u is in use by another process; stop it (see `ss -ltnp`) or choose "
            "another port",
            address, port);
    case EACCES:
        return err_set(e, ERR_FORBIDDEN,
                       "%s port %u: no permission; ports below 1024 need CAP_NET_BIND_SERVICE, or "
                       "choose a higher port",
                       address, port);
    case EADDRNOTAVAIL:
        return err_set(e, ERR_INVALID,
                       "%s is not an address of this machine; use 127.0.0.1, or 0.0.0.0 for all",
                       address);
    default:
        return err_errno(e, errnum, "listen on %s port %u", address, port);
    }
}

/* By a socket without SO_REUSEPORT: see `shared` in the header. */
static bool tcp_port_is_taken(const union tcp_address *a, socklen_t len)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool taken = (bind(fd, &a->any, len) != 0 || listen(fd, 1) != 0) && errno == EADDRINUSE;
    close(fd);
    return taken;
}

static int tcp_open_listener(const union tcp_address *a, socklen_t len)
{
    int fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (a->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &a->any, len) != 0 || listen(fd, TCP_BACKLOG) != 0) {
        int errnum = errno;
        close(fd);
        return -errnum;
    }
    return fd;
}

static void tcp_accepted(struct tcp_listener *s, int fd, const union tcp_address *from)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct tcp *t = mem_new(sizeof *t);
    t->fd = fd;
    t->loop = s->loop;
    tcp_format_peer(from, t->peer);
    int rc = uv_poll_init(loop_uv(s->loop), &t->poll, fd);
    if (rc == 0 && s->tls != NULL && (t->tls = tls_session_accept(s->tls, fd)) == NULL)
        rc = UV_ENOMEM;
    t->poll.data = t;
    if (rc != 0) {
        log_warn("io", "a connection from %s was dropped: %s", t->peer, uv_strerror(rc));
        tcp_close(t);
        return;
    }
    s->accept(s->arg, t);
}

static void tcp_listener_watch(struct tcp_listener *s);

static void tcp_listener_rested(uv_timer_t *timer)
{
    struct tcp_listener *s = timer->data;
    s->resting = false;
    tcp_listener_watch(s);
}

static void tcp_listener_ready(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct tcp_listener *s = poll->data;
    for (int i = 0; status == 0 && i < TCP_ACCEPTS_PER_TURN && !s->paused && s->fd >= 0; i++) {
        union tcp_address from;
        socklen_t len = sizeof from;
        int fd = accept4(s->fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            tcp_accepted(s, fd, &from);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno == EAGAIN)
            return;
        log_warn("io", "cannot accept a connection: %s%s", strerror(errno),
                 errno == EMFILE ? "; raise the limit of open files (ulimit -n)" : "");
        s->resting = true;
        tcp_listener_watch(s);
        uv_timer_start(&s->rest, tcp_listener_rested, TCP_ACCEPT_REST_MS, 0);
        return;
    }
}

static void tcp_listener_watch(struct tcp_listener *s)
{
    if (s->paused || s->resting)
        uv_poll_stop(&s->poll);
    else
        uv_poll_start(&s->poll, UV_READABLE, tcp_listener_ready);
}

/* Of a socket that somebody else made and keeps. */
static int tcp_duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    int flags = fcntl(copy, F_GETFL);
    if (flags >= 0 && fcntl(copy, F_SETFL, flags | O_NONBLOCK) == 0)
        return copy;
    int errnum = errno;
    close(copy);
    return -errnum;
}

static int tcp_open(const struct tcp_listen_options *o, const union tcp_address *a, socklen_t len)
{
    if (o->fd != 0)
        return tcp_duplicate(o->fd);
    if (!o->shared && o->port != 0 && tcp_port_is_taken(a, len))
        return -EADDRINUSE;
    return tcp_open_listener(a, len);
}

int tcp_listen(struct loop *l, const struct tcp_listen_options *options, tcp_accept_cb *on_accept,
               void *arg, struct tcp_listener **out, struct err *e)
{
    union tcp_address a;
    socklen_t len;
    int rc = tcp_parse_address(options->address, options->port, &a, &len, e);
    if (rc != 0)
        return rc;
    int fd = tcp_open(options, &a, len);
    if (fd < 0)
        return tcp_bind_error(-fd, options->address, options->port, e);
    struct tcp_listener *s = mem_new(sizeof *s);
    rc = getsockname(fd, &a.any, &len) == 0 ? uv_poll_init(loop_uv(l), &s->poll, fd) : -errno;
    if (rc != 0) {
        close(fd);
        mem_free(s);
        return tcp_bind_error(-rc, options->address, options->port, e);
    }
    s->fd = fd;
    s->port = ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
    s->loop = l;
    s->tls = options->tls;
    s->accept = on_accept;
    s->arg = arg;
    uv_timer_init(loop_uv(l), &s->rest);
    s->poll.data = s->rest.data = s;
    tcp_listener_watch(s);
    *out = s;
    return 0;
}

uint16_t tcp_listener_port(const struct tcp_listener *s)
{
    return s->port;
}

void tcp_listener_pause(struct tcp_listener *s, bool pause)
{
    if (s->paused == pause)
        return;
    s->paused = pause;
    tcp_listener_watch(s);
}

static void tcp_listener_closed(uv_handle_t *handle)
{
    struct tcp_listener *s = handle->data;
    if (--s->closing == 0)
        mem_free(s);
}

void tcp_listener_close(struct tcp_listener *s)
{
    if (s == NULL)
        return;
    s->closing = 2;
    uv_close((uv_handle_t *)&s->poll, tcp_listener_closed);
    uv_close((uv_handle_t *)&s->rest, tcp_listener_closed);
    close(s->fd);
    s->fd = -1;
}

/* ---- a connection ---- */

static void tcp_ready(uv_poll_t *poll, int status, int events);

void tcp_watch(struct tcp *t)
{
    int events = t->want_read ? UV_READABLE /* sees the end by itself */
                 : t->hung_up ? 0
                              : UV_DISCONNECT;
    if (t->want_write)
        events |= UV_WRITABLE;
    if (events == t->watched)
        return;
    t->watched = events;
    if (events != 0)
        uv_poll_start(&t->poll, events, tcp_ready);
    else
        uv_poll_stop(&t->poll);
}

static void tcp_ready(uv_poll_t *poll, int status, int events)
{
    struct tcp *t = poll->data;
    unsigned told = 0;
    if (events & UV_READABLE)
        told |= TCP_READABLE;
    if (events & UV_WRITABLE) {
        t->want_write = false;
        told |= TCP_WRITABLE;
        if (t->tls != NULL && t->want_read)
            told |= TCP_READABLE; /* a handshake step may have waited for room */
    }
    if (status != 0) { /* reset, and libuv has stopped watching */
        t->watched = 0;
        t->want_read = t->want_write = false;
        t->hung_up = true;
        told |= TCP_RESET;
    }
    if (events & UV_DISCONNECT) {
        t->hung_up = true;
        told |= TCP_HANGUP;
    }
    tcp_watch(t);
    t->ready(t->arg, told);
}

void tcp_start(struct tcp *t, tcp_ready_cb *ready, void *arg)
{
    t->ready = ready;
    t->arg = arg;
    t->want_read = true;
    tcp_watch(t);
}

ssize_t tcp_read(struct tcp *t, void *p, size_t n)
{
    if (t->tls != NULL && !t->ended) {
        ssize_t got = tls_session_read(t->tls, p, n);
        if (got == TCP_AGAIN && tls_session_wants_write(t->tls)) {
            t->want_write = true;
            tcp_watch(t);
        }
        return got;
    }
    for (;;) {
        ssize_t got = recv(t->fd, p, n, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return errno == EAGAIN ? TCP_AGAIN : TCP_BROKEN;
    }
}

static ssize_t tcp_write_plain(struct tcp *t, const struct iovec *iov, int count)
{
    for (;;) {
        ssize_t put = count == 1 ? send(t->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                                 : writev(t->fd, iov, count);
        if (put >= 0)
            return put;
        if (errno != EINTR)
            return errno == EAGAIN ? 0 : -1;
    }
}

static ssize_t tcp_write_tls(struct tcp *t, const struct iovec *iov, int count)
{
    size_t sum = 0;
    for (int i = 0; i < count; i++) {
        const char *p = iov[i].iov_base;
        for (size_t n = iov[i].iov_len; n > 0;) {
            ssize_t put = tls_session_write(t->tls, p, n);
            if (put == TCP_BROKEN)
                return -1;
            if (put == TCP_AGAIN)
                return (ssize_t)sum;
            p += put;
            n -= (size_t)put;
            sum += (size_t)put;
        }
    }
    return (ssize_t)sum;
}

ssize_t tcp_write(struct tcp *t, const struct iovec *iov, int count)
{
    size_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += iov[i].iov_len;
    ssize_t put = t->tls != NULL ? tcp_write_tls(t, iov, count) : tcp_write_plain(t, iov, count);
    if (put >= 0 && (size_t)put < wanted && !t->want_write) {
        t->want_write = true;
        tcp_watch(t);
    }
    return put;
}

bool tcp_has_bytes(const struct tcp *t)
{
    return t->tls != NULL && tls_session_has_bytes(t->tls);
}

void tcp_want_read(struct tcp *t, bool on)
{
    if (t->want_read == on)
        return;
    t->want_read = on;
    tcp_watch(t);
}

bool tcp_wants_read(const struct tcp *t)
{
    return t->want_read;
}

bool tcp_at_end(struct tcp *t)
{
    char c;
    ssize_t n = recv(t->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void tcp_shutdown(struct tcp *t)
{
    t->ended = true; /* what still comes is read raw, to be thrown away */
    if (t->tls != NULL)
        tls_session_end(t->tls);
    shutdown(t->fd, SHUT_WR);
}

static void tcp_closed(uv_handle_t *handle)
{
    mem_free(handle->data);
}

void tcp_close(struct tcp *t)
{
    if (t == NULL)
        return;
    if (t->tls != NULL) {
        tls_session_end(t->tls);
        tls_session_free(t->tls);
    }
    if (t->poll.loop == NULL) { /* never became a handle */
        close(t->fd);
        mem_free(t);
        return;
    }
    uv_close((uv_handle_t *)&t->poll, tcp_closed);
    close(t->fd);
}

bool tcp_is_tls(const struct tcp *t)
{
    return t->tls != NULL;
}

const char *tcp_peer(const struct tcp *t)
{
    return t->peer;
}
