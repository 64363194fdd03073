/* Queue core, saved: the records. Ended ones first, in the order of their lists; then the others;
 * then the lines of keys, which name records by their position here. */
#include <string.h>

#include "queue/saved_priv.h"

enum { RECORDS_A_STEP = 1024 };

/* What a record has out of the ordinary, as flags. */
enum {
    HAS_TIMES = 1,
    HAS_PLACES = 2,
    HAS_KEY = 4,
    HAS_UNIQUE = 8,
    HAS_GATES = 16,
    HAS_GRANT = 32,
    HAS_HISTORY = 64,
    HAS_MOVES = 128,
};

static uint8_t extra_flags(const struct rec *r, const struct extra *x)
{
    unsigned f = 0;
    if (x == NULL)
        return 0;
    f |= x->first_run != 0 || x->ttl_at != 0 || x->snoozed || x->halts || x->reason != 0 ||
                 x->tended != NULL
             ? HAS_TIMES
             : 0;
    f |= x->body != 0 || x->result != 0 ? HAS_PLACES : 0;
    f |= x->keyline != NULL ? HAS_KEY : 0;
    f |= x->unique != NULL ? HAS_UNIQUE : 0;
    f |= x->gates_count > 0 ? HAS_GATES : 0;
    f |= x->token != 0 || r->state == REC_EXECUTING ? HAS_GRANT : 0;
    f |= x->errors != NULL || x->died_count > 0 ? HAS_HISTORY : 0;
    f |= x->moves != NULL ? HAS_MOVES : 0;
    return (uint8_t)f;
}

static void pass_times(struct pass *p, struct extra *x)
{
    pass_i64(p, &x->first_run);
    pass_i64(p, &x->ttl_at);
    pass_bool(p, &x->snoozed);
    pass_bool(p, &x->halts);
    pass_u8(p, &x->reason);
}

static void pass_key(struct core *c, struct pass *p, uint32_t n, struct extra *x)
{
    char room[CORE_TEXT_MAX + 1];
    const char *text = pass_text(p, p->loading ? NULL : x->keyline->text, room);
    if (!p->loading || p->rc < 0 || text == NULL)
        return;
    x->keyline = keyline_get(c, core_kind(c, core_rec(c, n))->queue, text);
    x->keyline->refs++;
    x->keyline->halted += x->halts;
}

static void pass_unique(struct core *c, struct pass *p, uint32_t n, struct extra *x)
{
    char room[CORE_TEXT_MAX + 1];
    struct uuid id = x->unique_id;
    const char *text = pass_text(p, p->loading ? NULL : x->unique->text, room);
    pass_bytes(p, id.b, sizeof id.b);
    if (p->loading && p->rc == 0 && text != NULL)
        unique_join(c, n, text, &id);
}

static void pass_record_gates(struct core *c, struct pass *p, struct extra *x)
{
    pass_u8(p, &x->gates_count);
    if (x->gates_count > CORE_GATES_MAX) {
        x->gates_count = 0;
        pass_fail(p, ERR_CORRUPT, "too many gates of a record");
    }
    for (uint8_t i = 0; i < x->gates_count; i++) {
        uint32_t number = p->loading ? 0 : x->gates[i]->number;
        pass_number(p, &number, c->gates_count, "a gate that is not there");
        if (p->rc < 0)
            x->gates_count = 0;
        else if (p->loading)
            x->gates[i] = saved_gate(c, number);
    }
}

static void pass_grant(struct core *c, struct pass *p, const struct rec *r, struct extra *x,
                       struct consumer **holder)
{
    uint64_t number = r->state == REC_EXECUTING && !p->loading ? x->consumer->number : 0;
    pass_u64(p, &x->token);
    pass_i64(p, &x->granted_at);
    pass_i64(p, &x->own_lease);
    pass_bool(p, &x->asked);
    pass_u64(p, &number);
    if (p->rc == 0 && p->loading && r->state == REC_EXECUTING &&
        (*holder = saved_consumer(c, number)) == NULL)
        pass_fail(p, ERR_CORRUPT, "a consumer that is not there");
}

static void pass_word(struct core *c, struct pass *p, struct word **w, size_t max)
{
    char room[CORE_TEXT_MAX + 1];
    const char *text = pass_text(p, p->loading || *w == NULL ? NULL : (*w)->text, room);
    if (p->loading)
        *w = word_ref(c, text, max);
}

static void pass_error(struct core *c, struct pass *p, struct rec_error *at)
{
    pass_i64(p, &at->at);
    pass_u64(p, &at->place);
    pass_u32(p, &at->attempt);
    pass_u16(p, &at->code);
    pass_u8(p, &at->reason);
    if (p->form < 3)
        return;
    pass_word(c, p, &at->node, CORE_TEXT_MAX);
    pass_bytes(p, at->trace, sizeof at->trace);
}

