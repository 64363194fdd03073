/* What a node says about itself from time to time: its disk, indexes, certificate. Parts that have
 * something of their own to say report to the board by themselves. */
#include "app/node_priv.h"
#include "base/health.h"
#include "base/json.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/time.h"
#include "bind/bind.h"
#include "entity/build.h"
#include "io/tls.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum { NODE_HEALTH_MS = 10 * 1000 };

static void node_health_disk(struct node *n)
{
    struct ledger_status s;
    char left[32];
    ledger_status(n->ledger, &s);
    size_format(s.disk_free, left, sizeof left);
    AUTO(mem_freep)
    char *text = mem_printf("%s left%s", left,
                            s.disk_full  ? "; what grows is refused until there is "
                                           "more"
                            : s.disk_low ? "; free some space"
                                         : "");
    health_report(n->health, "disk", s.disk_full || s.disk_low ? HEALTH_DEGRADED : HEALTH_HEALTHY,
                  0, text,
                  json_pack("{s:I, s:I}", "free", (json_int_t)s.disk_free, "total",
                            (json_int_t)s.disk_total));
}

static void node_health_indexes(struct node *n)
{
    int building, violated;
    entities_builds(n->entities, &building, &violated);
    AUTO(mem_freep)
    char *text =
        violated > 0   ? mem_printf("%d entities have a unique index that is off while records "
                                      "share a value; koan entity indexes NAME lists them",
                                    violated)
        : building > 0 ? mem_printf("%d entities have indexes or search being built", building)
                       : mem_strdup("complete");
    health_report(n->health, "entity.indexes", violated > 0 ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0,
                  text, json_pack("{s:i, s:i}", "building", building, "violated", violated));
}

void node_health_webhooks(struct node *n)
{
    AUTO(json_unref) json_t *paused = bind_webhooks_paused(n->bind);
    AUTO(json_unref) json_t *unset = bind_webhooks_unset(n->bind);
    size_t count = json_array_size(paused), lacking = json_array_size(unset);
    const char *first = json_string_value(json_array_get(paused, 0));
    json_t *facts = count + lacking > 0 ? json_object() : NULL;
    AUTO(mem_freep)
    char *text =
        count > 0 ? mem_printf("%zu paused: a receiver answered 410, it wants no more, or somebody "
                               "has paused it; koan queue resume %s goes on",
                               count, first)
        : lacking > 0
            ? mem_strdup(json_string_value(json_object_get(json_array_get(unset, 0), "text")))
            : NULL;
    if (count > 0)
        json_object_set(facts, "paused", paused);
    if (lacking > 0)
        json_object_set(facts, "lacking", unset);
    health_report(n->health, "webhooks", facts != NULL ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0, text,
                  facts);
}

/* Read each time: it is renewed where it lies. */
static void node_health_certificate(struct node *n)
{
    const char *cert = config_text(n->config, SET_HTTP_TLS_CERT);
    struct world *w = loop_world(n->control);
    struct tls_facts facts;
    struct err e = ERR_INIT;
    char until[TIME_TEXT];
    if (*cert == '\0')
        return;
    if (tls_look(cert, &facts, &e) != 0) {
        health_report(n->health, "certificate", HEALTH_DEGRADED, 0, e.text, NULL);
        return;
    }
    int64_t left = facts.to_ms - w->wall_ms(w);
    bool soon = left < (int64_t)TLS_EXPIRY_DAYS * 86400 * 1000;
    time_format(facts.to_ms, until);
    health_report(n->health, "certificate", soon ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0,
                  soon ? "expires soon, or has; SIGHUP takes the renewed files" : NULL,
                  json_pack("{s:s}", "until", until));
}

/* Messages for a handler that is gone are a fault to be mended in a day, and what may come twice is
 * one; dead letters and a long
 * wait are facts that may be meant; so is what waits for a node with its labels. */
static void node_health_queues(struct node *n)
{
    struct queue_totals t;
    char until[TIME_TEXT], whole[TIME_TEXT];
    queues_totals(n->queues, &t);
    const struct core_counts *c = &t.counts;
    struct world *w = loop_world(n->control);
    bool forgets = c->dedups_whole_at > w->wall_ms(w);
    int64_t age = c->oldest_at < w->wall_ms(w) ? (w->wall_ms(w) - c->oldest_at) / 1000 : 0;
    AUTO(mem_freep) char *text = NULL;
    time_format(t.unhandled_until, until);
    time_format(c->dedups_whole_at, whole);
    if (t.unhandled > 0)
        text = mem_printf("%llu messages wait for a handler that is gone; those of queue '%s' are "
                          "discarded from %s on: deploy one, lease them, or pause the queue",
                          (unsigned long long)t.unhandled_records, t.unhandled_name, until);
    else if (forgets)
        text = mem_printf("queue '%s' has forgotten dedup texts before their time, there are so "
                          "many; until %s what was sent to it already may be taken again: give it "
                          "a shorter dedup_window, or send with dedup less often",
                          t.dedups_name, whole);
    else if (c->overdue > 0)
        text = mem_printf("people are late with %llu messages, %llu of them in queue '%s': koan "
                          "queue peek %s",
                          (unsigned long long)c->overdue, (unsigned long long)t.overdue_most,
                          t.overdue_name, t.overdue_name);
    json_t *facts = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "queues", (json_int_t)t.queues,
        "available", (json_int_t)c->available, "executing", (json_int_t)c->executing, "scheduled",
        (json_int_t)c->scheduled, "retryable", (json_int_t)c->retryable, "dead_letters",
        (json_int_t)c->discarded, "without_handler", (json_int_t)t.unhandled_records, "oldest_s",
        (json_int_t)age, "overdue", (json_int_t)c->overdue);
    if (age > 0)
        json_object_set_new(facts, "oldest", json_string(t.oldest));
    if (c->unfit > 0) {
        json_object_set_new(facts, "waiting_for_label", json_integer((json_int_t)c->unfit));
        json_object_set_new(facts, "waiting_for_label_most", json_string(t.unfit));
    }
    if (c->dedups_forgotten > 0)
        json_object_set_new(facts, "dedup_forgotten",
                            json_integer((json_int_t)c->dedups_forgotten));
    health_report(n->health, "queues",
                  t.unhandled > 0 || forgets ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0, text, facts);
}

static void node_health_turn(struct world_timer *t)
{
    struct node *n = LIST_OF(t, struct node, health_timer);
    struct world *w = loop_world(n->control);
    node_health_disk(n);
    node_health_indexes(n);
    node_health_webhooks(n);
    node_health_queues(n);
    node_health_shared(n);
    node_health_certificate(n);
    node_remote_health(n);
    w->timer_start(w, t, NODE_HEALTH_MS);
}

void node_health_start(struct node *n)
{
    n->health_timer.fire = node_health_turn;
    node_health_turn(&n->health_timer);
}

void node_health_stop(struct node *n)
{
    struct world *w = loop_world(n->control);
    w->timer_stop(w, &n->health_timer);
    mem_free(n->lag);
    n->lag = NULL;
}
