/* Queue core: how a record is sent. What its sender does not say is as its queue says, and what
 * that does not say is the core's default; decided here alone, for sends and for moves. */
#include <string.h>

#include "base/mem.h"
#include "queue/core_priv.h"

static const struct core_send says_nothing = {.priority = CORE_PRIORITY_UNSAID};

/* ---- as it may be said ---- */

int core_text_check(const char *text, const char *field, struct err *e)
{
    size_t n = text == NULL ? 1 : strlen(text);
    if (n < 1 || n > CORE_TEXT_MAX)
        return err_field(e, ERR_INVALID, field, "it has 1 to %d bytes", CORE_TEXT_MAX);
    return 0;
}

static int needs_check(const struct core_send *s, struct err *e)
{
    if (s->needs_count > CORE_LABELS_MAX)
        return err_field(e, ERR_INVALID, "needs", "at most %d labels", CORE_LABELS_MAX);
    for (uint8_t i = 0; i < s->needs_count; i++) {
        if (core_text_check(s->needs[i].name, "needs", e) < 0 ||
            core_text_check(s->needs[i].text, "needs", e) < 0)
            return ERR_INVALID;
    }
    return 0;
}

static int gates_check(const struct core_send *s, struct err *e)
{
    if (s->gates_count > CORE_GATES_MAX)
        return err_field(e, ERR_INVALID, "gate", "at most %d gates", CORE_GATES_MAX);
    for (uint8_t i = 0; i < s->gates_count; i++) {
        if (core_text_check(s->gates[i], "gate", e) < 0)
            return ERR_INVALID;
        for (uint8_t k = 0; k < i; k++) {
            if (strcmp(s->gates[i], s->gates[k]) == 0)
                return err_field(e, ERR_INVALID, "gate", "'%s' is named twice", s->gates[i]);
        }
    }
    return 0;
}

int queue_body_check(const struct queue *q, uint32_t bytes, struct err *e)
{
    uint32_t max = q->o.body_max != 0 ? q->o.body_max : CORE_BODY;
    if (bytes <= max)
        return 0;
    return err_field(
        e, ERR_TOO_LARGE, "body",
        "%u bytes, and queue '%s' takes at most %u: raise its body_max (up to %d MiB), "
        "or keep it elsewhere and send its key",
        bytes, q->name, max, CORE_BODY_MAX >> 20);
}

int sending_check(const struct core_send *s, struct err *e)
{
    if (s->priority > CORE_PRIORITY_MAX && s->priority != CORE_PRIORITY_UNSAID)
        return err_field(e, ERR_INVALID, "priority", "0 to %d", CORE_PRIORITY_MAX);
    if (s->attempts > CORE_ATTEMPTS_MAX)
        return err_field(e, ERR_INVALID, "attempts", "at most %d", CORE_ATTEMPTS_MAX);
    if (s->ttl_ms < -1 || s->deadline_ms < 0 || s->ttl_ms > TIME_MAX || s->deadline_ms > TIME_MAX)
        return err_field(e, ERR_INVALID, "ttl", "ttl and deadline are times to come");
    if (s->backoff != NULL && s->backoff->list_count > CORE_BACKOFF_LIST_MAX)
        return err_field(e, ERR_INVALID, "backoff", "at most %d waits", CORE_BACKOFF_LIST_MAX);
    int rc = gates_check(s, e);
    if (rc == 0)
        rc = needs_check(s, e);
    return rc == 0 ? core_text_check(s->lane, "lane", e) : rc;
}

int sending_reserve(struct core *c, const struct core_send *s, struct err *e)
{
    struct needs *needs;
    if (s == NULL)
        return 0;
    if (s->lane != NULL && lane_get(c, s->lane) == NULL)
        return err_field(e, ERR_TOO_LARGE, "lane", "there are %d lanes already", CORE_LANES_MAX);
    return s->needs_count > 0 ? needs_get(c, s->needs, s->needs_count, &needs, e) : 0;
}

/* ---- what is said, and what is not ---- */

uint8_t sending_said(const struct core_send *s)
{
    return (uint8_t)((s->priority != CORE_PRIORITY_UNSAID ? SAID_PRIORITY : 0) |
                     (s->timeout_ms != 0 ? SAID_TIMEOUT : 0) |
                     (s->attempts != 0 ? SAID_ATTEMPTS : 0) |
                     (s->backoff != NULL ? SAID_BACKOFF : 0) | (s->lane != NULL ? SAID_LANE : 0) |
                     (s->gates_count > 0 || s->no_gates ? SAID_GATES : 0) |
                     (s->needs_count > 0 || s->no_needs ? SAID_NEEDS : 0));
}