/* Both are written as they stand in their rings. */
static void pass_moves(struct core *c, struct pass *p, struct extra *x)
{
    uint32_t count = p->loading ? 0 : x->moves->count;
    pass_u32(p, &count);
    struct rec_moves *m = p->loading ? moves_room(c, x, count) : x->moves;
    m->count = count;
    for (uint32_t i = 0; i < ring_kept(count, CORE_MOVES_KEPT); i++) {
        struct rec_move *at = &m->ring[i];
        pass_i64(p, &at->at);
        pass_u8(p, &at->verb);
        pass_u8(p, &at->reason);
        pass_word(c, p, &at->who, CORE_WHO_MAX);
        pass_word(c, p, &at->why, CORE_WHY_MAX);
        pass_word(c, p, &at->from, CORE_TEXT_MAX);
        pass_word(c, p, &at->to, CORE_TEXT_MAX);
        if (at->verb == 0 || at->verb >= VERB_COUNT || at->reason >= REASON_COUNT)
            pass_fail(p, ERR_CORRUPT, "an unknown move of a record");
    }
}

static void pass_history(struct core *c, struct pass *p, struct extra *x)
{
    uint32_t count = x->errors == NULL ? 0 : x->errors->count;
    pass_u32(p, &count);
    if (p->loading && count > 0)
        errors_room(c, x, count)->count = count;
    for (uint32_t i = 0; i < ring_kept(count, CORE_ERRORS_KEPT); i++)
        pass_error(c, p, &x->errors->ring[i]);
    pass_u8(p, &x->died_count);
    if (x->died_count > CORE_DIED_MAX) {
        x->died_count = 0;
        pass_fail(p, ERR_CORRUPT, "a record died in too many queues");
    }
    for (uint8_t i = 0; i < x->died_count; i++) {
        uint32_t number = p->loading ? 0 : x->died[i] == NULL ? UINT32_MAX : x->died[i]->number;
        pass_u32(p, &number);
        if (p->loading)
            x->died[i] = saved_queue(c, number);
    }
}

/* That it was found overdue is saved, not made anew: what an entry has to do must be the same for
 * who was loaded and who was not. */
static void pass_tended(struct core *c, struct pass *p, uint32_t n, struct extra *x)
{
    char room[CORE_TEXT_MAX + 1];
    bool has = x->tended != NULL;
    pass_bool(p, &has);
    if (!has)
        return;
    int64_t due_at = p->loading ? 0 : x->tended->due_at;
    const char *owner = pass_text(p, p->loading ? NULL : x->tended->owner, room);
    pass_i64(p, &due_at);
    pass_bool(p, &x->overdue);
    if (!p->loading || p->rc < 0)
        return;
    bool overdue = x->overdue;
    x->overdue = false; /* counted when it stands */
    if (owner == NULL || strlen(owner) > CORE_OWNER_MAX || due_at < 0 ||
        (overdue && (due_at == 0 || due_at > c->at)))
        pass_fail(p, ERR_CORRUPT, "an owner or a due time that cannot be");
    else
        tended_set(c, n, owner, due_at);
    x->overdue = overdue && p->rc == 0;
}

static void pass_extra(struct core *c, struct pass *p, uint32_t n, uint8_t flags,
                       struct consumer **holder)
{
    struct extra *x = flags == 0 ? NULL : rec_extra(c, n);
    if (flags & HAS_TIMES)
        pass_times(p, x);
    if ((flags & HAS_TIMES) && p->form >= 5)
        pass_tended(c, p, n, x);
    if (flags & HAS_PLACES) {
        pass_u64(p, &x->body);
        pass_u64(p, &x->result);
        pass_bool(p, &x->edited);
    }
    if (flags & HAS_KEY)
        pass_key(c, p, n, x);
    if (flags & HAS_UNIQUE)
        pass_unique(c, p, n, x);
    if (flags & HAS_GATES)
        pass_record_gates(c, p, x);
    if (flags & HAS_GRANT)
        pass_grant(c, p, core_rec(c, n), x, holder);
    if (flags & HAS_HISTORY)
        pass_history(c, p, x);
    if (flags & HAS_MOVES)
        pass_moves(c, p, x);
}

/* ---- where it stands ---- */

static void held_restore(struct core *c, uint32_t n, struct consumer *holder)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = core_extra(c, r);
    core_kind(c, r)->line->lane->executing++;
    for (uint8_t i = 0; i < x->gates_count; i++)
        x->gates[i]->in_use++;
    rec_set_where(c, r, WHERE_HELD);
    consumer_hold(c, holder, n);
    if (x->own_lease != 0)
        heap_push(c, &c->undo, &c->leases, &lease_heap, n);
}

