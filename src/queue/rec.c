/* Queue core: where records and extras are kept, and found by id. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "queue/core_priv.h"

enum { ID_CHAINS = 1024, ID_AHEAD = 8 };

uint64_t core_fingerprint(const struct uuid *id)
{
    return hash64(0, id->b, sizeof id->b);
}

void rec_save(struct core *c, struct rec *r)
{
    undo_note(&c->undo, r, sizeof *r);
}

void rec_set_due(struct core *c, struct rec *r, int64_t at)
{
    rec_save(c, r);
    r->due = (uint64_t)at & ((UINT64_C(1) << REC_DUE_BITS) - 1);
}

void rec_set_where(struct core *c, struct rec *r, enum rec_where where)
{
    rec_save(c, r);
    r->where = (unsigned)where & 31u;
}

static bool state_waits(unsigned state)
{
    return state == REC_SCHEDULED || state == REC_AVAILABLE || state == REC_RETRYABLE;
}

static bool state_is_live(unsigned state)
{
    return state >= REC_SCHEDULED && state <= REC_RETRYABLE;
}

void oldest_review(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    bool should = q->o.overflow == OVERFLOW_DROP_OLDEST && state_waits(r->state);
    const struct extra *had = core_extra(c, r);
    if (should == (had != NULL && had->in_oldest))
        return;
    struct extra *x = rec_extra(c, n);
    SAVE(c, x->in_oldest);
    x->in_oldest = should;
    if (should)
        heap_push(c, &c->undo, &q->oldest, &oldest_heap, n);
    else
        heap_remove(c, &c->undo, &q->oldest, &oldest_heap, x->oldest_pos);
}

void rec_set_state(struct core *c, uint32_t n, enum rec_state state)
{
    struct rec *r = core_rec(c, n);
    struct queue *q = core_kind(c, r)->queue;
    unsigned before = r->state;
    SAVE(c, q->bytes);
    SAVE(c, q->executing_bytes);
    if (before != 0) {
        SAVE(c, q->count[before]);
        q->count[before]--;
    }
    if (state_is_live(before))
        q->bytes -= r->bytes;
    if (before == REC_EXECUTING)
        q->executing_bytes -= r->bytes;
    rec_save(c, r);
    r->state = (unsigned)state & 15u;
    if (state != 0) {
        SAVE(c, q->count[state]);
        q->count[state]++;
    }
    if (state_is_live(state))
        q->bytes += r->bytes;
    if (state == REC_EXECUTING)
        q->executing_bytes += r->bytes;
    oldest_review(c, n);
    if (q->overdue > 0 && !state_waits(state))
        overdue_leave(c, n);
    if ((before == REC_EXECUTING) != (state == REC_EXECUTING) && q->o.concurrency > 0)
        queue_lines_review(c, q);
}

/* ---- the table by id: chains of numbers, one more at a time ---- */

static uint32_t id_chain(const struct core *c, uint64_t id)
{
    uint32_t at = (uint32_t)id & (c->ids_base * 2 - 1);
    return at < c->ids_chains ? at : at & (c->ids_base - 1);
}

uint32_t rec_find(const struct core *c, uint64_t id)
{
    if (c->ids_chains == 0)
        return NONE;
    uint32_t n = c->ids[id_chain(c, id)];
    while (n != NONE && core_rec(c, n)->id != id)
        n = core_rec(c, n)->chain;
    return n;
}

void core_expect(const struct core *c, uint64_t id, bool again)
{
    if (c->ids_chains == 0)
        return;
    const uint32_t *chain = &c->ids[id_chain(c, id)];
    if (!again)
        __builtin_prefetch(chain);
    else if (*chain != NONE)
        __builtin_prefetch(core_rec(c, *chain));
}

static void id_push(struct core *c, uint32_t chain, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    rec_save(c, r);
    SAVE(c, c->ids[chain]);
    r->chain = c->ids[chain];
    c->ids[chain] = n;
}

