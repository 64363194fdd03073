/* Steps in words, one line each. */
#include "support/queue_steps.h"

#include <string.h>

static const char *outcome_name(enum core_outcome o)
{
    switch (o) {
    case SETTLE_ACK:
        return "ack";
    case SETTLE_NACK:
        return "nack";
    case SETTLE_REJECT:
        return "reject";
    case SETTLE_RELEASE:
        return "release";
    case SETTLE_SNOOZE:
        return "snooze";
    case SETTLE_BACKOFF:
        return "backoff";
    case SETTLE_EXTEND:
        return "extend";
    }
    return "?";
}

static void print_labels(const char *what, const struct core_label *labels, uint8_t n, FILE *f)
{
    for (uint8_t i = 0; i < n; i++) {
        fprintf(f, " %s %s", what, labels[i].name);
        if (labels[i].text != NULL)
            fprintf(f, "=%s", labels[i].text);
        if (labels[i].number > 0)
            fprintf(f, "=%u", labels[i].number);
    }
}

static void print_how(const struct core_send *x, FILE *f)
{
    if (x->priority != CORE_PRIORITY_UNSAID)
        fprintf(f, ", priority %u", x->priority);
    if (x->attempts != 0)
        fprintf(f, ", attempts %u", x->attempts);
    if (x->ttl_ms != 0)
        fprintf(f, ", ttl %lld", (long long)x->ttl_ms);
    if (x->deadline_ms != 0)
        fprintf(f, ", deadline %lld", (long long)x->deadline_ms);
    if (x->timeout_ms != 0)
        fprintf(f, ", timeout %u", x->timeout_ms);
    if (x->backoff != NULL)
        fprintf(f, ", backoff %u..%u list %u of %u", x->backoff->first, x->backoff->cap,
                x->backoff->list[0], x->backoff->list_count);
    if (x->lane != NULL)
        fprintf(f, ", lane %s", x->lane);
    for (uint8_t i = 0; i < x->gates_count; i++)
        fprintf(f, ", gate %s", x->gates[i]);
    print_labels("need", x->needs, x->needs_count, f);
    fprintf(f, "%s%s", x->no_gates ? ", no gates" : "", x->no_needs ? ", no needs" : "");
}

static void print_send(const struct queue_step *s, FILE *f)
{
    static const char *const modes[] = {"skip", "replace", "swap"};
    struct core_send x;
    struct queue_step_texts texts;
    queue_step_send(s, 0, 0, &x, &texts);
    fprintf(f, "send to %s/%s, %u bytes", x.tenant, x.queue, x.bytes);
    if (s->wrong_token)
        fprintf(f, ", with the id of #%u", s->target);
    if (x.run_at != 0)
        fprintf(f, ", run in %lld", (long long)x.run_at);
    if (x.key != NULL)
        fprintf(f, ", key %s", x.key);
    if (x.unique != NULL)
        fprintf(f, ", unique %s %s", x.unique, modes[x.unique_mode]);
    if (x.dedup != NULL)
        fprintf(f, ", dedup %s", x.dedup);
    print_how(&x, f);
    fprintf(f, "%s%s", x.create ? ", create" : "", x.large ? ", large" : "");
}

static void print_settle(const struct queue_step *s, FILE *f)
{
    struct core_settle x;
    queue_step_settle(s, 0, 0, 0, &x);
    fprintf(f, "%s #%u%s", outcome_name(x.outcome), s->target,
            s->wrong_token ? " with another token" : "");
    if (x.outcome == SETTLE_NACK)
        fprintf(f, ", delay %lld", (long long)x.delay_ms);
    if (x.outcome == SETTLE_REJECT)
        fprintf(f, ", reason %u", x.reason);
    if (x.outcome == SETTLE_BACKOFF)
        fprintf(f, ", gate %s", x.gate);
    if (x.outcome == SETTLE_SNOOZE || x.outcome == SETTLE_BACKOFF)
        fprintf(f, ", until now + %lld", (long long)x.until);
    if (x.outcome == SETTLE_EXTEND)
        fprintf(f, ", lease %u", x.lease_ms);
    if (x.outcome == SETTLE_ACK && x.has_result)
        fprintf(f, ", result");
}

static void print_open(const struct queue_step *s, FILE *f)
{
    struct core_consumer x;
    struct queue_step_texts texts;
    queue_step_open(s, &x, &texts);
    fprintf(f, "open consumer %u, credit %u, lease %u", s->target, x.credit, x.lease_ms);
    if (x.worker)
        fprintf(f, ", worker");
    if (x.of_node)
        fprintf(f, ", of node %s", x.node);
    for (uint32_t i = 0; i < x.queues_count; i++)
        fprintf(f, ", %s/%s", x.tenant, x.queues[i]);
    print_labels("label", x.labels, x.labels_count, f);
    if (x.only_count > 0)
        fprintf(f, ", only %s", x.only[0]);
}