static void record_restore(struct core *c, struct pass *p, uint32_t n, uint8_t state,
                           struct consumer *holder)
{
    struct rec *r = core_rec(c, n);
    if (state == REC_EXECUTING && holder == NULL) {
        pass_fail(p, ERR_CORRUPT, "an executing record that nobody holds");
        return;
    }
    const struct extra *x = core_extra(c, r);
    bool overdue = x != NULL && x->overdue;
    if (overdue && (state >= REC_COMPLETED || state == REC_EXECUTING)) {
        pass_fail(p, ERR_CORRUPT, "an overdue record that does not wait");
        return;
    }
    rec_set_state(c, n, (enum rec_state)state);
    core_kind(c, r)->queue->overdue += overdue;
    if (state == REC_SCHEDULED || state == REC_RETRYABLE) {
        rec_set_where(c, r, WHERE_DUE);
        heap_push(c, &c->undo, &c->due, &due_heap, n);
    } else if (state == REC_EXECUTING) {
        held_restore(c, n, holder);
    } else if (state >= REC_COMPLETED) {
        rec_set_where(c, r, WHERE_ENDED);
        fifo_push(c, queue_ended(core_kind(c, r)->queue, (enum rec_state)state), n);
    }
    alarm_review(c, n);
}

static uint32_t record_begin(struct core *c, struct pass *p, uint64_t id, uint32_t kind)
{
    p->rc = rec_reserve(c, p->e);
    if (p->rc < 0)
        return NONE;
    uint32_t n = rec_load(c, id);
    core_rec(c, n)->kind = kind;
    kind_ref(c, c->kinds[kind]);
    return n;
}

/* What every record has, in one piece: a million of them are loaded before a node is ready. */
struct fixed {
    uint64_t place, id, due;
    uint32_t kind, bytes;
    uint16_t attempts, deliveries;
    uint8_t state, flags;
};
enum { FIXED_BYTES = 38 };

static void fixed_save(struct pass *p, struct fixed *f)
{
    pass_u64(p, &f->place);
    pass_u64(p, &f->id);
    pass_u64(p, &f->due);
    pass_u32(p, &f->kind);
    pass_u32(p, &f->bytes);
    pass_u16(p, &f->attempts);
    pass_u16(p, &f->deliveries);
    pass_u8(p, &f->state);
    pass_u8(p, &f->flags);
}

static void fixed_load(struct pass *p, struct fixed *f)
{
    uint8_t all[FIXED_BYTES];
    struct cursor c;
    pass_bytes(p, all, sizeof all);
    cursor_init(&c, all, sizeof all);
    f->place = cursor_u64(&c);
    f->id = cursor_u64(&c);
    f->due = cursor_u64(&c);
    f->kind = cursor_u32(&c);
    f->bytes = cursor_u32(&c);
    f->attempts = cursor_u16(&c);
    f->deliveries = cursor_u16(&c);
    f->state = cursor_u8(&c);
    f->flags = cursor_u8(&c);
}

static void record_save(struct core *c, struct pass *p, uint32_t n)
{
    const struct rec *r = core_rec(c, n);
    struct consumer *holder = NULL;
    struct fixed f = {.place = r->place,
                      .id = r->id,
                      .due = r->due,
                      .kind = core_kind(c, r)->rank,
                      .bytes = r->bytes,
                      .attempts = (uint16_t)r->attempts,
                      .deliveries = (uint16_t)r->deliveries,
                      .state = (uint8_t)r->state,
                      .flags = extra_flags(r, core_extra(c, r))};
    fixed_save(p, &f);
    if (p->rc == 0)
        pass_extra(c, p, n, f.flags, &holder);
}

static void record_load(struct core *c, struct pass *p)
{
    struct fixed f;
    struct consumer *holder = NULL;
    fixed_load(p, &f);
    if (p->rc == 0 && f.kind >= c->kinds_count)
        pass_fail(p, ERR_CORRUPT, "a kind that is not there");
    if (p->rc == 0 && (f.state < REC_SCHEDULED || f.state > REC_CANCELLED))
        pass_fail(p, ERR_CORRUPT, "an unknown state");
    uint32_t n = p->rc == 0 ? record_begin(c, p, f.id, f.kind) : NONE;
    if (p->rc < 0)
        return;
    struct rec *r = core_rec(c, n);
    r->place = f.place;
    r->bytes = f.bytes & 0x7fffffu;
    r->attempts = f.attempts & 1023u;
    r->deliveries = f.deliveries & 1023u;
    r->state = f.state & 15u;
    rec_set_due(c, r, (int64_t)f.due);
    pass_extra(c, p, n, f.flags, &holder);
    r->state = 0;
    record_restore(c, p, n, f.state, holder);
}