static void id_split(struct core *c)
{
    SAVE(c, c->ids_chains);
    SAVE(c, c->ids_base);
    uint32_t need = c->ids_chains == 0 ? ID_CHAINS : c->ids_chains + 1;
    undo_grow(&c->undo, (void **)&c->ids, &c->ids_cap, sizeof *c->ids, need);
    if (c->ids_chains == 0) {
        c->ids_chains = c->ids_base = ID_CHAINS;
        return;
    }
    if (c->ids_chains == c->ids_base * 2)
        c->ids_base *= 2;
    uint32_t from = c->ids_chains - c->ids_base;
    uint32_t n = c->ids[from];
    __builtin_prefetch(core_rec(c, c->ids[(from + ID_AHEAD) & (c->ids_base - 1)]));
    SAVE(c, c->ids[from]);
    SAVE(c, c->ids[c->ids_chains]);
    c->ids[from] = c->ids[c->ids_chains] = NONE;
    c->ids_chains++;
    for (uint32_t next; n != NONE; n = next) {
        next = core_rec(c, n)->chain;
        id_push(c, id_chain(c, core_rec(c, n)->id), n);
    }
}

static void id_add(struct core *c, uint32_t n)
{
    if (c->ids_count >= c->ids_chains)
        id_split(c);
    SAVE(c, c->ids_count);
    c->ids_count++;
    id_push(c, id_chain(c, core_rec(c, n)->id), n);
}

static void id_remove(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    uint32_t *at = &c->ids[id_chain(c, r->id)];
    struct rec *holder = NULL;
    while (*at != n) {
        holder = core_rec(c, *at);
        at = &holder->chain;
    }
    undo_note(&c->undo, at, sizeof *at);
    SAVE(c, c->ids_count);
    *at = r->chain;
    c->ids_count--;
}

/* ---- storage ---- */

int rec_reserve(struct core *c, struct err *e)
{
    if (c->recs_free != NONE)
        return 0;
    uint32_t chunk = c->recs_count / REC_CHUNK; /* number 0 stays unused */
    if (chunk < c->recs_cap && c->recs[chunk] != NULL)
        return 0;
    struct rec *block = mem_try(REC_CHUNK * sizeof *block);
    if (block == NULL)
        return err_set(e, ERR_NOMEM, "%d more records", REC_CHUNK);
    memset(block, 0, REC_CHUNK * sizeof *block);
    undo_note(&c->undo, block, 0); /* freed when undone */
    undo_grow(&c->undo, (void **)&c->recs, &c->recs_cap, sizeof *c->recs, chunk + 1);
    SAVE(c, c->recs[chunk]);
    c->recs[chunk] = block;
    return 0;
}

static uint32_t rec_take(struct core *c, uint64_t id)
{
    uint32_t n = c->recs_free;
    if (n != NONE) {
        SAVE(c, c->recs_free);
        c->recs_free = core_rec(c, n)->next;
    } else {
        SAVE(c, c->recs_count);
        n = c->recs_count++;
    }
    struct rec *r = core_rec(c, n);
    rec_save(c, r);
    memset(r, 0, sizeof *r);
    r->id = id;
    return n;
}

uint32_t rec_new(struct core *c, uint64_t id)
{
    uint32_t n = rec_take(c, id);
    id_add(c, n);
    return n;
}

uint32_t rec_load(struct core *c, uint64_t id)
{
    ASSERT(c->recs_free == NONE && c->ids_count == 0);
    return rec_take(c, id);
}

/* How far ahead the chain of a record is asked for, and then who is in it: a million records are
 * more than the caches hold. */
enum { INDEX_CHAIN = 16, INDEX_FIRST = 8 };

bool rec_index(struct core *c)
{
    uint32_t count = c->recs_count;
    c->ids_chains = count > ID_CHAINS ? count : ID_CHAINS;
    undo_grow(&c->undo, (void **)&c->ids, &c->ids_cap, sizeof *c->ids, c->ids_chains);
    memset(c->ids, 0, c->ids_chains * sizeof *c->ids);
    for (c->ids_base = ID_CHAINS; c->ids_base * 2 < c->ids_chains;)
        c->ids_base *= 2;
    for (uint32_t n = 1; n < count; n++) {
        struct rec *r = core_rec(c, n);
        if (n + INDEX_CHAIN < count)
            core_expect(c, core_rec(c, n + INDEX_CHAIN)->id, false);
        if (n + INDEX_FIRST < count)
            core_expect(c, core_rec(c, n + INDEX_FIRST)->id, true);
        if (rec_find(c, r->id) != NONE)
            return false;
        uint32_t *chain = &c->ids[id_chain(c, r->id)];
        r->chain = *chain;
        *chain = n;
        c->ids_count++;
    }
    return true;
}

