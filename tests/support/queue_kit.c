#include "support/queue_kit.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

#include "support/unit.h"

static void must(struct queue_kit *k, int rc)
{
    if (rc != 0)
        fail_msg("%s: %s", err_info(rc)->name, k->e.text);
}

int kit_before(void **state)
{
    unit_before(state);
    struct queue_kit *k = mem_new(sizeof(*k));
    *state = k;
    k->c = core_new();
    k->now = 1000000;
    kit_pass(k, 0);
    kit_queue(k, "q");
    kit_pass(k, 0);
    return 0;
}

int kit_after(void **state)
{
    struct queue_kit *k = *state;
    core_check(k->c);
    core_free(k->c);
    mem_free(k);
    return unit_after(state);
}

struct uuid kit_id(uint32_t n)
{
    struct uuid id = {{7}};
    memcpy(id.b + 12, &n, sizeof(n));
    return id;
}

struct uuid kit_consumer_id(uint32_t n)
{
    struct uuid id = {{8}};
    memcpy(id.b + 12, &n, sizeof(n));
    return id;
}

uint64_t kit_place(struct queue_kit *k)
{
    return CORE_PLACE(k->seq, ++k->offset);
}

void kit_pass(struct queue_kit *k, int64_t ms)
{
    k->now += ms;
    k->offset = 0;
    must(k, core_entry(k->c, ++k->seq, k->now, &k->e));
}

int kit_try_send(struct queue_kit *k, uint32_t n, struct core_send s)
{
    s.tenant = s.tenant != NULL ? s.tenant : "a";
    s.queue = s.queue != NULL ? s.queue : "q";
    s.id = kit_id(n);
    s.place = kit_place(k);
    return core_send(k->c, &s, &k->sent, &k->e);
}

void kit_send_(struct queue_kit *k, uint32_t n, struct core_send s)
{
    must(k, kit_try_send(k, n, s));
}

void kit_declare_(struct queue_kit *k, const struct core_queue *q)
{
    must(k, core_declare(k->c, q, &k->e));
}

void kit_open_(struct queue_kit *k, uint32_t n, struct core_consumer c)
{
    c.id = kit_consumer_id(n);
    must(k, core_open(k->c, &c, &k->e));
}

void kit_gate_(struct queue_kit *k, struct core_gate g)
{
    g.tenant = "a";
    must(k, core_gate(k->c, &g, &k->e));
}

struct core_settle kit_settlement(struct queue_kit *k, uint32_t n, enum core_outcome outcome)
{
    return (struct core_settle){.id = kit_id(n),
                                .token = kit_look(k, n).token,
                                .place = kit_place(k),
                                .outcome = outcome,
                                .delay_ms = -1};
}

void kit_settled_(struct queue_kit *k, const struct core_settle *s)
{
    must(k, core_settle(k->c, s, &k->e));
}

void kit_settle(struct queue_kit *k, uint32_t n, enum core_outcome outcome)
{
    struct core_settle s = kit_settlement(k, n, outcome);
    kit_settled_(k, &s);
}

struct core_view kit_look(struct queue_kit *k, uint32_t n)
{
    struct core_view v;
    struct uuid id = kit_id(n);
    must(k, core_look(k->c, &id, &v, &k->e));
    return v;
}

enum rec_state kit_state(struct queue_kit *k, uint32_t n)
{
    struct core_view v;
    struct uuid id = kit_id(n);
    return core_look(k->c, &id, &v, NULL) == 0 ? v.state : 0;
}

struct core_counts kit_counts(struct queue_kit *k, const char *queue)
{
    struct core_counts n;
    must(k, core_counts(k->c, "a", queue, &n, &k->e));
    return n;
}

size_t kit_effects(struct queue_kit *k, enum core_effect_kind kind, struct core_effect *out)
{
    size_t count, found = 0;
    const struct core_effect *e = core_effects(k->c, &count);
    for (size_t i = 0; i < count; i++)
        if (e[i].kind == kind) {
            found++;
            if (out != NULL)
                *out = e[i];
        }
    return found;
}

static int put(void *arg, const void *p, size_t n, struct err *e)
{
    buf_add(arg, p, n);
    return buf_check(arg, "state", e);
}

static int get(void *arg, void *out, size_t n, struct err *e)
{
    const void *p = cursor_raw(arg, n);
    if (p == NULL)
        return err_set(e, ERR_CORRUPT, "the saved state ends early");
    memcpy(out, p, n);
    return 0;
}

struct core *kit_copy(struct queue_kit *k)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(64 << 20);
    struct cursor c;
    struct core *copy = core_new();
    must(k, core_save(k->c, put, &b, &k->e));
    cursor_init(&c, b.data, b.len);
    must(k, core_load(copy, get, &c, &k->e));
    assert_int_equal(cursor_left(&c), 0);
    return copy;
}
