/* Golden records: arrivals of three sources that join and merge, one after the other and several at
 * once, a withdrawal, a clean restart. What was acknowledged is stored and changes nothing when it
 * comes again (C5); keys, sources, golden records and rows agree (C1); and when all has come again
 * the records are those of a life without trouble. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "canon/canon.h"
#include "db/db.h"
#include "entity/entity.h"
#include "queue/queue.h"
#include "support/canon_rules.h"
#include "torture/torture.h"

enum { AT_ONCE = 4, TRIES = 4 };

static const struct {
    const char *origin, *source_id, *data;
} arrivals[] = {
    {"a", "s1", "{\"name\":\"One\",\"iata\":\"i1\",\"height\":3}"},
    {"b", "t1", "{\"name\":\"One and more\",\"iata\":\"i1\",\"icao\":\"K1\"}"},
    {"a", "s2", "{\"name\":\"Two\",\"iata\":\"i2\",\"height\":5}"},
    {"b", "t2", "{\"name\":\"Second\",\"icao\":\"K2\",\"height\":7}"},
    {"c", "u2", "{\"name\":\"Both\",\"iata\":\"i2\",\"icao\":\"K2\"}"}, /* merges */
    {"c", "u1", "{\"icao\":\"K1\",\"lat\":1,\"lon\":2}"},
    {"a", "s3", "{\"name\":\"Three\",\"iata\":\"i3\"}"},
    {"c", "gone", "{\"name\":\"Gone soon\",\"icao\":\"K3\"}"},
    {"a", "s4", "{\"name\":\"Four\",\"iata\":\"i4\"}"},
    {"b", "t4", "{\"name\":\"Fourth\",\"iata\":\"i4\",\"icao\":\"K1\"}"}, /* merges */
    {"c", "", "{\"name\":\"Nobody knows\"}"},                             /* parks */
};
enum { COUNT = ARRAY_LEN(arrivals), GONE = 7 };

struct node {
    struct machine *m;
    struct entities *entities;
    struct canon *canon;
    struct queues *queues;
    struct canon_engine *engine;
    char ids[COUNT][37]; /* of arrivals that were acknowledged */
    bool withdrawn, over;
};

struct request {
    struct canon_request r; /* first: what done() gets */
    struct node *node;
    struct envelope env;
    struct canon_arrival list[AT_ONCE];
};

static char *in_peace; /* the golden records of a life without trouble */

/* ---- the node ---- */

static size_t node_domains(void *self, struct domain out[])
{
    struct node *n = self;
    struct err e = ERR_INIT;
    n->entities = entities_new();
    if (canon_new(n->entities, &n->canon, &e) != 0)
        fail("canon: %s", e.text);
    out[0] = *entities_domain(n->entities);
    out[1] = *canon_domain(n->canon);
    n->queues = queues_new();
    out[2] = *queues_domain(n->queues);
    return 3;
}

static void node_opened(void *self)
{
    struct node *n = self;
    struct err e = ERR_INIT;
    struct canon_engine_options o = {.canon = n->canon,
                                     .ledger = n->m->ledger,
                                     .world = sim_world(n->m->sim),
                                     .reader = n->m->db};
    if (canon_engine_new(&o, &n->engine, &e) != 0)
        fail("engine: %s", e.text);
    canon_engine_start(n->engine);
}

static bool node_is_idle(void *arg)
{
    return canon_engine_is_idle(((struct node *)arg)->engine);
}

/* A node that died answers nobody any more: what its engine has under way is gone with it. */
static void node_closing(void *self)
{
    struct node *n = self;
    canon_engine_stop(n->engine);
    sim_run_until(n->m->sim, node_is_idle, n, MACHINE_WAIT_MS);
    if (canon_engine_is_idle(n->engine))
        canon_engine_free(n->engine);
    else
        n->m->kept = true;
    n->engine = NULL;
}

static void node_closed(void *self)
{
    struct node *n = self;
    canon_free(n->canon);
    queues_free(n->queues);
    entities_free(n->entities);
    n->canon = NULL;
    n->entities = NULL;
}

static const struct machine_parts node_parts = {
    .domains = node_domains, .open = node_opened, .closing = node_closing, .closed = node_closed};