static void extra_free(struct core *c, struct rec *r)
{
    struct extra *x = core_extra(c, r);
    undo_note(&c->undo, x, sizeof *x);
    SAVE(c, c->extras_free);
    past_forget(c, x);
    undo_free(&c->undo, x->tended);
    memset(x, 0, sizeof *x);
    x->rec = c->extras_free;
    c->extras_free = r->extra;
}

void rec_free(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    id_remove(c, n);
    if (r->extra != NONE)
        extra_free(c, r);
    kind_unref(c, core_kind(c, r));
    rec_save(c, r);
    memset(r, 0, sizeof *r);
    SAVE(c, c->recs_free);
    r->next = c->recs_free;
    c->recs_free = n;
}

static uint32_t extra_new(struct core *c)
{
    uint32_t n = c->extras_free;
    if (n != NONE) {
        SAVE(c, c->extras_free);
        c->extras_free = c->extras[n / EXTRA_CHUNK][n % EXTRA_CHUNK].rec;
        return n;
    }
    SAVE(c, c->extras_count);
    n = c->extras_count++;
    uint32_t chunk = n / EXTRA_CHUNK;
    undo_grow(&c->undo, (void **)&c->extras, &c->extras_cap, sizeof *c->extras, chunk + 1);
    if (c->extras[chunk] == NULL) {
        SAVE(c, c->extras[chunk]);
        c->extras[chunk] = undo_alloc(&c->undo, EXTRA_CHUNK * sizeof **c->extras);
    }
    return n;
}

struct extra *rec_extra(struct core *c, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    if (r->extra == NONE) {
        rec_save(c, r);
        r->extra = extra_new(c);
        struct extra *x = core_extra(c, r);
        undo_note(&c->undo, x, sizeof *x);
        memset(x, 0, sizeof *x);
        x->rec = n;
        x->alarm_at = NO_TIME;
    }
    return core_extra(c, r);
}

/* ---- order, lists ---- */

static int rec_order(const struct core *c, const struct rec *a, const struct rec *b)
{
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    uint32_t qa = core_kind(c, a)->queue->number, qb = core_kind(c, b)->queue->number;
    return qa < qb ? -1 : qa > qb;
}

bool rec_is_sooner(const struct core *c, uint64_t a, uint64_t b)
{
    const struct rec *ra = core_rec(c, (uint32_t)a), *rb = core_rec(c, (uint32_t)b);
    if (ra->due != rb->due)
        return ra->due < rb->due;
    return rec_order(c, ra, rb) < 0;
}

bool rec_is_before(const struct core *c, uint64_t a, uint64_t b)
{
    const struct kind *ka = core_kind(c, core_rec(c, (uint32_t)a));
    const struct kind *kb = core_kind(c, core_rec(c, (uint32_t)b));
    if (ka->priority != kb->priority)
        return ka->priority > kb->priority;
    return rec_is_sooner(c, a, b);
}

void fifo_push(struct core *c, struct fifo *f, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    rec_save(c, r);
    undo_note(&c->undo, f, sizeof *f);
    r->next = NONE;
    r->prev = f->last;
    if (f->last != NONE) {
        rec_save(c, core_rec(c, f->last));
        core_rec(c, f->last)->next = n;
    } else {
        f->first = n;
    }
    f->last = n;
}

void fifo_remove(struct core *c, struct fifo *f, uint32_t n)
{
    struct rec *r = core_rec(c, n);
    undo_note(&c->undo, f, sizeof *f);
    rec_save(c, r);
    if (r->next != NONE) {
        rec_save(c, core_rec(c, r->next));
        core_rec(c, r->next)->prev = r->prev;
    } else {
        f->last = r->prev;
    }
    if (r->prev != NONE) {
        rec_save(c, core_rec(c, r->prev));
        core_rec(c, r->prev)->next = r->next;
    } else {
        f->first = r->next;
    }
    r->next = r->prev = NONE;
}

void core_decide(struct core *c, uint8_t what, const struct rec *r, uint64_t value)
{
    uint64_t words[4] = {what, r->place, core_kind(c, r)->queue->number, value};
    SAVE(c, c->hash);
    c->hash = hash64(c->hash, words, sizeof words);
}
