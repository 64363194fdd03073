/* Golden records on a disk that forgets.
 *
 * Two engines work arrivals of three sources over few keys, so that golden records are joined and
 * merged all the time and the engines are in each other's way. The node freezes at some I/O, is
 * killed or loses power, and opens again. What must hold then (letters as in the guarantees of
 * canon):
 *   C1. keys, source records, golden records, entity rows and arrivals agree;
 *   C2. source records that ever gave the same key are in one golden record;
 *   C4. every golden id that was ever answered leads to a live record;
 *   and an acknowledged arrival is stored.
 * Guarantees: C1 C2 C3 C4 C5. At the end the arrivals that were stored, in another order and on a
 * node without trouble, must give the same golden records (C3), and each of them once more must
 * change nothing (C5). */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "canon/canon.h"
#include "db/db.h"
#include "entity/entity.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/queue.h"
#include "sim/house.h"
#include "sim/scenario.h"
#include "support/canon_rules.h"
#include "support/simworld.h"

enum {
    ENGINES = 2,
    HANDS = 2,
    LIVES = 4,
    ANSWERS_MAX = 4000,
    BULK = 12,
    KEYS = 9,
    SOURCE_IDS = 14
};

static const char entity_text[] =
    "{\"name\":\"Port\",\"fields\":{\"name\":{\"kind\":\"text\"},\"iata\":{\"kind\":\"text\"},"
    "\"hub\":{\"kind\":\"text\"},"
    "\"icao\":{\"kind\":\"text\"},\"height\":{\"kind\":\"int\"},\"lat\":{\"kind\":\"int\"},"
    "\"lon\":{\"kind\":\"int\"}}}";
static const char model_text[] =
    "{\"name\":\"Port\",\"sources\":{\"a\":{\"rank\":1},\"b\":{\"rank\":2},\"c\":{\"rank\":3}},"
    "\"keys\":[{\"name\":\"iata\",\"parts\":[{\"field\":\"iata\",\"norm\":\"upper\"}]},"
    "{\"name\":\"icao\",\"parts\":[{\"field\":\"icao\",\"norm\":\"upper\"}]}],"
    "\"policy\":{\"name\":{\"is\":\"longest\"},"
    "\"height\":{\"is\":\"source_of_truth\",\"ranks\":[\"b\",\"a\"],\"fallback\":\"max\"}},"
    "\"group\":{\"position\":[\"lat\",\"lon\"]},\"stages\":[\"validate\"]}";

/* What was said to a client. */
struct answer {
    char arrival[37];
    char golden[257];
    enum canon_outcome outcome;
    bool lost; /* too many races */
};

struct node {
    struct house h; /* first */
    struct entities *entities;
    struct canon *canon;
    struct queues *queues;
    struct canon_engine *engines[ENGINES];
    struct canon_hooks hooks;
    struct list requests;
    struct answer *answers;
    size_t answers_count;
    bool chain;
};

struct request {
    struct canon_request r; /* first: what done() gets */
    struct list list;
    struct node *node;
    struct envelope env;
    struct canon_arrival arrivals[BULK];
    char source_ids[BULK][24];
};

/* ---- The node ---- */

/* A port whose hub is not known waits for it. */
static int node_stage(struct canon_hooks *h, struct canon_stage_call *call)
{
    struct node *n = LIST_OF(h, struct node, hooks);
    struct err e = ERR_INIT;
    const char *hub = json_string_value(json_object_get(call->data, "hub"));
    if (hub == NULL)
        return 1;
    json_t *says = json_pack("{s:s}", "iata", hub);
    char owner[257];
    int rc = canon_find_key(n->canon, n->h.db, h, "Port", call->tenant, says, owner, &e);
    if (rc == ERR_NOT_FOUND) {
        call->verdict = CANON_PARK;
        snprintf(call->reason, sizeof(call->reason), "PARENT_NOT_FOUND");
        call->evidence = json_pack("{s:s,s:O}", "model", "Port", "key", says);
    } else if (rc != 0 && house_counts(&n->h)) {
        sim_fail("find: %s", e.text);
    }
    json_decref(says);
    return 1;
}

static bool node_is_idle(void *arg)
{
    return list_is_empty(&((struct node *)arg)->requests);
}

static bool engines_are_idle(void *arg)
{
    struct node *n = arg;
    for (int i = 0; i < ENGINES; i++)
        if (!canon_engine_is_idle(n->engines[i]))
            return false;
    return true;
}

