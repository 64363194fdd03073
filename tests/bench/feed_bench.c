/* feed_bench PORT LISTENERS RATE SECONDS: so many listeners of Note's changes while so many notes a
 * second are created. Prints how many changes each listener saw and how long after the request
 * for it was sent: "events lost p50_ms p99_ms". One thread listens, WRITERS write. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WRITERS = 16, LISTENERS_MAX = 10000, READ_MAX = 256 << 10, SAMPLES_MAX = 4 << 20 };

struct bench {
    int port, listeners, rate, seconds;
    atomic_long sent;
    atomic_bool over;
};

struct listener {
    int fd;
    long events;
    char tail[64]; /* the end of the last piece: an event may be cut anywhere */
    size_t tail_n;
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int dial(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    if (write(fd, p, n) != (ssize_t)n) {
        perror("write");
        exit(1);
    }
}

/* Each note carries the moment at which it was sent, in microseconds. */
static void *write_notes(void *arg)
{
    struct bench *b = arg;
    int fd = dial(b->port);
    double begin = now_ms(), each = 1000.0 * WRITERS / b->rate;
    for (long i = 0; !atomic_load(&b->over); i++) {
        double wait = begin + (double)i * each - now_ms();
        if (wait > 0)
            usleep((useconds_t)(wait * 1000));
        char body[100], head[300], answer[4096];
        int n =
            snprintf(body, sizeof body, "{\"title\":\"a note\",\"n\":%ld}", (long)(now_ms() * 1e3));
        int h = snprintf(head, sizeof head,
                         "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         "Content-Length: %d\r\n\r\n%s",
                         n, body);
        send_all(fd, head, (size_t)h);
        ssize_t got = read(fd, answer, sizeof answer - 1);
        if (got <= 12 || memcmp(answer + 9, "201", 3) != 0) {
            fprintf(stderr, "refused: %.*s\n", got > 0 ? (int)got : 0, answer);
            exit(1);
        }
        atomic_fetch_add(&b->sent, 1);
    }
    close(fd);
    return NULL;
}

static float *samples;
static size_t samples_count;

/* Counts "n": in the piece together with the end of the one before; every 64th is a sample. */
static void look(struct listener *l, const char *p, size_t n)
{
    static char joined[READ_MAX + 128];
    memcpy(joined, l->tail, l->tail_n);
    memcpy(joined + l->tail_n, p, n);
    size_t len = l->tail_n + n, done = 0;
    joined[len] = '\0';
    char *at = joined;
    while ((at = memmem(at, (size_t)(joined + len - at), "\"n\":", 4)) != NULL) {
        char *digits = at + 4, *end = digits;
        while (*end >= '0' && *end <= '9')
            end++;
        if (*end == '\0')
            break; /* cut in the number: the next piece has it */
        if (l->events++ % 64 == 0 && samples_count < SAMPLES_MAX)
            samples[samples_count++] = (float)(now_ms() - strtod(digits, NULL) / 1e3);
        at = end;
        done = (size_t)(at - joined);
    }
    size_t keep = len - done < sizeof l->tail ? len - done : sizeof l->tail - 1;
    memcpy(l->tail, joined + len - keep, keep);
    l->tail_n = keep;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void listen_all(struct bench *b, struct listener *list, double until)
{
    static char piece[READ_MAX];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < b->listeners; i++) {
        static const char get[] = "GET /api/note/changes HTTP/1.1\r\nHost: x\r\n\r\n";
        list[i].fd = dial(b->port);
        send_all(list[i].fd, get, sizeof get - 1);
        struct epoll_event ev = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, list[i].fd, &ev);
    }
    usleep(500000);
    pthread_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&writers[i], NULL, write_notes, b);
    until += now_ms();
    while (now_ms() < until + 2000) { /* two seconds for what is still on its way */
        if (now_ms() > until)
            atomic_store(&b->over, true);
        struct epoll_event ev[256];
        int n = epoll_wait(ep, ev, 256, 100);
        for (int i = 0; i < n; i++) {
            struct listener *l = &list[ev[i].data.u32];
            ssize_t got = read(l->fd, piece, sizeof piece);
            if (got <= 0) {
                fprintf(stderr, "a feed has ended\n");
                exit(1);
            }
            look(l, piece, (size_t)got);
        }
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    close(ep);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: feed_bench PORT LISTENERS RATE SECONDS\n");
        return 2;
    }
    struct bench b = {atoi(argv[1]), atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), 0, 0};
    if (b.listeners < 1 || b.listeners > LISTENERS_MAX || b.rate < 1)
        return 2;
    struct listener *list = calloc((size_t)b.listeners, sizeof *list);
    samples = calloc(SAMPLES_MAX, sizeof *samples);
    listen_all(&b, list, b.seconds * 1000.0);
    long events = 0, lost = 0, sent = atomic_load(&b.sent);
    for (int i = 0; i < b.listeners; i++) {
        events += list[i].events;
        lost += sent - list[i].events;
    }
    qsort(samples, samples_count, sizeof *samples, by_size);
    printf("%ld %ld %.1f %.1f %ld\n", events, lost, (double)samples[samples_count / 2],
           (double)samples[samples_count * 99 / 100], sent);
    free(samples);
    free(list);
    return 0;
}