/* ---- in which order ---- */

static uint32_t records_count(const struct core *c)
{
    uint64_t count = 0;
    for (const struct queue *q = c->queues; q != NULL; q = q->next) {
        for (unsigned state = REC_SCHEDULED; state <= REC_CANCELLED; state++)
            count += q->count[state];
    }
    return (uint32_t)count;
}

static void records_save(struct core *c, struct pass *p)
{
    for (struct queue *q = c->queues; q != NULL; q = q->next) {
        for (uint32_t n = q->finals.first; n != NONE; n = core_rec(c, n)->next)
            record_save(c, p, n);
        for (uint32_t n = q->dead.first; n != NONE; n = core_rec(c, n)->next)
            record_save(c, p, n);
    }
    for (uint32_t n = 1; n < c->recs_count; n++) {
        unsigned state = core_rec(c, n)->state;
        if (state != 0 && state < REC_COMPLETED)
            record_save(c, p, n);
    }
}

/* Who stands in the line of a key, in order, by id. */
static void pass_keyline(struct core *c, struct pass *p, struct keyline *k)
{
    char room[CORE_TEXT_MAX + 1];
    uint32_t number = k == NULL ? 0 : k->queue->number, count = 0;
    for (uint32_t n = k == NULL ? NONE : k->first; n != NONE;
         n = core_extra(c, core_rec(c, n))->key_next)
        count++;
    pass_u32(p, &number);
    const char *text = pass_text(p, k == NULL ? NULL : k->text, room);
    pass_u32(p, &count);
    struct queue *q = p->rc < 0 ? NULL : saved_queue(c, number);
    if (q == NULL || text == NULL) {
        pass_fail(p, ERR_CORRUPT, "a key of no queue");
        return;
    }
    struct keyline *to = keyline_get(c, q, text);
    uint32_t at = to->first;
    for (uint32_t i = 0; i < count && p->rc == 0; i++) {
        uint64_t id = p->loading ? 0 : core_rec(c, at)->id;
        pass_u64(p, &id);
        uint32_t n = rec_find(c, id);
        const struct extra *x = n == NONE ? NULL : core_extra(c, core_rec(c, n));
        if (x == NULL || x->keyline != to || (p->loading && keyline_has(x)))
            pass_fail(p, ERR_CORRUPT, "a key's line with a record that is not of it");
        else if (p->loading)
            keyline_join(c, n, false);
        else
            at = x->key_next;
    }
}

static void pass_keylines(struct core *c, struct pass *p)
{
    uint32_t count = c->keys.count;
    pass_u32(p, &count);
    for (uint32_t i = 0; !p->loading && i < c->keys.chains; i++) {
        for (struct table_node *n = c->keys.heads[i]; n != NULL; n = n->next)
            pass_keyline(c, p, (struct keyline *)n);
    }
    for (uint32_t i = 0; p->loading && i < count && p->rc == 0; i++)
        pass_keyline(c, p, NULL);
}

/* Consumers with room, in order of turn. */
static void consumers_seat(struct core *c)
{
    for (uint64_t last = 0;;) {
        struct consumer *next = NULL;
        for (struct consumer *s = c->consumers; s != NULL; s = s->next) {
            if (s->turn > last && (next == NULL || s->turn < next->turn))
                next = s;
        }
        if (next == NULL)
            return;
        consumer_seat(c, next, true);
        last = next->turn;
    }
}

static void records_stand(struct core *c)
{
    for (uint32_t n = 1; n < c->recs_count; n++) {
        if (core_rec(c, n)->state == REC_AVAILABLE)
            rec_stand(c, n);
        if (n % RECORDS_A_STEP == 0)
            undo_begin(&c->undo);
    }
    for (struct queue *q = c->queues; q != NULL; q = q->next)
        purge_review(c, q);
}

void pass_records(struct core *c, struct pass *p)
{
    uint32_t count = records_count(c);
    pass_u32(p, &count);
    if (!p->loading)
        records_save(c, p);
    for (uint32_t i = 0; p->loading && i < count && p->rc == 0; i++) {
        record_load(c, p);
        if (i % RECORDS_A_STEP == 0)
            undo_begin(&c->undo);
    }
    if (p->loading && p->rc == 0 && !rec_index(c))
        pass_fail(p, ERR_CORRUPT, "the same record twice");
    pass_keylines(c, p);
    if (!p->loading || p->rc < 0)
        return;
    records_stand(c);
    consumers_seat(c);
    grants_make(c); /* those that a gate holds up go there; nothing else can be left to do */
}
