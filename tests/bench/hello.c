/* The floor of any HTTP server on this machine: epoll, keep-alive, one fixed answer for every blank
 * line that arrives, one write for all that came in one read. It parses nothing. usage: hello PORT
 * [threads] */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_MAX = 64 << 10, ANSWERS_MAX = 512, EVENTS = 256 };

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n"
                             "\r\nhello world\n";

static int hello_listen(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 1024) == 0)
        return fd;
    perror("hello: listen");
    exit(1);
}

static void hello_watch(int ep, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

static void hello_accept(int ep, int listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        hello_watch(ep, fd);
    }
}

static void hello_answer(int fd, char *in, char *out)
{
    ssize_t n = read(fd, in, READ_MAX);
    size_t len = 0, count = 0;
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            close(fd);
        return;
    }
    for (char *p = in; count < ANSWERS_MAX; count++) {
        p = memmem(p, (size_t)(in + n - p), "\r\n\r\n", 4);
        if (p == NULL)
            break;
        p += 4;
        memcpy(out + len, answer, sizeof answer - 1);
        len += sizeof answer - 1;
    }
    if (write(fd, out, len) < 0)
        close(fd);
}

static void *hello_run(void *arg)
{
    int listener = hello_listen(*(int *)arg), ep = epoll_create1(0);
    char *in = malloc(READ_MAX), *out = malloc(ANSWERS_MAX * sizeof answer);
    struct epoll_event ev[EVENTS];
    hello_watch(ep, listener);
    for (;;) {
        int n = epoll_wait(ep, ev, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (ev[i].data.fd == listener)
                hello_accept(ep, listener);
            else
                hello_answer(ev[i].data.fd, in, out);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? atoi(argv[1]) : 8099, threads = argc > 2 ? atoi(argv[2]) : 1;
    pthread_t t;
    for (int i = 1; i < threads; i++)
        pthread_create(&t, NULL, hello_run, &port);
    hello_run(&port);
    return 0;
}
