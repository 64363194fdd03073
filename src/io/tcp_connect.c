/* The other end of tcp.h: connections that we begin. */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/loop.h"
#include "io/tcp_priv.h"
#include "io/tls_priv.h"

int tcp_connect(struct loop *l, const struct tcp_connect_options *o, struct tcp **out,
                struct err *e)
{
    union tcp_address a;
    socklen_t len;
    int on = 1, rc = tcp_parse_address(o->address, o->port, &a, &len, e);
    if (rc != 0)
        return rc;
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(e, ERR_UNAVAILABLE, "%s: no socket: %s", o->address, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, &a.any, len) != 0 && errno != EINPROGRESS) {
        int errnum = errno;
        close(fd);
        return err_set(e, ERR_UNAVAILABLE, "%s port %u: %s", o->address, o->port, strerror(errnum));
    }
    struct tcp *t = mem_new(sizeof *t);
    t->fd = fd;
    t->loop = l;
    memcpy(t->peer, o->address, strnlen(o->address, sizeof t->peer - 1));
    rc = uv_poll_init(loop_uv(l), &t->poll, fd);
    t->poll.data = t;
    if (rc == 0 && o->tls != NULL &&
        (t->tls = tls_session_connect(o->tls, fd, o->name, o->older)) == NULL)
        rc = UV_ENOMEM;
    if (rc != 0) {
        tcp_close(t);
        return err_set(e, ERR_NOMEM, "%s: %s", o->address, uv_strerror(rc));
    }
    t->want_write = true; /* writable is how a socket says that it is connected */
    *out = t;
    return 0;
}

int tcp_connected(struct tcp *t, struct err *e)
{
    int errnum = 0;
    socklen_t n = sizeof errnum;
    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &errnum, &n) != 0)
        errnum = errno;
    switch (errnum) {
    case 0:
        return 0;
    case ECONNREFUSED:
        return err_set(e, ERR_UNAVAILABLE, "nothing listens there (%s)", t->peer);
    case ETIMEDOUT:
        return err_set(e, ERR_UNAVAILABLE, "%s does not answer", t->peer);
    default:
        return err_set(e, ERR_UNAVAILABLE, "%s: %s", t->peer, strerror(errnum));
    }
}

int tcp_handshake(struct tcp *t, struct err *e)
{
    if (t->tls == NULL)
        return 0;
    int rc = tls_session_step(t->tls, e);
    if (rc == TCP_AGAIN && tls_session_wants_write(t->tls)) {
        t->want_write = true;
        tcp_watch(t);
    }
    return rc;
}

bool tcp_wants_older(const struct tcp *t)
{
    return t->tls != NULL && tls_session_wants_older(t->tls);
}
