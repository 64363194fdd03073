/* Queue core: what became of records before: their errors, and what people did with them. Of both
 * the newest are kept. Texts that many of them have in common (nodes, queues, who, why) are kept
 * once, as long as somebody speaks of them. */
#include <stddef.h>
#include <string.h>

#include "base/hash.h"
#include "base/str.h"
#include "queue/core_priv.h"

enum { ERRORS_FIRST = 5, MOVES_FIRST = 2 };

/* ---- words ---- */

/* As much of it as `max` bytes hold, in whole characters. */
static size_t word_length(const char *text, size_t max)
{
    size_t n = strnlen(text, max + 1);
    if (n <= max)
        return n;
    for (n = max; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
        n--;
    return n;
}

struct word *word_ref(struct core *c, const char *text, size_t max)
{
    size_t n = text == NULL ? 0 : word_length(text, max);
    if (n == 0)
        return NULL;
    uint64_t hash = hash64(0, text, n);
    struct table_node *at = table_find(&c->words, hash);
    while (at != NULL && (strncmp(((struct word *)at)->text, text, n) != 0 ||
                          ((struct word *)at)->text[n] != '\0'))
        at = table_again(at);
    struct word *w = (struct word *)at;
    if (w == NULL) {
        w = undo_alloc(&c->undo, sizeof *w + n + 1);
        memcpy(w->text, text, n);
        table_add(&c->words, &c->undo, &w->node, hash);
    }
    SAVE(c, w->refs);
    w->refs++;
    return w;
}

static void word_unref(struct core *c, struct word *w)
{
    if (w == NULL)
        return;
    SAVE(c, w->refs);
    if (--w->refs > 0)
        return;
    table_remove(&c->words, &c->undo, &w->node);
    undo_free(&c->undo, w);
}

static const char *word_text(const struct word *w)
{
    return w == NULL ? NULL : w->text;
}

/* ---- rings ---- */

/* How all of them begin. */
struct ring {
    uint32_t count, cap;
};
#define RING_ASSERT(type)                                                                          \
    _Static_assert(offsetof(type, count) == offsetof(struct ring, count) &&                        \
                       offsetof(type, cap) == offsetof(struct ring, cap),                          \
                   "a ring begins with its count and cap")
RING_ASSERT(struct rec_errors);
RING_ASSERT(struct rec_moves);

struct ring_kind {
    size_t head, item; /* bytes */
    uint32_t first, max;
};
static const struct ring_kind ring_errors = {sizeof(struct rec_errors), sizeof(struct rec_error),
                                             ERRORS_FIRST, CORE_ERRORS_KEPT},
                              ring_moves = {sizeof(struct rec_moves), sizeof(struct rec_move),
                                            MOVES_FIRST, CORE_MOVES_KEPT};

static uint32_t ring_cap(const struct ring_kind *kind, uint32_t cap, uint32_t count)
{
    cap = cap == 0 ? kind->first : cap;
    while (cap < count && cap < kind->max)
        cap = cap * 2 < kind->max ? cap * 2 : kind->max;
    return cap;
}

/* Room for so many in *ring, by a longer one in its place if need be. */
static void *ring_room(struct core *c, void *ring, const struct ring_kind *kind, uint32_t count)
{
    struct ring **at = ring, *old = *at;
    uint32_t cap = old == NULL ? 0 : old->cap, more = ring_cap(kind, cap, count);
    if (more == cap)
        return old;
    struct ring *grown = undo_alloc(&c->undo, kind->head + more * kind->item);
    if (old != NULL)
        memcpy(grown, old, kind->head + cap * kind->item);
    grown->cap = more;
    undo_free(&c->undo, old);
    undo_note(&c->undo, at, sizeof *at);
    *at = grown;
    return grown;
}

struct rec_errors *errors_room(struct core *c, struct extra *x, uint32_t count)
{
    return ring_room(c, &x->errors, &ring_errors, count);
}

struct rec_moves *moves_room(struct core *c, struct extra *x, uint32_t count)
{
    return ring_room(c, &x->moves, &ring_moves, count);
}

static void move_unref(struct core *c, const struct rec_move *m)
{
    word_unref(c, m->who);
    word_unref(c, m->why);
    word_unref(c, m->from);
    word_unref(c, m->to);
}

void past_forget(struct core *c, struct extra *x)
{
    for (uint32_t i = 0; x->errors != NULL && i < ring_kept(x->errors->count, CORE_ERRORS_KEPT);
         i++)
        word_unref(c, x->errors->ring[i].node);
    for (uint32_t i = 0; x->moves != NULL && i < ring_kept(x->moves->count, CORE_MOVES_KEPT); i++)
        move_unref(c, &x->moves->ring[i]);
    undo_free(&c->undo, x->errors);
    undo_free(&c->undo, x->moves);
}

/* ---- noting ---- */

void rec_note_error(struct core *c, uint32_t n, enum rec_reason why, const struct core_settle *s)
{
    struct rec *r = core_rec(c, n);
    struct extra *x = rec_extra(c, n);
    ASSERT(r->state == REC_EXECUTING && x->consumer != NULL);
    struct rec_errors *all = errors_room(c, x, x->errors == NULL ? 1 : x->errors->count + 1);
    struct rec_error *at = &all->ring[all->count % CORE_ERRORS_KEPT];
    SAVE(c, all->count);
    undo_note(&c->undo, at, sizeof *at);
    if (all->count >= CORE_ERRORS_KEPT) {
        place_forget(c, at->place);
        word_unref(c, at->node);
    }
    all->count++;
    *at = (struct rec_error){.at = c->at,
                             .place = s == NULL ? 0 : s->place,
                             .node = word_ref(c, x->consumer->name, CORE_TEXT_MAX),
                             .attempt = (uint32_t)r->attempts,
                             .code = s == NULL ? 0 : s->code,
                             .reason = (uint8_t)why};
    if (s != NULL && s->trace != NULL)
        memcpy(at->trace, s->trace, sizeof at->trace);
    core_note(c, n, &(struct core_noted){.kind = NOTED_TRY, .told = at->place, .reason = why});
}

void rec_note_move(struct core *c, uint32_t n, enum core_verb verb, const struct queue *to,
                   enum rec_reason why)
{
    const struct queue *from = core_kind(c, core_rec(c, n))->queue;
    struct extra *x = rec_extra(c, n);
    struct rec_moves *all = moves_room(c, x, x->moves == NULL ? 1 : x->moves->count + 1);
    struct rec_move *at = &all->ring[all->count % CORE_MOVES_KEPT];
    bool people = verb != VERB_DEAD_LETTER;
    SAVE(c, all->count);
    undo_note(&c->undo, at, sizeof *at);
    if (all->count >= CORE_MOVES_KEPT)
        move_unref(c, at);
    all->count++;
    *at = (struct rec_move){.at = c->at,
                            .who = people ? word_ref(c, c->who, CORE_WHO_MAX) : NULL,
                            .why = people ? word_ref(c, c->why, CORE_WHY_MAX) : NULL,
                            .from = to == NULL ? NULL : word_ref(c, from->name, CORE_TEXT_MAX),
                            .to = to == NULL ? NULL : word_ref(c, to->name, CORE_TEXT_MAX),
                            .verb = (uint8_t)verb,
                            .reason = (uint8_t)why};
    core_note(c, n,
              &(struct core_noted){.kind = NOTED_VERB,
                                   .reason = why,
                                   .verb = (uint8_t)verb,
                                   .to = to == NULL ? NULL : to->name,
                                   .who = people ? word_text(at->who) : NULL,
                                   .why = people ? word_text(at->why) : NULL});
}

/* ---- reading ---- */

const char *core_verb_name(enum core_verb v)
{
    static const char *const names[VERB_COUNT] = {"",     "retry",  "move",
                                                  "edit", "cancel", "dead_letter"};
    return (unsigned)v < VERB_COUNT ? names[v] : "";
}

void past_cancelled(const struct extra *x, struct core_view *out)
{
    uint32_t count = x->moves == NULL ? 0 : x->moves->count;
    for (uint32_t i = 0; i < ring_kept(count, CORE_MOVES_KEPT); i++) {
        const struct rec_move *m = &x->moves->ring[(count - 1 - i) % CORE_MOVES_KEPT];
        if (m->verb != VERB_CANCEL)
            continue;
        str_copy(out->why, sizeof out->why, word_text(m->why));
        return;
    }
}

static void past_errors(const struct rec_errors *errors, struct core_history *out)
{
    out->errors_ever = errors->count;
    for (uint32_t i = errors->count - ring_kept(errors->count, CORE_ERRORS_KEPT); i < errors->count;
         i++) {
        const struct rec_error *at = &errors->ring[i % CORE_ERRORS_KEPT];
        struct core_error *to = &out->errors[out->errors_count++];
        *to = (struct core_error){.at = at->at,
                                  .place = at->place,
                                  .attempt = at->attempt,
                                  .code = at->code,
                                  .reason = (enum rec_reason)at->reason,
                                  .node = word_text(at->node)};
        memcpy(to->trace, at->trace, sizeof to->trace);
    }
}

static void past_moves(const struct rec_moves *moves, struct core_history *out)
{
    out->moves_ever = moves->count;
    for (uint32_t i = moves->count - ring_kept(moves->count, CORE_MOVES_KEPT); i < moves->count;
         i++) {
        const struct rec_move *m = &moves->ring[i % CORE_MOVES_KEPT];
        out->moves[out->moves_count++] = (struct core_moved){.at = m->at,
                                                             .verb = (enum core_verb)m->verb,
                                                             .reason = (enum rec_reason)m->reason,
                                                             .who = word_text(m->who),
                                                             .why = word_text(m->why),
                                                             .from = word_text(m->from),
                                                             .to = word_text(m->to)};
    }
}

int core_past(const struct core *c, const struct uuid *id, struct core_history *out, struct err *e)
{
    uint32_t n = rec_find(c, core_fingerprint(id));
    const struct extra *x = n == NONE ? NULL : core_extra(c, core_rec(c, n));
    *out = (struct core_history){.errors_count = 0};
    if (n == NONE)
        return err_field(e, ERR_NOT_FOUND, "id", "there is no such record");
    if (x == NULL)
        return 0;
    if (x->errors != NULL)
        past_errors(x->errors, out);
    if (x->moves != NULL)
        past_moves(x->moves, out);
    for (uint8_t i = 0; i < x->died_count; i++)
        if (x->died[i] != NULL)
            out->died[out->died_count++] = x->died[i]->name;
    return 0;
}
