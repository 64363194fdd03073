/* Queue core: the options of a queue, one by one: which of two declarations differ, and which are
 * whose. What scripts say is theirs; the rest is left to people. */
#include <string.h>

#include "base/mem.h"
#include "queue/core_priv.h"

static const struct {
    const char *name;
    uint32_t option;
} options[] = {
    {"concurrency", OPTION_CONCURRENCY},
    {"max", OPTION_MAX},
    {"max_bytes", OPTION_MAX_BYTES},
    {"overflow", OPTION_OVERFLOW},
    {"dead_to", OPTION_DEAD_TO},
    {"on_dead", OPTION_ON_DEAD},
    {"manual", OPTION_MANUAL},
    {"handled", OPTION_HANDLED},
    {"due", OPTION_DUE},
    {"keep_completed", OPTION_KEEP_COMPLETED},
    {"keep_discarded", OPTION_KEEP_DISCARDED},
    {"keep_count", OPTION_KEEP_COUNT},
    {"dedup_window", OPTION_DEDUP_WINDOW},
    {"body_max", OPTION_BODY_MAX},
    {"attempts", OPTION_ATTEMPTS},
    {"backoff", OPTION_BACKOFF},
    {"timeout", OPTION_TIMEOUT},
    {"ttl", OPTION_TTL},
    {"deadline", OPTION_DEADLINE},
    {"priority", OPTION_PRIORITY},
    {"lane", OPTION_LANE},
    {"gate", OPTION_GATE},
    {"needs", OPTION_NEEDS},
};

uint32_t core_option_named(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(options[i].name, name) == 0)
            return options[i].option;
    return 0;
}

const char *core_option_name(uint32_t mask)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if ((options[i].option & mask) != 0)
            return options[i].name;
    return NULL;
}

/* ---- comparing ---- */

static uint32_t unless(bool same, uint32_t option)
{
    return same ? 0 : option;
}

static bool text_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static uint32_t body_max(const struct core_queue *q)
{
    return q->body_max != 0 ? q->body_max : CORE_BODY;
}

uint32_t core_queue_differs(const struct core_queue *a, const struct core_queue *b)
{
    return unless(a->concurrency == b->concurrency, OPTION_CONCURRENCY) |
           unless(a->max == b->max, OPTION_MAX) |
           unless(a->max_bytes == b->max_bytes, OPTION_MAX_BYTES) |
           unless(a->overflow == b->overflow, OPTION_OVERFLOW) |
           unless(text_same(a->dead_to, b->dead_to), OPTION_DEAD_TO) |
           unless(a->halt_on_dead == b->halt_on_dead, OPTION_ON_DEAD) |
           unless(a->manual == b->manual, OPTION_MANUAL) |
           unless(a->handled == b->handled, OPTION_HANDLED) |
           unless(a->due_ms == b->due_ms, OPTION_DUE) |
           unless(a->keep_completed_ms == b->keep_completed_ms, OPTION_KEEP_COMPLETED) |
           unless(a->keep_discarded_ms == b->keep_discarded_ms, OPTION_KEEP_DISCARDED) |
           unless(a->keep_count == b->keep_count, OPTION_KEEP_COUNT) |
           unless(a->dedup_window_ms == b->dedup_window_ms, OPTION_DEDUP_WINDOW) |
           unless(body_max(a) == body_max(b), OPTION_BODY_MAX) |
           sending_differs(a->sending, b->sending);
}

/* ---- taking over ---- */

static void take_numbers(struct core_queue *to, const struct core_queue *from, uint32_t mask)
{
    if ((mask & OPTION_CONCURRENCY) != 0)
        to->concurrency = from->concurrency;
    if ((mask & OPTION_MAX) != 0)
        to->max = from->max;
    if ((mask & OPTION_MAX_BYTES) != 0)
        to->max_bytes = from->max_bytes;
    if ((mask & OPTION_KEEP_COMPLETED) != 0)
        to->keep_completed_ms = from->keep_completed_ms;
    if ((mask & OPTION_KEEP_DISCARDED) != 0)
        to->keep_discarded_ms = from->keep_discarded_ms;
    if ((mask & OPTION_KEEP_COUNT) != 0)
        to->keep_count = from->keep_count;
    if ((mask & OPTION_DEDUP_WINDOW) != 0)
        to->dedup_window_ms = from->dedup_window_ms;
    if ((mask & OPTION_BODY_MAX) != 0)
        to->body_max = from->body_max;
    if ((mask & OPTION_DUE) != 0)
        to->due_ms = from->due_ms;
}

void core_queue_take(struct core_queue *to, struct core_send *room, const struct core_queue *from,
                     uint32_t mask)
{
    take_numbers(to, from, mask);
    if ((mask & OPTION_OVERFLOW) != 0)
        to->overflow = from->overflow;
    if ((mask & OPTION_DEAD_TO) != 0)
        to->dead_to = from->dead_to;
    if ((mask & OPTION_ON_DEAD) != 0)
        to->halt_on_dead = from->halt_on_dead;
    if ((mask & OPTION_MANUAL) != 0)
        to->manual = from->manual;
    if ((mask & OPTION_HANDLED) != 0)
        to->handled = from->handled;
    *room =
        to->sending != NULL ? *to->sending : (struct core_send){.priority = CORE_PRIORITY_UNSAID};
    sending_take(room, from->sending, mask);
    to->sending = core_sending_says(room) ? room : NULL;
}

/* ---- whose they are ---- */

/* No script declares it any more: it stays as it is, and is worked no more. */
static void declared_left(struct core_queue *mine, const struct core_queue *is)
{
    bool handled = mine->handled;
    *mine = *is;
    mine->handled = handled;
    mine->script = NULL;
    mine->scripted = 0;
}

/* By people: what a script says is not to be changed so. */
static int declared_by_people(struct core_queue *mine, const struct core_queue *is, struct err *e)
{
    uint32_t wrong = is->script != NULL ? core_queue_differs(mine, is) & is->scripted : 0;
    mine->script = is->script;
    mine->scripted = is->scripted;
    if (wrong == 0)
        return 0;
    const char *name = core_option_name(wrong);
    return err_field(
        e, ERR_CONFLICT, name,
        "queue '%s' is declared in %s, which says its %s: change that there and deploy "
        "it, or leave %s out here",
        is->name, is->script, name, name);
}

int declared_resolve(struct core_queue *mine, struct core_send *room, const struct core_queue *is,
                     struct err *e)
{
    bool left = mine->script != NULL && mine->script[0] == '\0';
    if (is == NULL) {
        mine->script = left ? NULL : mine->script;
        mine->scripted = mine->script != NULL ? mine->scripted : 0;
        return 0;
    }
    if (left) {
        declared_left(mine, is);
        return 0;
    }
    if (mine->script == NULL)
        return declared_by_people(mine, is, e);
    core_queue_take(mine, room, is, ~(mine->scripted | is->scripted));
    if (!mine->manual && (mine->scripted & OPTION_DUE) == 0)
        mine->due_ms = 0; /* that of a queue that was manual */
    return 0;
}
