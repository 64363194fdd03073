#include "support/queue_steps.h"

#include <string.h>

#include "base/mem.h"
#include "support/queue_model.h"

static uint32_t below(uint64_t *state, uint32_t n)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 11) % n;
}

static const struct {
    const char *tenant, *name;
} queues[STEP_QUEUES] = {{"a", "q1"}, {"a", "q2"}, {"a", "q3"},
                         {"b", "q1"}, {"b", "q2"}, {"c", "q1"}};
static const char *const lanes[STEP_LANES] = {"default", "bulk", "system", "media"};
static const char *const gates[STEP_GATES] = {"g1", "g2", "g3"};

struct uuid queue_step_id(uint32_t number)
{
    struct uuid id = {{1, 2, 3}};
    memcpy(id.b + 12, &number, sizeof(number));
    return id;
}

struct uuid queue_step_consumer_id(uint32_t index)
{
    struct uuid id = {{9}};
    id.b[15] = (uint8_t)(index + 1);
    return id;
}

const char *queue_step_tenant(uint32_t queue)
{
    return queues[queue].tenant;
}

const char *queue_step_queue(uint32_t queue)
{
    return queues[queue].name;
}

const char *queue_step_lane(uint32_t lane)
{
    return lanes[lane];
}

const char *queue_step_gate(uint32_t gate)
{
    return gates[gate];
}

/* ---- drawing ---- */

static const struct {
    enum step_kind kind;
    uint32_t weight;
} weights[] = {
    {STEP_ENTRY, 50},       {STEP_UNIT, 12},   {STEP_UNDO_UNIT, 3}, {STEP_UNDO_ENTRY, 3},
    {STEP_RELOAD, 3},       {STEP_SEND, 80},   {STEP_SETTLE, 55},   {STEP_OPEN, 14},
    {STEP_RENEW, 4},        {STEP_LEAVE, 2},   {STEP_LAPSE, 4},     {STEP_LAPSE_RECORD, 3},
    {STEP_CANCEL, 4},       {STEP_RETRY, 5},   {STEP_MOVE, 3},      {STEP_EDIT, 2},
    {STEP_PURGE, 2},        {STEP_DECLARE, 8}, {STEP_DROP, 1},      {STEP_PAUSE, 3},
    {STEP_CLOSE, 1},        {STEP_LANE, 2},    {STEP_TENANT, 1},    {STEP_GATE, 4},
    {STEP_GATE_CLOSE, 4},   {STEP_RETIRE, 3},  {STEP_WAKE, 5},      {STEP_UNREGISTER, 8},
    {STEP_GATE_BACKOFF, 3}, {STEP_ABANDON, 6},
};

static enum step_kind draw_kind(uint64_t *random)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(weights); i++)
        sum += weights[i].weight;
    uint32_t at = below(random, sum);
    for (size_t i = 0;; i++) {
        if (at < weights[i].weight)
            return weights[i].kind;
        at -= weights[i].weight;
    }
}

static int64_t draw_time(const struct queue_model *m, uint64_t *random)
{
    static const int64_t waits[] = {0,    0,     0,     1,     1,      10,      100,     1000,
                                    3000, 10000, 30000, 60000, 600000, 3600000, 86400000};
    uint32_t how = below(random, 8);
    int64_t next = INT64_MAX;
    for (size_t i = 0; how == 3 && i < m->s.queues; i++)
        if (m->s.queue[i].unhandled_at != 0 && below(random, 4) == 0)
            return CORE_UNHANDLED_MS - below(random, 2);
    if (how < 2)
        next = model_next_change(m);
    else if (how == 2)
        next = model_next_expiry(m);
    if (next != INT64_MAX && next > m->s.now && next - m->s.now < 100000000)
        return next - m->s.now;
    return waits[below(random, below(random, 3) == 0 ? ARRAY_LEN(waits) : 9)];
}

/* A record that is there, most often in such a state. */
static uint32_t draw_record(const struct queue_model *m, enum rec_state state, uint32_t number,
                            uint64_t *random)
{
    const struct model_record *found = NULL;
    uint32_t seen = 0;
    bool any = below(random, 10) == 0;
    for (size_t i = 0; i < m->s.records; i++)
        if ((any || state == 0 || m->s.record[i].state == state) && below(random, ++seen) == 0)
            found = &m->s.record[i];
    if (found == NULL || below(random, 30) == 0)
        return below(random, number + 1);
    uint32_t target;
    memcpy(&target, found->id.b + 12, sizeof(target));
    return target;
}

