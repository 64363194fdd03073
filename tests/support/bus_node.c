#include "support/bus_node.h"

#include <string.h>

#include "base/mem.h"
#include "crypt/crypt.h"
#include "db/db.h"
#include "io/loop.h"
#include "support/unit.h"

void bus_node_up(struct bus_node *f)
{
    f->bus = bus_new();
    f->queue.node.third = bus_domain(f->bus);
    queue_node_up(&f->queue);
    if (!f->asleep)
        bus_start(f->bus, f->queue.node.ledger, loop_world(f->queue.node.loop));
}

void bus_node_down(struct bus_node *f)
{
    bus_stop(f->bus);
    queue_node_down(&f->queue);
    bus_free(f->bus);
}

void bus_node_begin(struct bus_node *f)
{
    *f = (struct bus_node){.bus = NULL};
    assert_int_equal(crypt_start(NULL), 0);
    queue_node_begin(&f->queue);
}

void bus_node_end(struct bus_node *f)
{
    bus_node_down(f);
    kit_node_gone(&f->queue.node);
}

void bus_node_restart(struct bus_node *f)
{
    bus_node_down(f);
    bus_node_up(f);
}

void bus_node_turn(struct bus_node *f)
{
    for (int i = 0; i < 20; i++)
        loop_poll(f->queue.node.loop);
}

/* ---- declared ---- */

int bus_node_groups(struct bus_node *f, const char *const *list, size_t count)
{
    struct group_declared *d = mem_new_array(count + 1, sizeof *d);
    char(*words)[2][128] = mem_new_array(count + 1, sizeof *words);
    struct groups *g = NULL;
    struct err e = ERR_INIT;
    struct unit u;
    for (size_t i = 0; i < count; i++) {
        int at = 0;
        assert_int_equal(sscanf(list[i], "%127s %127s %n", words[i][0], words[i][1], &at), 2);
        d[i] = (struct group_declared){
            .group = words[i][0], .pattern = words[i][1], .file = "a.lua", .line = (int)i + 1};
        if (list[i][at] != '\0')
            d[i].options = json_loads(list[i] + at, 0, NULL);
    }
    if (groups_build(d, count, &g, &e) != 0)
        fail_msg("%s", e.text);
    kit_unit(&f->queue.node, &u);
    if (bus_txn_groups(&u.txn, BUS_SOURCE_SCRIPTS, g, &e) != 0)
        fail_msg("%s", e.text);
    int rc = kit_do(&f->queue.node, &u);
    if (rc == 0)
        assert_true(bus_groups_are(f->bus, "default", BUS_SOURCE_SCRIPTS, g));
    unit_fini(&u);
    groups_free(g);
    for (size_t i = 0; i < count; i++)
        json_decref((json_t *)(uintptr_t)d[i].options);
    mem_free(d);
    mem_free(words);
    return rc;
}

int bus_node_topic(struct bus_node *f, const char *pattern, int64_t retain_ms, enum unrouted un)
{
    struct bus_topic t = {
        .pattern = pattern, .retain_ms = retain_ms, .unrouted = un, .file = "a.lua", .line = 1};
    struct unit u;
    kit_unit(&f->queue.node, &u);
    assert_int_equal(bus_txn_topics(&u.txn, BUS_SOURCE_SCRIPTS, &t, 1, NULL), 0);
    int rc = kit_do(&f->queue.node, &u);
    if (rc == 0)
        assert_true(bus_topics_are(f->bus, "default", BUS_SOURCE_SCRIPTS, &t, 1));
    unit_fini(&u);
    return rc;
}

/* ---- published ---- */

struct bus_message bus_node_message(uint32_t n, const char *body)
{
    return (struct bus_message){.id = queue_node_id(n), .body = body, .body_len = strlen(body)};
}

struct bus_route *bus_node_route(struct bus_node *f, const char *topic)
{
    struct bus_route *r = NULL;
    struct err e = ERR_INIT;
    if (bus_route(f->bus, "default", topic, &r, &e) != 0)
        fail_msg("%s", e.text);
    return r;
}