static void node_free_domains(struct node *n)
{
    canon_free(n->canon);
    queues_free(n->queues);
    entities_free(n->entities);
    n->canon = NULL;
    n->entities = NULL;
}

static void node_open(struct node *n)
{
    struct err e = ERR_INIT;
    n->entities = entities_new();
    if (canon_new(n->entities, &n->canon, &e) != 0)
        sim_fail("canon: %s", e.text);
    n->queues = queues_new();
    const struct domain domains[] = {*entities_domain(n->entities), *canon_domain(n->canon),
                                     *queues_domain(n->queues), house_rows(&n->h)};
    house_open(&n->h, domains, ARRAY_LEN(domains));
    queues_start(n->queues, n->h.ledger, sim_world(n->h.sim), "sim");
    n->hooks.run = node_stage;
    /* There is one thread, but what hands do is a task of its own all the same. */
    const struct canon_hand hands[HANDS] = {{sim_world(n->h.sim)->runner, &n->hooks},
                                            {sim_world(n->h.sim)->runner, &n->hooks}};
    for (int i = 0; i < ENGINES; i++) {
        struct canon_engine_options o = {.canon = n->canon,
                                         .ledger = n->h.ledger,
                                         .world = sim_world(n->h.sim),
                                         .reader = n->h.db,
                                         .hooks = &n->hooks,
                                         .hands = hands,
                                         .hands_count = i == 0 ? HANDS : 0};
        if (canon_engine_new(&o, &n->engines[i], &e) != 0)
            sim_fail("engine: %s", e.text);
        canon_engine_start(n->engines[i]);
    }
    canon_sweep_start(n->canon, n->h.ledger, sim_world(n->h.sim));
}

static void node_settle(struct node *n)
{
    if (!sim_run_until(n->h.sim, node_is_idle, n, 60000))
        sim_fail("a request has no answer after a minute");
}

/* Nobody asks any more: what is still to be done the engines do by themselves. */
static void node_rest(struct node *n)
{
    node_settle(n);
    do
        sim_run(n->h.sim, 10);
    while (!engines_are_idle(n) && house_counts(&n->h));
}

static void node_close(struct house *h)
{
    struct node *n = (struct node *)h;
    sim_note(n->h.sim, "close");
    node_settle(n);
    for (int i = 0; i < ENGINES; i++)
        canon_engine_stop(n->engines[i]);
    if (!sim_run_until(n->h.sim, engines_are_idle, n, 60000))
        sim_fail("an engine does not come to an end");
    for (int i = 0; i < ENGINES; i++)
        canon_engine_free(n->engines[i]);
    canon_sweep_stop(n->canon);
    queues_stop(n->queues);
    house_close(h);
    node_free_domains(n);
}

static void node_init(struct node *n, uint64_t seed, FILE *trace, const char *vfs)
{
    const struct house_files files = {.segment_bytes = 64 << 10,
                                      .snapshot_bytes = 50000,
                                      .snapshot_more = 400000,
                                      .snapshot_entries = 100,
                                      .keep_bytes = 1,
                                      .vfs = vfs};
    *n = (struct node){.answers = mem_new_array(ANSWERS_MAX, sizeof(*n->answers))};
    house_init(&n->h, seed, trace, &files);
    n->chain = sim_chance(n->h.sim, 50);
    list_init(&n->requests);
}

static uint64_t node_fini(struct node *n)
{
    mem_free(n->answers);
    return house_fini(&n->h);
}

/* ---- Definitions ---- */

struct defining {
    struct unit unit;
    bool done;
};

static void defining_done(struct unit *u)
{
    ((struct defining *)u)->done = true;
}

static bool defining_is_done(void *arg)
{
    return ((struct defining *)arg)->done;
}

/* As a node does at each start: what is the same already adds nothing. */
static void node_define(struct node *n)
{
    struct err e = ERR_INIT;
    struct entity_def *d = NULL;
    AUTO(json_unref) json_t *model = json_read(model_text, sizeof(model_text) - 1, &e);
    if (model == NULL || entity_def_parse_text(entity_text, sizeof(entity_text) - 1, &d, &e) != 0)
        sim_fail("definitions: %s", e.text);
    struct defining def = {0};
    unit_init(&def.unit, sim_client(n->h.sim), defining_done);
    entity_txn_define(&def.unit.txn, d);
    if (canon_txn_define(n->canon, &def.unit.txn, model, d, &e) != 0 ||
        ledger_propose(n->h.ledger, &def.unit, &e) != 0)
        sim_fail("define: %s", e.text);
    if (!sim_run_until(n->h.sim, defining_is_done, &def, 60000) || def.unit.err.code != 0)
        sim_fail("define: %s", def.unit.err.text);
    unit_fini(&def.unit);
    entity_def_unref(d);
}