static void fill_numbers(struct core_send *s, const struct core_send *f)
{
    if (s->ttl_ms == 0)
        s->ttl_ms = f->ttl_ms;
    if (s->deadline_ms == 0)
        s->deadline_ms = f->deadline_ms != 0 ? f->deadline_ms : CORE_DEADLINE_MS;
    if (s->timeout_ms == 0)
        s->timeout_ms = f->timeout_ms != 0 ? f->timeout_ms : CORE_TIMEOUT_MS;
    if (s->priority == CORE_PRIORITY_UNSAID)
        s->priority = f->priority != CORE_PRIORITY_UNSAID ? f->priority : CORE_PRIORITY;
    if (s->attempts == 0)
        s->attempts = f->attempts != 0 ? f->attempts : CORE_ATTEMPTS;
}

void core_sending_fill(struct core_send *s, const struct core_send *from)
{
    const struct core_send *f = from != NULL ? from : &says_nothing;
    uint8_t said = sending_said(s);
    fill_numbers(s, f);
    if ((said & SAID_BACKOFF) == 0)
        s->backoff = f->backoff;
    if ((said & SAID_LANE) == 0)
        s->lane = f->lane != NULL ? f->lane : "default";
    if ((said & SAID_GATES) == 0) {
        s->gates_count = f->gates_count;
        memcpy(s->gates, f->gates, sizeof s->gates);
    }
    if ((said & SAID_NEEDS) == 0) {
        s->needs_count = f->needs_count;
        s->needs = f->needs;
    }
}

bool core_sending_says(const struct core_send *s)
{
    return s != NULL && (s->ttl_ms > 0 || s->deadline_ms > 0 || s->gates_count > 0 ||
                         s->needs_count > 0 || (sending_said(s) & ~(SAID_GATES | SAID_NEEDS)) != 0);
}

static bool text_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool backoff_same(const struct core_backoff *a, const struct core_backoff *b)
{
    return a == NULL || b == NULL
               ? a == b
               : a->first == b->first && (a->cap == b->cap || a->first == 0) &&
                     a->list_count == b->list_count &&
                     memcmp(a->list, b->list, a->list_count * sizeof a->list[0]) == 0;
}

static bool gates_same(const struct core_send *a, const struct core_send *b)
{
    bool same = a->gates_count == b->gates_count;
    for (uint8_t i = 0; same && i < a->gates_count; i++)
        same = strcmp(a->gates[i], b->gates[i]) == 0;
    return same;
}

static bool needs_same(const struct core_send *a, const struct core_send *b)
{
    bool same = a->needs_count == b->needs_count;
    for (uint8_t i = 0; same && i < a->needs_count; i++)
        same = strcmp(a->needs[i].name, b->needs[i].name) == 0 &&
               text_same(a->needs[i].text, b->needs[i].text) &&
               a->needs[i].number == b->needs[i].number;
    return same;
}

uint32_t sending_differs(const struct core_send *a, const struct core_send *b)
{
    a = a != NULL ? a : &says_nothing;
    b = b != NULL ? b : &says_nothing;
    bool ttl = (a->ttl_ms > 0 || b->ttl_ms > 0) && a->ttl_ms != b->ttl_ms;
    return (ttl ? OPTION_TTL : 0u) | (a->deadline_ms != b->deadline_ms ? OPTION_DEADLINE : 0u) |
           (a->timeout_ms != b->timeout_ms ? OPTION_TIMEOUT : 0u) |
           (a->priority != b->priority ? OPTION_PRIORITY : 0u) |
           (a->attempts != b->attempts ? OPTION_ATTEMPTS : 0u) |
           (backoff_same(a->backoff, b->backoff) ? 0u : OPTION_BACKOFF) |
           (text_same(a->lane, b->lane) ? 0u : OPTION_LANE) |
           (gates_same(a, b) ? 0u : OPTION_GATE) | (needs_same(a, b) ? 0u : OPTION_NEEDS);
}

bool core_sending_same(const struct core_send *a, const struct core_send *b)
{
    return sending_differs(a, b) == 0;
}

void sending_take(struct core_send *to, const struct core_send *from, uint32_t mask)
{
    from = from != NULL ? from : &says_nothing;
    if ((mask & OPTION_TTL) != 0)
        to->ttl_ms = from->ttl_ms;
    if ((mask & OPTION_DEADLINE) != 0)
        to->deadline_ms = from->deadline_ms;
    if ((mask & OPTION_TIMEOUT) != 0)
        to->timeout_ms = from->timeout_ms;
    if ((mask & OPTION_PRIORITY) != 0)
        to->priority = from->priority;
    if ((mask & OPTION_ATTEMPTS) != 0)
        to->attempts = from->attempts;
    if ((mask & OPTION_BACKOFF) != 0)
        to->backoff = from->backoff;
    if ((mask & OPTION_LANE) != 0)
        to->lane = from->lane;
    if ((mask & OPTION_GATE) != 0) {
        to->gates_count = from->gates_count;
        memcpy(to->gates, from->gates, sizeof to->gates);
    }
    if ((mask & OPTION_NEEDS) != 0) {
        to->needs = from->needs;
        to->needs_count = from->needs_count;
    }
}

