/* What the files of trace/ share.
 *
 *   context.c   trace ids and traceparent      event.c      events as bytes, and as JSON
 *   ring.c      segments                       index.c      their indexes
 *   timeline.c  questions                      otlp.c       events as spans of OTLP, pure
 *   export.c    to the collector               trace.c      buffer, thread, open, close */
#ifndef KOAN_TRACE_PRIV_H
#define KOAN_TRACE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "http/fetch.h"
#include "io/loop.h"
#include "io/world.h"
#include "trace/trace.h"

struct stat_counter;

enum {
    EVENT_TEXTS = 7,
    EVENT_BYTES_MAX = 128 + EVENT_TEXTS * (TRACE_TEXT_MAX + 2),
    EVENT_SAMPLED = 1,
    EVENT_SPAN = 2,
    EVENT_FAILED = 4,
    EVENT_FOLLOWS = 8,
    RING_HEAD = 16, /* of a segment file */
    RING_RECORD_HEAD = 16,
};

/* ---- event.c ---- */

/* As it is read back: texts end with NUL, "" for none, and live in `room`. */
struct event {
    struct trace_event e;
    struct trace_span span;
    char room[EVENT_BYTES_MAX];
};
/* One record, with its head. */
size_t event_encode(const struct trace_event *e, int64_t at_us, uint8_t out[EVENT_BYTES_MAX]);
/* The length of the record at p, of which n bytes are there; 0: none that is whole. */
size_t event_length(const uint8_t *p, size_t n);
/* False: not a record. */
bool event_decode(const uint8_t *p, size_t n, struct event *out);
/* Under which it is found: of its correlation, and of its link; 0: none. */
uint32_t event_key(const char *text);
void event_keys(const uint8_t *p, uint32_t keys[2]);
int64_t event_at(const uint8_t *p);
void event_print(const struct event *e, const char *node, struct buf *out);

/* ---- index.c, ring.c ---- */

struct ring_place {
    uint32_t key, at;
};

struct ring_segment {
    uint64_t number, bytes;
    int64_t last_at; /* of its last event, us */
};

struct ring {
    struct disk *disk;
    char *dir;
    uint64_t keep_us, bytes_max;
    struct ring_segment *segments; /* oldest first; the last is written to */
    size_t count;
    uint64_t bytes;            /* of all */
    struct disk_file *file;    /* of the last segment; NULL: none yet */
    struct ring_place *places; /* of the last segment */
    size_t places_count, places_cap;
};

int ring_open(struct ring *r, struct err *e);
void ring_close(struct ring *r);
/* Whole records. On failure they are lost, and the ring goes on with the next. */
int ring_write(struct ring *r, const uint8_t *p, size_t n, struct err *e);
/* What is too old goes, and what leaves no room for so many bytes more. */
void ring_trim(struct ring *r, int64_t now_us, uint64_t room);
/* Each record under the key, newest segment first, until `each` returns false. */
int ring_find(struct ring *r, uint32_t key, bool (*each)(void *arg, const uint8_t *p, size_t n),
              void *arg, struct err *e);
char *ring_path(const struct ring *r, uint64_t number, const char *ending);

int index_write(struct ring *r, const struct ring_segment *s, struct err *e);
/* Places of the key, at most `max`. */
int index_find(struct ring *r, const struct ring_segment *s, uint32_t key, uint32_t *out,
               size_t max, size_t *count, struct err *e);
/* ERR_NOT_FOUND or ERR_CORRUPT: it has to be made again. */
int index_last_at(struct ring *r, uint64_t number, int64_t *out, struct err *e);

/* ---- otlp.c ---- */

bool otlp_wanted(const struct trace_event *e);
/* The body of a request for the records in `spans`. */
void otlp_print(const uint8_t *spans, size_t n, const struct trace_options *o, struct buf *out);

/* ---- export.c ---- */

struct exporter {
    struct fetcher fetcher;
    struct fetch_shared *shared;
    struct fetch *fetch;
    struct buf batch; /* records under way */
    size_t batch_spans;
    int tries;
    uint64_t wait_until_ms;
    bool failing;
};
void export_open(struct trace *t);
void export_turn(struct trace *t); /* on its loop */
void export_close(struct trace *t);

/* ---- trace.c ---- */

struct trace {
    struct trace_options o; /* texts are ours */
    struct loop *loop;
    struct world *world;
    bool started, ticking, last_sent;
    struct world_timer timer;
    struct task wake, stop;
    atomic_bool woken, stopping;
    atomic_llong wall_offset_us; /* of the wall clock over the monotonic one */
    atomic_uint_fast64_t spans;  /* given out */
    uint64_t span_seed;
    uint64_t sample_below; /* a trace is sampled when its hash is below */

    pthread_mutex_t note_lock; /* buffer */
    struct buf buffer;

    pthread_mutex_t ring_lock; /* ring, spare, queue; taken before note_lock */
    struct ring ring;
    bool ring_open;
    struct err ring_err; /* of the last write, or of opening; code 0: none */
    struct buf spare;
    struct buf queue; /* records for the collector */
    size_t queue_spans;

    struct exporter exporter;
    struct stat_counter *noted, *lost_buffer, *lost_ring, *lost_queue, *lost_export, *exported;
};

int64_t trace_now_us(const struct trace *t);
/* From the buffer to ring and queue. Under ring_lock. */
void trace_drain(struct trace *t);

#endif