static void *node_make(struct machine *m)
{
    struct node *n = mem_new(sizeof *n);
    n->m = m;
    m->self = n;
    m->parts = &node_parts;
    return n;
}

static int node_define_once(struct node *n)
{
    static const char entity_text[] =
        "{\"name\":\"Port\",\"fields\":{\"name\":{\"kind\":\"text\"},\"iata\":{\"kind\":\"text\"},"
        "\"icao\":{\"kind\":\"text\"},\"height\":{\"kind\":\"int\"},\"lat\":{\"kind\":\"int\"},"
        "\"lon\":{\"kind\":\"int\"}}}";
    static const char model_text[] =
        "{\"name\":\"Port\",\"sources\":{\"a\":{\"rank\":1},\"b\":{\"rank\":2},\"c\":{\"rank\":3}},"
        "\"keys\":[{\"name\":\"iata\",\"parts\":[{\"field\":\"iata\",\"norm\":\"upper\"}]},"
        "{\"name\":\"icao\",\"parts\":[{\"field\":\"icao\",\"norm\":\"upper\"}]}],"
        "\"policy\":{\"name\":{\"is\":\"longest\"}},\"group\":{\"position\":[\"lat\",\"lon\"]}}";
    struct err e = ERR_INIT;
    struct entity_def *d = NULL;
    struct unit u;
    AUTO(json_unref) json_t *model = json_read(model_text, sizeof model_text - 1, &e);
    if (model == NULL || entity_def_parse_text(entity_text, sizeof entity_text - 1, &d, &e) != 0)
        return e.code;
    unit_init(&u, sim_client(n->m->sim), unit_answered);
    entity_txn_define(&u.txn, d);
    int rc = canon_txn_define(n->canon, &u.txn, model, d, &e);
    if (rc == 0)
        rc = txn_check(&u.txn, &e);
    if (rc == 0)
        rc = machine_run(n->m, &u, &e);
    unit_fini(&u);
    entity_def_unref(d);
    return rc;
}

static bool node_define(struct node *n)
{
    return MACHINE_TRY(n->m, node_define_once(n)) == 0;
}

/* ---- arrivals ---- */

static void request_done(struct canon_request *r)
{
    struct request *q = (struct request *)r;
    q->node->over = true;
}

static bool request_is_over(void *arg)
{
    return ((struct node *)arg)->over;
}

/* The outcome of the whole, an error where any failed; of a dead machine ERR_TIMEOUT. */
static int request_outcome(struct request *q, size_t first)
{
    int rc = q->r.err.code;
    for (size_t i = 0; i < q->r.count && rc == 0; i++) {
        struct canon_arrival *a = &q->list[i];
        if (a->outcome == CANON_FAILED)
            rc = a->err.code;
        else if (first != COUNT)
            snprintf(q->node->ids[first + i], sizeof q->node->ids[0], "%s", a->arrival_id);
    }
    return rc;
}

/* So many arrivals of the list in one request; first COUNT: the withdrawal. */
static int send_once(struct node *n, size_t first, size_t count, bool noop)
{
    struct err e = ERR_INIT;
    struct request *q = mem_new(sizeof *q);
    q->node = n;
    q->env = (struct envelope){.tenant = "default", .principal = "torture"};
    q->r = (struct canon_request){.home = sim_client(n->m->sim),
                                  .env = &q->env,
                                  .arrivals = q->list,
                                  .count = count,
                                  .done = request_done};
    for (size_t i = 0; i < count; i++) {
        size_t at = first == COUNT ? GONE : first + i;
        q->list[i] = (struct canon_arrival){.origin = arrivals[at].origin,
                                            .source_id = arrivals[at].source_id,
                                            .observed_at = INT64_MIN};
        if (first != COUNT) {
            q->list[i].observed_at = 1000 + (int64_t)at;
            q->list[i].data = json_read(arrivals[at].data, strlen(arrivals[at].data), &e);
        }
    }
    n->over = false;
    int rc = first == COUNT ? canon_withdraw(n->engine, "Port", &q->r, false, &e)
                            : canon_arrive(n->engine, "Port", &q->r, &e);
    if (rc == 0 && !machine_wait(n->m, request_is_over, n, "a request has no answer") && !n->over) {
        n->m->kept = true;
        return ERR_TIMEOUT;
    }
    if (rc == 0)
        rc = request_outcome(q, first);
    for (size_t i = 0; i < count && noop && rc == 0; i++)
        if (q->list[i].outcome != CANON_NOOP)
            fail("C5: %s came again and was not known", arrivals[first + i].source_id);
    canon_request_fini(&q->r);
    mem_free(q);
    return sim_is_frozen(n->m->sim) ? ERR_TIMEOUT : rc;
}

