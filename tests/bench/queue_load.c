/* Load on the queue of a server over HTTP, from one thread: what a client of few words can do.
 *
 *   queue_load PORT QUEUE stream  FLIGHT COUNT    one stream of lines with so many under way
 *   queue_load PORT QUEUE consume FLIGHT COUNT    one consumer that acknowledges each message
 *   queue_load PORT QUEUE delay   RATE   COUNT    sent at this rate, and when they come
 *   queue_load PORT QUEUE due     AHEAD  COUNT    all due at one instant, AHEAD ms from now
 *   queue_load PORT QUEUE spread  AHEAD  COUNT    due one after the other, 10,000 a second, from
 * then on
 *
 * Bodies have 200 bytes. Prints a line of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BODY = 200, BUFFER = 1 << 20, LINE = 512 };

static void die(const char *what)
{
    fprintf(stderr, "queue_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* ---- a request both ways ---- */

struct lines {
    int fd;
    char in[BUFFER + 1], out[BUFFER];
    size_t in_len, out_len;
};

static void put_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k < 0)
            die("send");
        p += k;
        n -= (size_t)k;
    }
}

static struct lines *lines_open(const char *port, const char *queue, const char *what)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(port)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct lines *l = calloc(1, sizeof *l);
    int on = 1;
    char head[512];
    if (l == NULL || (l->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 ||
        connect(l->fd, (struct sockaddr *)&at, sizeof at) != 0)
        die("connect");
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int n = snprintf(head, sizeof head,
                     "POST /api/queues/%%2F/%s/%s HTTP/1.1\r\nHost: x\r\n"
                     "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
                     queue, what);
    put_all(l->fd, head, (size_t)n);
    return l;
}

static void lines_close(struct lines *l)
{
    close(l->fd);
    free(l);
}

static void lines_flush(struct lines *l)
{
    char size[32];
    if (l->out_len == 0)
        return;
    int n = snprintf(size, sizeof size, "%zx\r\n", l->out_len);
    put_all(l->fd, size, (size_t)n);
    memcpy(l->out + l->out_len, "\r\n", 2);
    put_all(l->fd, l->out, l->out_len + 2);
    l->out_len = 0;
}

static char *lines_room(struct lines *l)
{
    if (l->out_len + LINE + 2 > sizeof l->out)
        lines_flush(l);
    return l->out + l->out_len;
}

static void lines_read(struct lines *l)
{
    ssize_t n = recv(l->fd, l->in + l->in_len, BUFFER - l->in_len, 0);
    if (n <= 0)
        die("the stream has ended");
    l->in_len += (size_t)n;
    l->in[l->in_len] = '\0';
}

/* The next whole line that is an object; chunk sizes and headers are passed over. NULL: read on. */
static char *lines_next(struct lines *l, size_t *at)
{
    for (;;) {
        char *p = l->in + *at, *end = memchr(p, '\n', l->in_len - *at);
        if (end == NULL) {
            memmove(l->in, p, l->in_len - *at);
            l->in_len -= *at;
            *at = 0;
            return NULL;
        }
        *at = (size_t)(end + 1 - l->in);
        *end = '\0';
        if (*p == '{')
            return p;
    }
}

static void check(const char *line)
{
    if (strstr(line, "\"error\"") == NULL)
        return;
    fprintf(stderr, "queue_load: %s\n", line);
    exit(1);
}

/* ---- what is measured ---- */

static char filler[BODY + 1];