/* ---- Arrivals ---- */

static void request_done(struct canon_request *r)
{
    struct request *q = (struct request *)r;
    struct node *n = q->node;
    bool counts = house_counts(&n->h);
    if (counts && r->err.code != 0 && !(r->whole && r->err.code == ERR_CONFLICT))
        sim_fail("request: %s", r->err.text);
    bool done = false, undone = false;
    for (size_t i = 0; i < r->count && counts; i++) {
        const struct canon_arrival *a = &r->arrivals[i];
        sim_event(n->h.sim, "answer", a->reason, a->outcome, hash64(0, a->golden_id, 36));
        /* Two engines may be in each other's way once too often; the client sends it again. */
        bool lost = r->whole || a->err.code == ERR_CONFLICT; /* whole: what another did wrong */
        done |= a->outcome != CANON_FAILED && a->arrival_id[0] != '\0';
        undone |= a->outcome == CANON_FAILED;
        if (a->outcome == CANON_FAILED && !lost && strcmp(a->reason, "INVALID") != 0 &&
            strcmp(a->reason, "NOT_FOUND") != 0)
            sim_fail("arrival of %s/%s failed: %s %s", a->origin, a->source_id, a->reason,
                     a->err.text);
        if (n->answers_count == ANSWERS_MAX)
            continue;
        struct answer *ans = &n->answers[n->answers_count++];
        ans->outcome = a->outcome;
        ans->lost = lost && a->outcome == CANON_FAILED;
        memcpy(ans->arrival, a->arrival_id, sizeof(ans->arrival));
        memcpy(ans->golden, a->golden_id, sizeof(ans->golden));
    }
    if (r->whole && done && undone)
        sim_fail("a whole request is half done");
    list_remove(&q->list);
    canon_request_fini(r);
    mem_free(q);
}

static struct request *request_new(struct node *n)
{
    struct request *q = mem_new(sizeof(*q));
    q->node = n;
    q->r.home = sim_client(n->h.sim);
    q->r.env = &q->env;
    q->r.arrivals = q->arrivals;
    q->r.done = request_done;
    list_push(&n->requests, &q->list);
    return q;
}

static void request_add(struct request *q, const char *origin, const char *source_id,
                        int64_t observed_at, json_t *data)
{
    size_t i = q->r.count++;
    snprintf(q->source_ids[i], sizeof(q->source_ids[i]), "%s", source_id);
    q->arrivals[i] = (struct canon_arrival){
        .origin = origin, .source_id = q->source_ids[i], .observed_at = observed_at, .data = data};
}

static void request_send(struct request *q)
{
    struct node *n = q->node;
    struct err e = ERR_INIT;
    struct canon_engine *en = n->engines[sim_rand(n->h.sim, ENGINES)];
    if (canon_arrive(en, "Port", &q->r, &e) != 0)
        sim_fail("arrive: %s", e.text);
}

/* Few keys for all make one big golden record; in a chain each source shares one with the next, so
 * that a withdrawal parts. */
static json_t *port_make(const struct node *n, uint64_t source)
{
    struct sim *s = n->h.sim;
    char text[32];
    json_t *data = json_object();
    uint64_t which = sim_rand(s, 10);
    uint64_t key = n->chain ? source + sim_rand(s, 2) : sim_rand(s, KEYS);
    snprintf(text, sizeof(text), "i%llu", (unsigned long long)key);
    if (which != 0)
        json_object_set_new(data, "iata", json_string(text));
    key = n->chain ? source * 2 + sim_rand(s, 2) : sim_rand(s, KEYS * 3);
    snprintf(text, sizeof(text), "K%llu", (unsigned long long)key);
    if (which == 0 || which > 6)
        json_object_set_new(data, "icao", json_string(text));
    snprintf(text, sizeof(text), "name %.*s", (int)sim_rand(s, 9), "somewhere");
    json_object_set_new(data, "name", json_string(text));
    snprintf(text, sizeof(text), "i%llu", (unsigned long long)sim_rand(s, KEYS));
    if (sim_chance(s, 10))
        json_object_set_new(data, "hub", json_string(text));
    if (sim_chance(s, 3)) /* cannot be right */
        json_object_set_new(data, "height", json_string("high"));
    else if (sim_chance(s, 60))
        json_object_set_new(data, "height",
                            sim_chance(s, 10) ? json_null()
                                              : json_integer((json_int_t)sim_rand(s, 50)));
    if (sim_chance(s, 50)) {
        json_object_set_new(data, "lat", json_integer((json_int_t)sim_rand(s, 90)));
        json_object_set_new(data, "lon", json_integer((json_int_t)sim_rand(s, 90)));
    }
    return data;
}