static uint32_t draw_target(enum step_kind kind, const struct queue_model *m, uint32_t number,
                            uint64_t *random)
{
    static const enum rec_state retried[] = {REC_DISCARDED, REC_RETRYABLE, REC_COMPLETED,
                                             REC_SCHEDULED, REC_CANCELLED};
    switch ((int)kind) {
    case STEP_SETTLE:
    case STEP_LAPSE_RECORD:
        return draw_record(m, REC_EXECUTING, number, random);
    case STEP_WAKE:
        return draw_record(m, REC_SCHEDULED, number, random);
    case STEP_RETRY:
    case STEP_MOVE:
        return draw_record(m, retried[below(random, ARRAY_LEN(retried))], number, random);
    case STEP_CANCEL:
    case STEP_EDIT:
    case STEP_PURGE:
        return draw_record(m, 0, number, random);
    default:
        return below(random, STEP_CONSUMERS);
    }
}

void queue_step_draw(struct queue_step *s, uint32_t number, const struct queue_model *m,
                     uint64_t *random)
{
    memset(s, 0, sizeof(*s));
    s->kind = draw_kind(random);
    if (s->kind == STEP_SEND && m->s.records >= 60)
        s->kind = STEP_ENTRY;
    s->number = number;
    s->target = draw_target(s->kind, m, number, random);
    s->queue = below(random, STEP_QUEUES);
    if (s->kind == STEP_SEND && below(random, 2))
        s->queue = 0;
    s->gate = below(random, STEP_GATES);
    s->lane = below(random, STEP_LANES);
    s->wrong_token = below(random, 25) == 0;
    s->flag = below(random, 3) == 0;
    s->ms = draw_time(m, random);
    for (size_t i = 0; i < STEP_CHOICES; i++)
        s->choice[i] = (uint8_t)below(random, 60);
}

/* ---- what a step says ---- */

/* Choice i of the step: the nth of `count`, where those above stand for the first. */
static uint32_t nth(const struct queue_step *s, size_t i, uint32_t count)
{
    return s->choice[i] % 12 < count ? s->choice[i] % 12 : 0;
}

static uint8_t draw_labels(const struct queue_step *s, size_t at, bool needs,
                           struct core_label *out)
{
    uint8_t n = 0;
    if (nth(s, at, 3) > 0)
        out[n++] = (struct core_label){.name = "gpu", .number = nth(s, at, 3) + !needs};
    if (nth(s, at + 1, 3) > 0)
        out[n++] = (struct core_label){.name = "zone", .text = nth(s, at + 1, 3) == 1 ? "x" : "y"};
    if (nth(s, at + 2, 2) > 0)
        out[n++] = (struct core_label){.name = nth(s, at + 1, 3) == 0 && needs ? "zone" : "ssd"};
    return n;
}

static const struct core_backoff *draw_backoff(const struct queue_step *s, size_t at,
                                               struct core_backoff *out)
{
    static const struct core_backoff some[] = {
        {.first = 100, .cap = 1000},
        {.list = {0}, .list_count = 1},
        {.list = {50, 0, 200}, .list_count = 3},
        {.first = 7, .cap = 5},
    };
    uint32_t which = nth(s, at, 5);
    if (which == 0)
        return NULL;
    *out = some[which - 1];
    return out;
}