static void message_add(struct lines *l, int64_t stamp, int64_t run_at_ms)
{
    char *p = lines_room(l);
    size_t n = 0;
    if (run_at_ms > 0) {
        time_t s = (time_t)(run_at_ms / 1000);
        struct tm tm;
        char text[32];
        gmtime_r(&s, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        n = (size_t)snprintf(p, LINE, "{\"run_at\":\"%s.%03dZ\",\"body\":\"%020lld%s\"}\n", text,
                             (int)(run_at_ms % 1000), (long long)stamp, filler + 22);
    } else {
        n = (size_t)snprintf(p, LINE, "{\"body\":\"%020lld%s\"}\n", (long long)stamp, filler + 22);
    }
    l->out_len += n;
}

static void stream(const char *port, const char *queue, int64_t flight, int64_t count)
{
    struct lines *l = lines_open(port, queue, "stream");
    int64_t sent = 0, got = 0, began = now_ns(CLOCK_MONOTONIC);
    size_t at = 0;
    while (got < count) {
        for (; sent < count && sent - got < flight; sent++)
            message_add(l, 0, 0);
        lines_flush(l);
        lines_read(l);
        for (char *line; (line = lines_next(l, &at)) != NULL; got++)
            check(line);
    }
    double s = (double)(now_ns(CLOCK_MONOTONIC) - began) / 1e9;
    printf("{\"count\": %lld, \"seconds\": %.3f, \"rate\": %.0f}\n", (long long)count, s,
           (double)count / s);
    lines_close(l);
}

/* {"id":"..36..","token":N,.. becomes its acknowledgement. */
static void ack_add(struct lines *l, const char *line)
{
    l->out_len += (size_t)snprintf(lines_room(l), LINE,
                                   "{\"id\":\"%.36s\",\"token\":%llu,\"outcome\":\"ack\"}\n",
                                   line + 7, strtoull(line + 53, NULL, 10));
}

static bool is_message(const char *line)
{
    return strncmp(line, "{\"id\":\"", 7) == 0;
}

static int64_t stamp_of(const char *line)
{
    const char *body = strstr(line, "\"body\":\"");
    return body != NULL ? strtoll(body + 8, NULL, 10) : 0;
}

static void consume(const char *port, const char *queue, int64_t flight, int64_t count)
{
    char what[64];
    snprintf(what, sizeof what, "consume?prefetch=%lld", (long long)flight);
    struct lines *l = lines_open(port, queue, what);
    int64_t acked = 0, began = now_ns(CLOCK_MONOTONIC);
    size_t at = 0;
    while (acked < count) {
        lines_read(l);
        for (char *line; (line = lines_next(l, &at)) != NULL;) {
            if (is_message(line))
                ack_add(l, line);
            else
                acked++;
            check(line);
        }
        lines_flush(l);
    }
    double s = (double)(now_ns(CLOCK_MONOTONIC) - began) / 1e9;
    printf("{\"count\": %lld, \"seconds\": %.3f, \"rate\": %.0f}\n", (long long)count, s,
           (double)count / s);
    lines_close(l);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(int64_t *took, int64_t count, int64_t last)
{
    qsort(took, (size_t)count, sizeof *took, by_value);
    printf("{\"count\": %lld, \"p50_us\": %lld, \"p99_us\": %lld, \"max_us\": %lld, "
           "\"all_ms\": %lld}\n",
           (long long)count, (long long)took[count / 2] / 1000,
           (long long)took[count * 99 / 100] / 1000, (long long)took[count - 1] / 1000,
           (long long)last / 1000000);
}

/* Messages as they come, each acknowledged; how long after its stamp it came. */
static int64_t arrivals(struct lines *l, size_t *at, int64_t *took, int64_t got, int64_t count)
{
    int64_t now = now_ns(CLOCK_REALTIME);
    for (char *line; (line = lines_next(l, at)) != NULL;) {
        check(line);
        if (!is_message(line))
            continue;
        if (got < count)
            took[got++] = now - stamp_of(line);
        ack_add(l, line);
    }
    lines_flush(l);
    return got;
}

static int64_t *times_new(int64_t count)
{
    int64_t *took = calloc((size_t)count, sizeof *took);
    if (took == NULL)
        die("memory");
    return took;
}

static void delay(const char *port, const char *queue, int64_t rate, int64_t count)
{
    struct lines *out = lines_open(port, queue, "stream");
    struct lines *in = lines_open(port, queue, "consume?prefetch=100");
    int64_t *took = times_new(count), sent = 0, got = 0, began = now_ns(CLOCK_REALTIME);
    size_t at = 0, out_at = 0;
    while (got < count) {
        int64_t now = now_ns(CLOCK_REALTIME), due = began + sent * 1000000000 / rate;
        for (; sent < count && due <= now; due = began + ++sent * 1000000000 / rate)
            message_add(out, now, 0);
        lines_flush(out);
        struct pollfd p[2] = {{.fd = in->fd, .events = POLLIN}, {.fd = out->fd, .events = POLLIN}};
        struct timespec wait = {.tv_nsec = sent < count ? due - now : 100000000};
        if (wait.tv_nsec < 0)
            wait.tv_nsec = 0;
        ppoll(p, 2, &wait, NULL);
        if (p[1].revents != 0) {
            lines_read(out);
            for (char *line; (line = lines_next(out, &out_at)) != NULL;)
                check(line);
        }
        if (p[0].revents != 0) {
            lines_read(in);
            got = arrivals(in, &at, took, got, count);
        }
    }
    print_times(took, count, now_ns(CLOCK_REALTIME) - began);
    lines_close(in);
    lines_close(out);
}

enum { SPREAD = 10000 /* a second */ };

/* Message i is due at when + i * step_us. */
static void send_due(const char *port, const char *queue, int64_t when, int64_t step_us,
                     int64_t count)
{
    struct lines *l = lines_open(port, queue, "stream");
    int64_t sent = 0, got = 0;
    size_t at = 0;
    while (got < count) {
        for (; sent < count && sent - got < 1000; sent++) {
            int64_t due_ms = when + sent * step_us / 1000;
            message_add(l, due_ms * 1000000, due_ms);
        }
        lines_flush(l);
        lines_read(l);
        for (char *line; (line = lines_next(l, &at)) != NULL; got++)
            check(line);
    }
    lines_close(l);
    if (now_ns(CLOCK_REALTIME) / 1000000 <= when)
        return;
    fprintf(stderr, "queue_load: some were due before all were sent; say more than that ahead\n");
    exit(1);
}

static void due_each(const char *port, const char *queue, int64_t ahead_ms, int64_t step_us,
                     int64_t count)
{
    int64_t when = now_ns(CLOCK_REALTIME) / 1000000 + ahead_ms, got = 0;
    int64_t *took = times_new(count);
    size_t at = 0;
    send_due(port, queue, when, step_us, count);
    struct lines *in = lines_open(port, queue, "consume?prefetch=2000");
    while (got < count) {
        lines_read(in);
        got = arrivals(in, &at, took, got, count);
    }
    print_times(took, count, now_ns(CLOCK_REALTIME) - when * 1000000);
    lines_close(in);
}

static void due(const char *port, const char *queue, int64_t ahead_ms, int64_t count)
{
    due_each(port, queue, ahead_ms, 0, count);
}

static void spread(const char *port, const char *queue, int64_t ahead_ms, int64_t count)
{
    due_each(port, queue, ahead_ms, 1000000 / SPREAD, count);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *port, const char *queue, int64_t a, int64_t count);
    } verbs[] = {{"stream", stream},
                 {"consume", consume},
                 {"delay", delay},
                 {"due", due},
                 {"spread", spread}};
    memset(filler, 'x', BODY);
    for (size_t i = 0; argc == 6 && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[3], verbs[i].name) == 0 && atoll(argv[5]) > 0) {
            verbs[i].run(argv[1], argv[2], atoll(argv[4]), atoll(argv[5]));
            return 0;
        }
    fprintf(stderr, "usage: queue_load PORT QUEUE stream|consume|delay|due|spread N COUNT\n");
    return 2;
}