static void node_send(struct node *n)
{
    static const char *const origins[] = {"a", "b", "c"};
    struct request *q = request_new(n);
    for (uint64_t count = 1 + sim_rand(n->h.sim, BULK); count > 0; count--) {
        char id[24];
        uint64_t number = sim_rand(n->h.sim, SOURCE_IDS), origin = sim_rand(n->h.sim, 3);
        snprintf(id, sizeof(id), "s%llu", (unsigned long long)number);
        request_add(q, origins[origin], id, (int64_t)sim_rand(n->h.sim, 1000),
                    port_make(n, 3 * number + origin));
    }
    q->r.whole = sim_chance(n->h.sim, 20);
    sim_event(n->h.sim, "send", "", q->r.count, q->r.whole);
    request_send(q);
}

static void node_withdraw(struct node *n)
{
    static const char *const origins[] = {"a", "b", "c"};
    struct err e = ERR_INIT;
    struct request *q = request_new(n);
    char id[24];
    snprintf(id, sizeof(id), "s%llu", (unsigned long long)sim_rand(n->h.sim, SOURCE_IDS));
    request_add(q, origins[sim_rand(n->h.sim, 3)], id, INT64_MIN, NULL);
    sim_event(n->h.sim, "withdraw", id, 1, 0);
    if (canon_withdraw(n->engines[sim_rand(n->h.sim, ENGINES)], "Port", &q->r, false, &e) != 0)
        sim_fail("withdraw: %s", e.text);
}

/* ---- Checks ---- */

static void check_answers(struct node *n)
{
    for (size_t i = 0; i < n->answers_count; i++) {
        const struct answer *a = &n->answers[i];
        struct err e = ERR_INIT;
        char live[257];
        if (a->arrival[0] != '\0' && a->outcome != CANON_FAILED &&
            house_number(&n->h, "SELECT count(*) FROM canon_arrival WHERE id = ?1", a->arrival) !=
                1)
            sim_fail("acknowledged arrival %s is lost", a->arrival);
        if (a->golden[0] != '\0' && a->outcome != CANON_FAILED &&
            canon_survivor(n->h.db, "Port", "default", a->golden, live, &e) != 0)
            sim_fail("C4: golden id %s leads nowhere: %s", a->golden, e.text);
    }
}

static void node_check(struct node *n)
{
    if (house_number(&n->h, "SELECT count(*) FROM entity_defs", NULL) > 0) {
        for (const struct canon_rule *r = canon_rules; r->what != NULL; r++)
            if (house_number(&n->h, r->sql, NULL) != 0)
                sim_fail("%s", r->what);
        const char *wrong = canon_rules_parked(n->h.db, n->queues);
        if (wrong != NULL)
            sim_fail("%s", wrong);
        check_answers(n);
    }
    uint64_t scan = 0;
    struct err e = ERR_INIT;
    if (db_hash_scan(n->h.db, &scan, &e) != 0 || scan != db_hash(n->h.db))
        sim_fail("the running state hash is not that of the rows %s", e.text);
    sim_event(n->h.sim, "checked", "", scan, 0);
}

/* Once there is peace, nothing waits for a key that is there. */
static void check_waits(struct node *n)
{
    node_rest(n);
    if (house_counts(&n->h) &&
        house_number(&n->h, "SELECT count(*) FROM canon_wait WHERE due = 1", NULL) != 0)
        sim_fail("a parked arrival is due and is not taken up");
}

/* ---- The same arrivals again ---- */

/* Every stored arrival whose source was not withdrawn behind it goes to `to`, in an order by the
 * seed: what was withdrawn shall have left no trace. */