int bus_node_publish_by(struct bus_node *f, const struct bus_route *r, const struct bus_message *m)
{
    struct err e = ERR_INIT;
    struct unit u;
    kit_unit(&f->queue.node, &u);
    bus_txn_routes(&u.txn, r);
    if (bus_txn_publish(&u.txn, r, m, &e) != 0)
        fail_msg("%s", e.text);
    int rc = kit_do(&f->queue.node, &u);
    unit_fini(&u);
    return rc;
}

int bus_node_publish(struct bus_node *f, const char *topic, uint32_t n, const char *body)
{
    struct bus_message m = bus_node_message(n, body);
    for (int i = 1;; i++) {
        struct bus_route *r = bus_node_route(f, topic);
        int rc = bus_node_publish_by(f, r, &m);
        bool again = rc == ERR_CONFLICT && i < BUS_TRIES && bus_is_stale(f->bus, r);
        bus_route_free(r);
        if (!again)
            return rc;
    }
}

/* ---- looking ---- */

enum { LOOKED = 1000 };

struct bus_looking {
    struct queue_ask ask;
    const char *queue;
    enum rec_state state;
    struct core_counts counts;
    uint64_t places[LOOKED];
    size_t places_count;
    bool done;
};

static void look_ask(struct queue_ask *a, const struct core *c)
{
    struct bus_looking *l = (struct bus_looking *)a;
    if (core_counts(c, "default", l->queue, &l->counts, NULL) == 0)
        l->places_count = core_list(c, "default", l->queue, l->state, 0, l->places, LOOKED);
}

static void look_done(struct queue_ask *a)
{
    ((struct bus_looking *)a)->done = true;
}

static struct bus_looking *look(struct bus_node *f, const char *queue, enum rec_state state)
{
    struct bus_looking *l = mem_new(sizeof *l);
    *l = (struct bus_looking){
        .ask = {.home = loop_runner(f->queue.node.loop), .ask = look_ask, .done = look_done},
        .queue = queue,
        .state = state};
    queues_ask(f->queue.queues, &l->ask);
    while (!l->done)
        loop_poll(f->queue.node.loop);
    return l;
}

uint64_t bus_node_count(struct bus_node *f, const char *queue, enum rec_state state)
{
    struct bus_looking *l = look(f, queue, state);
    const struct core_counts *n = &l->counts;
    const uint64_t counts[] = {[REC_SCHEDULED] = n->scheduled, [REC_AVAILABLE] = n->available,
                               [REC_EXECUTING] = n->executing, [REC_RETRYABLE] = n->retryable,
                               [REC_COMPLETED] = n->completed, [REC_DISCARDED] = n->discarded,
                               [REC_CANCELLED] = n->cancelled};
    uint64_t out = counts[state];
    mem_free(l);
    return out;
}

void bus_node_until(struct bus_node *f, const char *queue, enum rec_state state, uint64_t count)
{
    for (int i = 0; i < 20000; i++) {
        if (bus_node_count(f, queue, state) == count)
            return;
        bus_node_turn(f);
    }
    fail_msg("queue %s: %llu records, not %llu", queue,
             (unsigned long long)bus_node_count(f, queue, state), (unsigned long long)count);
}

const char *bus_node_bodies(struct bus_node *f, const char *queue, enum rec_state state)
{
    static char text[8192];
    struct buf entry = BUF_INIT(LEDGER_READ_MAX);
    struct queue_stored *stored = mem_new(sizeof *stored);
    struct bus_looking *l = look(f, queue, state);
    struct db *reader = kit_reader(&f->queue.node);
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < l->places_count; i++) {
        buf_reset(&entry);
        assert_int_equal(queue_place_read(f->queue.node.ledger, reader, l->places[i], &entry, NULL),
                         0);
        assert_int_equal(queue_message_read(entry.data, entry.len, 0, stored, NULL), 0);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", i > 0 ? " " : "",
                              (int)stored->body_len, (const char *)stored->body);
        assert_true(n < sizeof text);
    }
    db_close(reader);
    buf_fini(&entry);
    mem_free(stored);
    mem_free(l);
    return text;
}