static void print_declare(const struct queue_step *s, FILE *f)
{
    struct core_queue q;
    struct queue_step_texts texts;
    queue_step_declare(s, &q, &texts);
    fprintf(f,
            "declare %s/%s concurrency %u max %llu max_bytes %llu %s dead_to %s%s%s%s keep "
            "completed %lld (%u) discarded %lld dedup %lld",
            q.tenant, q.name, q.concurrency, (unsigned long long)q.max,
            (unsigned long long)q.max_bytes,
            q.overflow == OVERFLOW_REFUSE ? "refuse" : "drop_oldest",
            q.dead_to != NULL ? q.dead_to : "-", q.halt_on_dead ? " halt" : "",
            q.manual ? " manual" : "", q.handled ? " handled" : "", (long long)q.keep_completed_ms,
            q.keep_count, (long long)q.keep_discarded_ms, (long long)q.dedup_window_ms);
    if (q.script != NULL)
        fprintf(f, ", by '%s': %x", q.script, q.scripted);
    if (q.body_max != 0)
        fprintf(f, ", body_max %u", q.body_max);
    if (q.sending != NULL)
        print_how(q.sending, f);
}

static void print_gate(const struct queue_step *s, FILE *f)
{
    struct core_gate g;
    queue_step_gate_of(s, &g);
    fprintf(f, "gate %s/%s capacity %u rate %u per %lld", g.tenant, g.name, g.capacity, g.rate,
            (long long)g.per_ms);
}

static void print_queue(const char *verb, const struct queue_step *s, FILE *f)
{
    fprintf(f, "%s %s/%s%s", verb, queue_step_tenant(s->queue), queue_step_queue(s->queue),
            s->flag ? " (yes)" : "");
}

static void print_rest(const struct queue_step *s, FILE *f)
{
    switch ((int)s->kind) {
    case STEP_DROP:
        print_queue("drop", s, f);
        return;
    case STEP_UNREGISTER:
        print_queue("unregister", s, f);
        return;
    case STEP_ABANDON:
        print_queue("abandon", s, f);
        return;
    case STEP_PAUSE:
        print_queue("pause", s, f);
        return;
    case STEP_CLOSE:
        print_queue("close", s, f);
        return;
    case STEP_LANE:
        fprintf(f, "lane %s weight %u cap %u", queue_step_lane(s->lane), queue_step_weight(s),
                queue_step_cap(s));
        return;
    case STEP_TENANT:
        fprintf(f, "tenant %s weight %u", queue_step_tenant(s->queue), queue_step_weight(s));
        return;
    case STEP_GATE:
        print_gate(s, f);
        return;
    case STEP_GATE_BACKOFF:
        fprintf(f, "close gate %s/%s until now + %lld or later", queue_step_tenant(s->queue),
                queue_step_gate(s->gate), (long long)s->ms);
        return;
    case STEP_GATE_CLOSE:
        fprintf(f, "close gate %s/%s until now + %lld", queue_step_tenant(s->queue),
                queue_step_gate(s->gate), (long long)(s->flag ? 0 : s->ms));
        return;
    default:
        fprintf(f, "step of kind %d", (int)s->kind);
        return;
    }
}

void queue_step_print(const struct queue_step *s, FILE *f)
{
    static const char *const of_record[] = {[STEP_LAPSE_RECORD] = "lapse record",
                                            [STEP_CANCEL] = "cancel",
                                            [STEP_RETRY] = "retry",
                                            [STEP_WAKE] = "wake",
                                            [STEP_MOVE] = "move",
                                            [STEP_EDIT] = "edit",
                                            [STEP_PURGE] = "purge"};
    static const char *const of_consumer[] = {[STEP_RENEW] = "renew",
                                              [STEP_LEAVE] = "leave",
                                              [STEP_RETIRE] = "retire",
                                              [STEP_LAPSE] = "lapse"};
    static const char *const plain[] = {[STEP_ENTRY] = "entry",
                                        [STEP_UNIT] = "unit",
                                        [STEP_UNDO_UNIT] = "undo the unit",
                                        [STEP_UNDO_ENTRY] = "undo the entry, begin it",
                                        [STEP_RELOAD] = "save, load, begin an entry"};
    fprintf(f, "  #%-3u ", s->number);
    if (s->kind <= STEP_RELOAD) {
        fprintf(f, "%s", plain[s->kind]);
        if (s->kind != STEP_UNIT && s->kind != STEP_UNDO_UNIT)
            fprintf(f, " + %lld ms", (long long)s->ms);
    } else if (s->kind == STEP_SEND) {
        print_send(s, f);
    } else if (s->kind == STEP_SETTLE) {
        print_settle(s, f);
    } else if (s->kind == STEP_OPEN) {
        print_open(s, f);
    } else if (s->kind <= STEP_LAPSE) {
        fprintf(f, "%s consumer %u", of_consumer[s->kind], s->target);
        if (s->kind == STEP_RETIRE)
            fprintf(f, ", lease %u", queue_step_lease(s));
    } else if (s->kind <= STEP_PURGE) {
        fprintf(f, "%s #%u%s", of_record[s->kind], s->target,
                s->wrong_token && s->kind == STEP_LAPSE_RECORD ? " with another token" : "");
        if (s->kind == STEP_MOVE)
            fprintf(f, " to %s", queue_step_queue(s->queue));
    } else if (s->kind == STEP_DECLARE) {
        print_declare(s, f);
    } else {
        print_rest(s, f);
    }
    fputc('\n', f);
}