static void arrivals_repeat(struct node *from, struct node *to)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(from->h.db,
                                    "SELECT origin, source_id, observed_at, body FROM "
                                    "canon_arrival AS a WHERE outcome <> 4 AND rid > (SELECT "
                                    "coalesce(max(rid), 0) FROM canon_arrival AS w WHERE "
                                    "w.outcome = 4 AND w.origin = a.origin AND "
                                    "w.source_id = a.source_id) ORDER BY (rid * ?1) % 10007",
                                    &e);
    if (s == NULL)
        sim_fail("%s", e.text);
    db_bind_int(s, 1, 1 + (int64_t)sim_rand(to->h.sim, 10006));
    static const char *const origins[] = {"a", "b", "c"};
    struct request *q = NULL;
    while (db_step(s, &e) > 0) {
        if (q == NULL)
            q = request_new(to);
        size_t size;
        const char *body = db_col_text(s, 3, &size);
        json_t *data = json_read(body, size, &e);
        request_add(q, origins[db_col_text(s, 0, NULL)[0] - 'a'], db_col_text(s, 1, NULL),
                    db_col_int(s, 2), data);
        if (q->r.count == BULK) {
            request_send(q);
            q = NULL;
        }
    }
    db_stmt_done(s);
    if (q != NULL)
        request_send(q);
    node_settle(to);
}

static const char PARKED[] = "SELECT count(*) FROM canon_arrival WHERE outcome = 2";

static void check_order(struct node *n, uint64_t seed)
{
    struct node other;
    /* What is parked has no say in the order of things. */
    if (house_number(&n->h, PARKED, NULL) != 0)
        return;
    node_init(&other, seed ^ 0x5eed, NULL, "sim2");
    node_open(&other);
    node_define(&other);
    arrivals_repeat(n, &other);
    check_waits(&other);
    bool whole = house_number(&other.h, PARKED, NULL) == 0;
    for (size_t i = 0; i < other.answers_count; i++)
        whole = whole && !other.answers[i].lost; /* conflicts: nobody resent */
    AUTO(mem_freep) char *here = canon_rules_golden(n->h.db);
    AUTO(mem_freep) char *there = canon_rules_golden(other.h.db);
    if (whole && strcmp(here, there) != 0)
        sim_fail("C3: another order gave\n%s\nfirst it was\n%s", there, here);
    node_close(&other.h);
    node_fini(&other);
}

static void check_repeats(struct node *n)
{
    AUTO(mem_freep) char *before = canon_rules_golden(n->h.db);
    arrivals_repeat(n, n);
    check_waits(n);
    AUTO(mem_freep) char *after = canon_rules_golden(n->h.db);
    if (strcmp(before, after) != 0)
        sim_fail("C5: the same arrivals again changed\n%s\nto\n%s", before, after);
    node_check(n);
}

/* ---- Lives ---- */

static void node_begin(struct house *h)
{
    struct node *n = (struct node *)h;
    node_open(n);
    if (house_counts(h))
        node_check(n);
    node_define(n);
}

static void node_live(struct house *h)
{
    struct node *n = (struct node *)h;
    for (uint64_t turns = 5 + sim_rand(n->h.sim, 40); turns > 0 && house_counts(&n->h); turns--) {
        if (sim_chance(n->h.sim, 20))
            node_withdraw(n);
        else
            node_send(n);
        for (uint64_t steps = sim_rand(n->h.sim, 60); steps > 0; steps--)
            sim_step(n->h.sim);
        if (sim_chance(n->h.sim, 5)) { /* what failed until now is old */
            sim_clock_jump(n->h.sim, CANON_FAILED_KEEP_MS + 1);
            sim_run(n->h.sim, 2 * CANON_SWEEP_MS);
        }
        if (sim_chance(n->h.sim, 10)) {
            node_settle(n);
            if (house_counts(&n->h))
                node_check(n);
        }
    }
}

uint64_t canon_sim(uint64_t seed, FILE *trace)
{
    static const struct house_life life = {
        .soon = 100, .late = 1500, .open = node_begin, .live = node_live, .close = node_close};
    struct node n;
    node_init(&n, seed, trace, NULL);
    for (uint64_t lives = 1 + sim_rand(n.h.sim, LIVES); lives > 0; lives--)
        house_life(&n.h, &life);
    node_begin(&n.h);
    check_waits(&n);
    check_order(&n, seed);
    check_repeats(&n);
    node_close(&n.h);
    return node_fini(&n);
}
