/* Queue core: how its state is written down and read back. One list of fields serves both ways, so
 * that they cannot differ: in a `struct pass` each step either appends the value or fills it in.
 * The form: schema/queue-state.md. */
#ifndef KOAN_QUEUE_SAVED_PRIV_H
#define KOAN_QUEUE_SAVED_PRIV_H

#include "base/buf.h"
#include "queue/core_priv.h"

enum { SAVED_FORM = 8, SAVED_PIECE = 60 << 10 };

struct pass {
    bool loading;
    uint32_t form; /* that is written or read */
    int rc;        /* the first failure; everything is idle after it */
    struct err *e;
    struct buf out;
    int (*put)(void *arg, const void *p, size_t n, struct err *e);
    int (*get)(void *arg, void *p, size_t n, struct err *e);
    void *arg;
};

void pass_bytes(struct pass *p, void *v, size_t n);
void pass_u8(struct pass *p, uint8_t *v);
void pass_u16(struct pass *p, uint16_t *v);
void pass_u32(struct pass *p, uint32_t *v);
void pass_u64(struct pass *p, uint64_t *v);
void pass_i64(struct pass *p, int64_t *v); /* ms: a time, a duration, or -1 */
void pass_us(struct pass *p, int64_t *v);
void pass_bool(struct pass *p, bool *v);
/* A text of at most CORE_TEXT_MAX bytes; `room` is filled when loading, and returned, or NULL. */
const char *pass_text(struct pass *p, const char *v, char room[CORE_TEXT_MAX + 1]);
/* Loaded, it has to be there. */
void pass_must(struct pass *p, const char *text);
/* A label as it is asked for; loaded, its texts are in `room`. */
struct label_room {
    char name[CORE_TEXT_MAX + 1], text[CORE_TEXT_MAX + 1];
};
void pass_label(struct pass *p, struct core_label *l, struct label_room *room);
void pass_backoff(struct pass *p, struct core_backoff *b);
/* Which tenant, by number. */
struct tenant *pass_tenant(struct core *c, struct pass *p, struct tenant *t);
/* A count or number that must stay under `bound`. */
void pass_number(struct pass *p, uint32_t *v, uint32_t bound, const char *what);
int pass_fail(struct pass *p, int code, const char *what);
int pass_flush(struct pass *p);

/* saved_records.c */
void pass_records(struct core *c, struct pass *p);
/* saved_parts.c, of queues saved_queues.c: in this order */
void pass_tenants(struct core *c, struct pass *p);
void pass_lanes(struct core *c, struct pass *p);
void pass_needs(struct core *c, struct pass *p);
void pass_gates(struct core *c, struct pass *p);
void pass_queues(struct core *c, struct pass *p);
void pass_kinds(struct core *c, struct pass *p);
void pass_consumers(struct core *c, struct pass *p);
void pass_dedups(struct core *c, struct pass *p);

/* By number; NULL when loading met one that is not there (and the pass failed). */
struct tenant *saved_tenant(const struct core *c, uint32_t number);
struct queue *saved_queue(const struct core *c, uint32_t number);
struct gate *saved_gate(const struct core *c, uint32_t number);
struct needs *saved_needs(const struct core *c, uint32_t number);
struct consumer *saved_consumer(const struct core *c, uint64_t number);

#endif