void queue_step_send(const struct queue_step *s, int64_t now, uint64_t seq, struct core_send *out,
                     struct queue_step_texts *texts)
{
    static const int64_t delays[] = {0, 10, 5000, 3600000, -5};
    static const int64_t ttls[] = {0, 1, 1000, 20000, -1};
    static const uint32_t timeouts[] = {0, 5000, 1};
    static const char *const keys[] = {NULL, "k1", "k2", "k1"};
    static const char *const uniques[] = {NULL, "u1", "u2"};
    static const char *const dedups[] = {NULL, "d1", "d2"};
    *out = (struct core_send){
        .tenant = queues[s->queue].tenant,
        .queue = queues[s->queue].name,
        .id = queue_step_id(s->wrong_token ? s->target : s->number),
        .place = CORE_PLACE(seq, s->number * 8 + 8),
        .bytes = s->choice[0] * 5u,
        .run_at = nth(s, 1, 5) == 0 ? 0 : now + delays[nth(s, 1, 5)],
        .ttl_ms = ttls[nth(s, 2, 5)],
        .deadline_ms = nth(s, 3, 3) == 1 ? 10000 : 0,
        .timeout_ms = timeouts[nth(s, 4, 3)],
        .priority = s->choice[5] % 5 < 4 ? s->choice[5] % 4 : CORE_PRIORITY_UNSAID,
        .attempts = (uint16_t)nth(s, 6, 3),
        .backoff = draw_backoff(s, 7, &texts->backoff),
        .lane = s->choice[8] % 3 == 0 ? lanes[s->lane] : NULL,
        .key = keys[s->choice[9] % 4],
        .unique = uniques[nth(s, 10, 3)],
        .dedup = dedups[nth(s, 11, 3)],
        .dedup_ms = nth(s, 11, 9) == 1 ? 90000 : 0,
        .unique_mode = (enum core_unique)(s->choice[12] % 3),
        .create = s->flag,
        .large = s->choice[19] % 5 == 0,
    };
    if (nth(s, 13, 4) > 0)
        out->gates[out->gates_count++] = gates[s->gate];
    if (nth(s, 13, 4) == 2)
        out->gates[out->gates_count++] = gates[(s->gate + 1) % STEP_GATES];
    out->needs = texts->labels;
    out->needs_count = draw_labels(s, 14, true, texts->labels);
    out->no_gates = out->gates_count == 0 && nth(s, 17, 4) == 1;
    out->no_needs = out->needs_count == 0 && nth(s, 18, 4) == 1;
}

void queue_step_open(const struct queue_step *s, struct core_consumer *out,
                     struct queue_step_texts *texts)
{
    static const uint32_t credits[] = {1, 0, 2, 5};
    static const uint32_t leases[] = {0, 1000, 5000, 600000};
    *out = (struct core_consumer){
        .id = queue_step_consumer_id(s->target),
        .node = s->target < 2 ? "n1" : "n2",
        .worker = s->choice[0] % 2 == 0,
        .of_node = s->choice[6] % 2 == 0,
        .tenant = queues[s->queue].tenant,
        .queues = texts->names,
        .credit = credits[nth(s, 1, 4)],
        .lease_ms = leases[nth(s, 2, 4)],
        .labels = texts->labels,
        .labels_count = draw_labels(s, 3, false, texts->labels),
        .only = texts->only,
        .only_count = (uint8_t)nth(s, 7, 2),
    };
    texts->only[0] = "gpu";
    for (uint32_t i = 0; i < STEP_QUEUES && !out->worker; i++)
        if (strcmp(queues[i].tenant, out->tenant) == 0 && (s->choice[8 + i] % 3 != 0))
            texts->names[out->queues_count++] = queues[i].name;
}

void queue_step_settle(const struct queue_step *s, int64_t now, uint64_t seq, uint64_t token,
                       struct core_settle *out)
{
    static const enum core_outcome outcomes[] = {
        SETTLE_ACK,     SETTLE_ACK,    SETTLE_ACK,    SETTLE_NACK,    SETTLE_NACK,  SETTLE_NACK,
        SETTLE_RELEASE, SETTLE_SNOOZE, SETTLE_REJECT, SETTLE_BACKOFF, SETTLE_EXTEND};
    static const int64_t delays[] = {-1, 0, 20, 5000};
    static const int64_t untils[] = {0, 1, 2000, 15000, 3600000, -3};
    static const uint32_t leases[] = {1000, 0, 90000};
    *out = (struct core_settle){
        .id = queue_step_id(s->target),
        .token = token + s->wrong_token,
        .place = CORE_PLACE(seq, s->number * 8 + 8),
        .outcome = outcomes[s->choice[0] % ARRAY_LEN(outcomes)],
        .reason = nth(s, 1, 2) ? REASON_UNDECODABLE : REASON_NONE,
        .code = 7,
        .delay_ms = delays[nth(s, 2, 4)],
        .until = now + untils[s->choice[3] % ARRAY_LEN(untils)],
        .lease_ms = leases[nth(s, 4, 3)],
        .gate = gates[s->gate],
        .has_result = s->flag,
    };
}