/* ---- copies ---- */

/* In front its struct, then labels and backoff, then all texts. */
struct sending_block {
    struct core_send send;
    struct core_backoff backoff;
    struct core_label needs[];
};

static size_t text_size(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

static size_t sending_size(const struct core_send *s)
{
    size_t n = sizeof(struct sending_block) + s->needs_count * sizeof s->needs[0];
    n += text_size(s->lane);
    for (uint8_t i = 0; i < s->gates_count; i++)
        n += text_size(s->gates[i]);
    for (uint8_t i = 0; i < s->needs_count; i++)
        n += text_size(s->needs[i].name) + text_size(s->needs[i].text);
    return n;
}

static const char *text_put(char **at, const char *text)
{
    char *to = *at;
    if (text == NULL)
        return NULL;
    memcpy(to, text, strlen(text) + 1);
    *at += strlen(text) + 1;
    return to;
}

static struct core_send *sending_put(struct sending_block *b, const struct core_send *s)
{
    char *at = (char *)&b->needs[s->needs_count];
    b->send = (struct core_send){.ttl_ms = s->ttl_ms > 0 ? s->ttl_ms : 0,
                                 .deadline_ms = s->deadline_ms,
                                 .timeout_ms = s->timeout_ms,
                                 .priority = s->priority,
                                 .attempts = s->attempts,
                                 .gates_count = s->gates_count,
                                 .needs_count = s->needs_count};
    if (s->backoff != NULL) {
        b->backoff = *s->backoff;
        b->send.backoff = &b->backoff;
    }
    b->send.lane = text_put(&at, s->lane);
    for (uint8_t i = 0; i < s->gates_count; i++)
        b->send.gates[i] = text_put(&at, s->gates[i]);
    for (uint8_t i = 0; i < s->needs_count; i++)
        b->needs[i] = (struct core_label){.name = text_put(&at, s->needs[i].name),
                                          .text = text_put(&at, s->needs[i].text),
                                          .number = s->needs[i].number};
    if (s->needs_count > 0)
        b->send.needs = b->needs;
    return &b->send;
}

struct core_send *core_sending_copy(const struct core_send *s)
{
    return core_sending_says(s) ? sending_put(mem_new(sending_size(s)), s) : NULL;
}

struct core_send *sending_keep(struct core *c, const struct core_send *s)
{
    return core_sending_says(s) ? sending_put(undo_alloc(&c->undo, sending_size(s)), s) : NULL;
}

/* ---- moves ---- */

static void gates_of_queue(struct core *c, uint32_t n, struct queue *to, const struct core_send *f)
{
    struct extra *x = rec_extra(c, n);
    undo_note(&c->undo, x, sizeof *x);
    x->gates_count = f->gates_count;
    for (uint8_t i = 0; i < f->gates_count; i++)
        x->gates[i] = gate_get(c, to->tenant, f->gates[i]);
}

/* Where there is no room for one lane more or other labels, those that it has stay. */
static struct kind *kind_of_queue(struct core *c, const struct kind *old, struct kind *like,
                                  const struct core_send *f)
{
    struct lane *lane = (old->said & SAID_LANE) != 0 ? NULL : lane_get(c, f->lane);
    struct needs *needs = NULL;
    if ((old->said & SAID_NEEDS) == 0)
        needs_get(c, f->needs, f->needs_count, &needs, NULL);
    return kind_get(c, like, lane != NULL ? lane : old->line->lane,
                    needs != NULL ? needs : old->line->needs);
}

struct kind *sending_of_queue(struct core *c, uint32_t n, struct queue *to)
{
    const struct kind *old = core_kind(c, core_rec(c, n));
    struct core_send f = {.priority = CORE_PRIORITY_UNSAID};
    struct kind like = *old;
    core_sending_fill(&f, to->o.sending);
    like.queue = to;
    if ((old->said & SAID_PRIORITY) == 0)
        like.priority = f.priority;
    if ((old->said & SAID_TIMEOUT) == 0)
        like.timeout_ms = f.timeout_ms;
    if ((old->said & SAID_ATTEMPTS) == 0)
        like.attempts = f.attempts;
    if ((old->said & SAID_BACKOFF) == 0)
        like.backoff = f.backoff != NULL ? *f.backoff : (struct core_backoff){.first = 0};
    if ((old->said & SAID_GATES) == 0)
        gates_of_queue(c, n, to, &f);
    return kind_of_queue(c, old, &like, &f);
}