/* What nobody knows the outcome of is sent again: it has the effect of once. */
static bool send_all(struct node *n, size_t first, size_t count)
{
    int rc = send_once(n, first, count, false);
    for (int i = 0; i < TRIES && rc != 0 && !sim_is_frozen(n->m->sim); i++) {
        bool open = rc == ERR_TIMEOUT || rc == ERR_INTERNAL;
        if (rc == ERR_DISK_FULL || rc == ERR_TIMEOUT)
            machine_clear_up(n->m);
        rc = send_once(n, first, count, false);
        if (rc == ERR_NOT_FOUND && open && first == COUNT)
            rc = 0; /* it was withdrawn, and nobody had said so */
    }
    if (rc != 0 && !sim_is_frozen(n->m->sim))
        fail("arrivals from %zu on are refused for ever: %s", first, err_info(rc)->name);
    n->withdrawn |= rc == 0 && first == COUNT;
    return rc == 0;
}

/* ---- the life ---- */

static bool begin(struct node *n)
{
    struct err e = ERR_INIT;
    return machine_open(n->m, &e) == 0 && node_define(n);
}

static bool node_live(void *self)
{
    struct node *n = self;
    if (!begin(n) || !send_all(n, 0, 1) || !send_all(n, 1, 3) || !send_all(n, 4, 1) ||
        !send_all(n, 5, 3))
        return false;
    machine_end(n->m);
    if (sim_is_frozen(n->m->sim) || !begin(n) || !send_all(n, COUNT, 1) || !send_all(n, 8, 3))
        return false;
    machine_end(n->m);
    return !sim_is_frozen(n->m->sim);
}

static int64_t number(struct node *n, const char *sql, const char *text)
{
    struct err e = ERR_INIT;
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(n->m->db, sql, &e);
    if (s == NULL)
        fail("%s", e.text);
    if (text != NULL)
        db_bind_str(s, 1, text);
    if (db_step(s, &e) != 1)
        fail("%s: %s", sql, e.text);
    return db_col_int(s, 0);
}

static void node_reopened(void *self)
{
    struct node *n = self;
    if (!node_define(n))
        fail("it takes no definition afterwards");
    for (const struct canon_rule *r = canon_rules; r->what != NULL; r++)
        if (number(n, r->sql, NULL) != 0)
            fail("%s", r->what);
    const char *wrong = canon_rules_parked(n->m->db, n->queues);
    if (wrong != NULL)
        fail("%s", wrong);
    for (size_t i = 0; i < COUNT; i++)
        if (n->ids[i][0] != '\0' &&
            number(n, "SELECT count(*) FROM canon_arrival WHERE id = ?1", n->ids[i]) != 1)
            fail("acknowledged arrival of %s is lost", arrivals[i].source_id);
}

static void node_works(void *self)
{
    struct node *n = self;
    for (size_t i = 0; i < COUNT; i++) {
        bool known = n->ids[i][0] != '\0' && i != GONE;
        if (known ? send_once(n, i, 1, true) != 0 : !send_all(n, i, 1))
            fail("%s is not taken again", arrivals[i].source_id);
    }
    if (!send_all(n, COUNT, 1))
        fail("it withdraws nothing");
    AUTO(mem_freep) char *golden = canon_rules_golden(n->m->db);
    if (in_peace == NULL)
        in_peace = mem_strdup(golden);
    else if (strcmp(in_peace, golden) != 0)
        fail("the golden records are\n%s\nand were without trouble\n%s", golden, in_peace);
}

const struct life canon_life = {.name = "golden records",
                                .make = node_make,
                                .live = node_live,
                                .reopened = node_reopened,
                                .works = node_works,
                                .free = mem_free};