/* How the queue is sent to. */
static void draw_sending(const struct queue_step *s, struct core_send *out,
                         struct queue_step_texts *texts)
{
    static const uint32_t timeouts[] = {0, 4000, 2};
    *out = (struct core_send){
        .ttl_ms = s->choice[15] % 7 == 0 ? 15000 : 0,
        .deadline_ms = s->choice[16] % 5 == 0 ? 8000 : 0,
        .timeout_ms = timeouts[s->choice[15] % 3],
        .priority = s->choice[14] % 2 ? s->choice[14] % 8 : CORE_PRIORITY_UNSAID,
        .attempts = (uint16_t)(s->choice[16] % 4),
        .backoff = draw_backoff(s, 17, &texts->backoff),
        .lane = s->choice[18] % 3 == 0 ? lanes[s->lane] : NULL,
    };
    if (s->choice[18] % 4 == 0)
        out->gates[out->gates_count++] = gates[s->gate];
    out->needs = texts->labels;
    if (s->choice[19] % 3 == 0)
        texts->labels[out->needs_count++] = (struct core_label){.name = "gpu", .number = 1};
}

void queue_step_declare(const struct queue_step *s, struct core_queue *out,
                        struct queue_step_texts *texts)
{
    static const int64_t keeps[] = {0, 1000, -1, 60000};
    static const int64_t windows[] = {600000, 0, 5000};
    *out = (struct core_queue){0};
    core_queue_defaults(out);
    out->tenant = queues[s->queue].tenant;
    out->name = queues[s->queue].name;
    out->concurrency = nth(s, 0, 3);
    out->max = nth(s, 1, 2) ? 3 : 0;
    out->max_bytes = nth(s, 2, 2) ? 500 : 0;
    out->overflow = s->choice[3] % 2 ? OVERFLOW_DROP_OLDEST : OVERFLOW_REFUSE;
    if (s->choice[4] % 3 == 0)
        out->dead_to = queues[s->choice[5] % 3].name;
    out->halt_on_dead = s->choice[6] % 4 == 0;
    out->manual = s->choice[7] % 20 == 0;
    out->handled = s->choice[8] % 5 != 0;
    out->keep_completed_ms = keeps[nth(s, 9, 4)];
    if (s->choice[10] % 2)
        out->keep_discarded_ms = keeps[nth(s, 11, 4)];
    out->keep_count = nth(s, 12, 3);
    out->dedup_window_ms = windows[nth(s, 13, 3)];
    out->body_max = s->choice[17] % 4 == 0 ? 150 : 0;
    draw_sending(s, &texts->sending, texts);
    if (s->choice[14] % 3 != 0)
        out->sending = &texts->sending;
    if (s->choice[19] % 4 == 1)
        out->script = "a.lua";
    else if (s->choice[19] % 4 == 3)
        out->script = s->choice[19] % 8 == 3 ? "" : "b.lua";
    out->scripted = (s->number * 2654435761u >> 7) & (s->number * 40503u >> 2) & OPTION_ALL;
}

uint32_t queue_step_lease(const struct queue_step *s)
{
    static const uint32_t leases[] = {0, 0, 5000, 90000, 999};
    return leases[s->choice[0] % ARRAY_LEN(leases)];
}

uint32_t queue_step_cap(const struct queue_step *s)
{
    static const uint32_t caps[] = {UINT32_MAX, UINT32_MAX, 1, 2, 0};
    return caps[s->choice[1] % ARRAY_LEN(caps)];
}

uint32_t queue_step_weight(const struct queue_step *s)
{
    return s->choice[0] % 8 + 1u;
}

void queue_step_gate_of(const struct queue_step *s, struct core_gate *out)
{
    static const int64_t times[] = {1000, 1, 7, 60000};
    *out = (struct core_gate){
        .tenant = queues[s->queue].tenant,
        .name = gates[s->gate],
        .capacity = s->choice[0] % 3,
        .rate = s->choice[1] % 4,
        .per_ms = times[nth(s, 2, 4)],
    };
}
