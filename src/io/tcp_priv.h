/* What tcp.c and tcp_connect.c share. */
#ifndef KOAN_IO_TCP_PRIV_H
#define KOAN_IO_TCP_PRIV_H

#include <netinet/in.h>
#include <uv.h>

#include "io/tcp.h"

struct tls_session;

union tcp_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct tcp {
    uv_poll_t poll;
    int fd, watched; /* the uv events asked for now */
    bool want_read, want_write, hung_up, ended;
    struct loop *loop;
    struct tls_session *tls;
    tcp_ready_cb *ready;
    void *arg;
    char peer[TCP_ADDRESS_TEXT];
};

int tcp_parse_address(const char *text, uint16_t port, union tcp_address *out, socklen_t *len,
                      struct err *e);
/* Ask the kernel for what is wanted now. */
void tcp_watch(struct tcp *t);

#endif
