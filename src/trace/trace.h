/* Trace - what happened, by correlation: a ring of events in the data folder, and spans for a
 * collector.
 *
 * A request has a correlation id, and so has all that comes of it: the changes it commits, the
 * scripts that run, what these ask of other hosts, the arrivals of canon. Each part notes an event
 * when it is over, on whatever thread that is:
 *
 *     trace_note() -> [buffer in memory] -- own thread, every TRACE_TURN_MS --> segment files
 *                          |                                                \-> [spans] ->
 * collector
 *                          +-- full: dropped and counted
 *
 * Noting is a copy of some 100 bytes under a lock that nobody holds for longer than that: it never
 * waits for a disk or a network. What is in the buffer is lost with the process (TRACE_TURN_MS at
 * most, while the disk keeps up); what was handed to the kernel survives it. Nothing is synced:
 * this is not the log. Entries that are replayed at a start are noted again, and shown once.
 *
 * The ring: segments of TRACE_SEGMENT_BYTES, each with an index from correlation to place
 * (schema/trace-ring.md); the oldest goes when all are over `bytes_max`, when its last event is
 * older than `keep_ms`, or when the disk is full. A question reads one bucket of each index and the
 * events that it names.
 *
 * Spans: an event is a span of a trace, W3C trace context. A request continues the trace that its
 * traceparent names, as sampled as that says; else its trace id comes from the correlation id, and
 * `sample` of them are sampled, chosen by the trace id, so that all nodes choose alike. Sampled
 * spans and those that failed go to the collector. See export.c. */
#ifndef KOAN_TRACE_TRACE_H
#define KOAN_TRACE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

struct buf;
struct disk;
struct health_board;
struct trace;

enum {
    TRACE_TURN_MS = 200,
    TRACE_BUFFER_BYTES = 4 << 20,
    TRACE_SEGMENT_BYTES = 8 << 20,
    TRACE_SEGMENTS_MAX = 4096,
    TRACE_TEXT_MAX = 256,        /* bytes of each text of an event; longer ones are cut */
    TRACE_PARENT_TEXT = 56,      /* a traceparent with its NUL */
    TRACE_EVENTS_MAX = 1000,     /* of one answer */
    TRACE_LINKS_MAX = 64,        /* that one answer follows */
    TRACE_CHANGES_MAX = 32,      /* changes of one unit that are noted each */
    TRACE_QUEUE_BYTES = 1 << 20, /* of spans that wait for the collector */
    TRACE_BATCH_SPANS = 512,
    TRACE_EXPORT_TRIES = 3,
};

enum trace_kind {
    /* In the order in which those of one moment are shown. */
    TRACE_REQUEST = 1, /* of HTTP */
    TRACE_SCRIPT,      /* a function of the scripts ran */
    TRACE_CALL,        /* a script asked another host */
    TRACE_ARRIVAL,     /* canon came to an end with an arrival */
    TRACE_CHANGE,      /* a record changed */
    TRACE_CHANGES,     /* more of the same unit did than are noted each */
    TRACE_MESSAGE,     /* of a queue: a try failed, it died, people did something with it */
    TRACE_KINDS
};
const char *trace_kind_name(enum trace_kind k); /* "request" */

/* ---- spans ---- */

struct trace_span {
    struct uuid trace;
    uint64_t id, parent; /* 0: none */
    bool sampled;
};

/* W3C trace context, level 1. False when the text is none; `out` is then as it was. out->parent is
 * the span that it names, out->id is 0. */
bool trace_parse(const char *traceparent, struct trace_span *out);
void trace_format(const struct trace_span *s, char out[TRACE_PARENT_TEXT]);
/* A span below `traceparent`; with NULL, or one that is malformed, the first of the trace of that
 * correlation id. Any thread; `t` may be NULL: then nothing is sampled unless the parent says so.
 */
void trace_begin(struct trace *t, const char *traceparent, const char *correlation,
                 struct trace_span *out);
/* One below `parent`. */
void trace_child(struct trace *t, const struct trace_span *parent, struct trace_span *out);

/* ---- events ---- */

struct trace_event {
    enum trace_kind kind;
    bool failed;  /* an error of ours or of the script: always exported */
    bool follows; /* it is found by `link` where its correlation is not the cause's */
    /* When it began, on the monotonic clock of the world; it ended now. 0: at_us, the wall clock's
     * time of it, and took_ns say, or it is of now. */
    uint64_t began_ns;
    int64_t at_us;
    uint64_t took_ns;
    int status;                    /* of HTTP; 0: none */
    uint64_t seq, version;         /* log position, version of the record; 0: none */
    const struct trace_span *span; /* NULL: it is none */
    /* Texts may be NULL. */
    const char *correlation, *causation, *principal;
    const char *name;    /* "POST /api/:entity", "Order", "Order.before_save", "GET https://host" */
    const char *subject; /* id of the record, path, arrival */
    const char *detail;  /* "created", "parked NO_KEYS", the error */
    const char *link;    /* what later events of the same story name too */
};

/* Any thread, never waits. Nothing happens without `t`. */
void trace_note(struct trace *t, const struct trace_event *e);
/* The same in two steps, for what is only true later: the record of an event, whose at_us is given,
 * appended to `out`; and noting records. */
void trace_record(const struct trace_event *e, struct buf *out);
void trace_note_records(struct trace *t, const struct buf *records);

/* "a=b,c=d", percent-encoded, as the OTEL_ variables have it: calls `each` for every pair. False:
 * malformed, or a value with control characters. */
bool trace_pairs(const char *text, void (*each)(void *arg, const char *name, const char *value),
                 void *arg);

/* ---- the object ---- */

struct trace_options {
    const char *dir; /* is made when missing */
    struct disk *disk;
    const char *node_id, *version;
    uint64_t keep_ms, bytes_max; /* 0: 30 days, 1 GiB */
    double sample;               /* 0..1 of the traces */
    /* The collector; NULL or "": none. The URL is complete: ".../v1/traces". */
    const char *endpoint;
    const char *headers;         /* "Name: value\r\n" each; may be NULL */
    const char *service;         /* NULL: koan */
    const char *resource;        /* further attributes as "a=b,c=d", percent-encoded; may be NULL */
    uint32_t timeout_ms;         /* of a delivery; 0: 10 s */
    struct health_board *health; /* components "ring" and "telemetry"; may be NULL */
};

/* Opens or creates the ring; blocks. A folder that cannot be used is no reason not to start: the
 * ring is then empty and drops everything, and health says why. */
int trace_open(const struct trace_options *o, struct trace **out, struct err *e);
/* Writes what is there and gives the collector one last, short chance. Blocks. Takes NULL. */
void trace_close(struct trace *t);

/* All events of a story as a JSON array by time, appended to `out`; *cut when there were more than
 * TRACE_EVENTS_MAX. Blocks on the disk: for the pool. What was noted before the call is found.
 * ERR_NOT_FOUND when there is none. */
int trace_timeline(struct trace *t, const char *correlation, struct buf *out, bool *cut,
                   struct err *e);

#endif
