/* Records of an entity: saves, a unit of three, a refused unit, patches, removals, a clean restart,
 * checkpoints on the way. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "entity/entity.h"
#include "entity/kept.h"
#include "entity/read.h"
#include "torture/torture.h"

enum { IDS = 8, BIG = 9000 };

struct node {
    struct machine *m;
    struct entities *entities;
    struct entity_def *def;
    /* What each record's n must be, 0 where there is none; and what it may be as well since the
     * last unit, whose outcome is not known. */
    int now[IDS], other[IDS];
    bool unknown;
};

static size_t node_domains(void *self, struct domain out[])
{
    struct node *n = self;
    n->entities = entities_new();
    out[0] = *entities_domain(n->entities);
    return 1;
}

static void node_closed(void *self)
{
    struct node *n = self;
    entities_free(n->entities);
    n->entities = NULL;
}

static const struct machine_parts node_parts = {.domains = node_domains, .closed = node_closed};

static void *node_make(struct machine *m)
{
    static const char text[] = "{\"name\":\"Note\",\"fields\":{\"n\":{\"kind\":\"int\",\"index\":"
                               "true},\"key\":{\"kind\":\"text\",\"unique\":true},\"text\":{"
                               "\"kind\":\"text\"}}}";
    struct err e = ERR_INIT;
    struct node *n = mem_new(sizeof *n);
    n->m = m;
    m->self = n;
    m->parts = &node_parts;
    if (entity_def_parse_text(text, sizeof text - 1, &n->def, &e) != 0)
        fail("%s", e.text);
    return n;
}

static void node_free(void *self)
{
    struct node *n = self;
    entity_def_unref(n->def);
    mem_free(n);
}

/* ---- units ---- */

struct change {
    int id, n; /* n 0: remove */
};

static int unit_build(struct node *n, struct unit *u, const struct change *c, size_t count,
                      struct err *e)
{
    char id[8], text[BIG + 64];
    unit_init(u, sim_client(n->m->sim), unit_answered);
    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof id, "r%d", c[i].id);
        if (c[i].n == 0) {
            entity_txn_remove(&u->txn, n->def, id, 0);
            continue;
        }
        snprintf(text, sizeof text, "{\"n\":%d,\"key\":\"%d-%d\",\"text\":\"%0*d\"}", c[i].n,
                 c[i].id, c[i].n, BIG, c[i].n);
        AUTO(json_unref) json_t *doc = json_read(text, strlen(text), e);
        AUTO(entity_doc_fini) struct entity_doc made;
        entity_doc_init(&made);
        if (doc == NULL || entity_doc_make(n->def, doc, 0, &made, NULL, e) != 0)
            return e->code;
        entity_txn_save(&u->txn, n->def, id, n->now[c[i].id] == 0 ? ENTITY_CREATE : ENTITY_UPSERT,
                        0, &made);
    }
    return txn_check(&u->txn, e);
}

/* ---- what is stored ---- */

static int stored(struct node *n, int id)
{
    struct err e = ERR_INIT;
    char name[8];
    json_t *record = NULL;
    snprintf(name, sizeof name, "r%d", id);
    int rc = entity_get_json(n->m->db, n->def, "default", name, &record, NULL, &e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc != 0)
        fail("r%d cannot be read: %s", id, e.text);
    int found = (int)json_integer_value(json_object_get(record, "n"));
    json_decref(record);
    return found;
}

/* The disk was full until the client waited no more. Somebody clears up, and the node goes on by
 * itself: did it take the unit? */
static int settle(struct node *n, const int after[IDS])
{
    machine_clear_up(n->m);
    bool is_now = true, is_after = true;
    for (int i = 0; i < IDS; i++) {
        int found = stored(n, i);
        is_now &= found == n->now[i];
        is_after &= found == after[i];
    }
    if (!is_now && !is_after)
        fail("a unit is half there after the disk was full");
    return is_after ? 0 : ERR_DISK_FULL;
}

/* ---- units with an outcome ---- */

/* The unit of these changes. Its outcome is noted. */
static int act(struct node *n, const struct change *c, size_t count)
{
    struct err e = ERR_INIT;
    struct unit u;
    int after[IDS];
    memcpy(after, n->now, sizeof after);
    for (size_t i = 0; i < count; i++)
        after[c[i].id] = c[i].n;
    int rc = unit_build(n, &u, c, count, &e);
    if (rc == 0)
        rc = machine_run(n->m, &u, &e);
    if (rc == ERR_TIMEOUT && n->m->fault == DISK_FULL && !sim_is_frozen(n->m->sim))
        rc = settle(n, after);
    if (rc == 0) {
        memcpy(n->now, after, sizeof after);
    } else if (rc == ERR_TIMEOUT) {
        memcpy(n->other, after, sizeof after);
        n->unknown = true;
        sim_halt(n->m->sim);
    }
    unit_fini(&u);
    return rc;
}

static int define(struct node *n)
{
    struct err e = ERR_INIT;
    struct unit u;
    unit_init(&u, sim_client(n->m->sim), unit_answered);
    entity_txn_define(&u.txn, n->def);
    int rc = txn_check(&u.txn, &e);
    if (rc == 0)
        rc = machine_run(n->m, &u, &e);
    unit_fini(&u);
    return rc;
}

/* Declared no longer: out of sight, and kept. */
static int retire(struct node *n)
{
    struct err e = ERR_INIT;
    struct unit u;
    unit_init(&u, sim_client(n->m->sim), unit_answered);
    entity_txn_retire(&u.txn, &(const char *){n->def->name}, 1, ENTITY_KEEP_MS);
    u.txn.grows = false;
    int rc = txn_check(&u.txn, &e);
    if (rc == 0)
        rc = machine_run(n->m, &u, &e);
    unit_fini(&u);
    return rc;
}

/* ---- the life ---- */

static bool must(struct node *n, const struct change *c, size_t count)
{
    return machine_did(MACHINE_TRY(n->m, act(n, c, count)), "a unit");
}

#define MUST(...)                                                                                  \
    (must(n, (struct change[]){__VA_ARGS__},                                                       \
          sizeof((struct change[]){__VA_ARGS__}) / sizeof(struct change)))

/* Gone and back: with all records. */
static bool goes_and_comes(struct node *n)
{
    return machine_did(MACHINE_TRY(n->m, retire(n)), "that an entity goes") &&
           machine_did(MACHINE_TRY(n->m, define(n)), "that it comes back");
}

static bool begin(struct node *n)
{
    struct err e = ERR_INIT;
    if (machine_open(n->m, &e) != 0)
        return false;
    return MACHINE_TRY(n->m, define(n)) == 0;
}

static bool node_live(void *self)
{
    struct node *n = self;
    if (!begin(n) || !MUST({0, 1}) || !MUST({1, 1}) || !MUST({2, 1}, {3, 1}, {4, 1}) ||
        !MUST({0, 2}))
        return false;
    /* Its second operation removes what is not there: the first leaves no trace. */
    int rc = act(n, (struct change[]){{1, 7}, {7, 0}}, 2);
    if (rc == 0)
        fail("a record that is not there was removed");
    if (rc == ERR_TIMEOUT || sim_is_frozen(n->m->sim) || !MUST({1, 0}) || !MUST({5, 1}, {2, 2}))
        return false;
    machine_end(n->m);
    if (sim_is_frozen(n->m->sim) || !begin(n) || !MUST({3, 0}) || !goes_and_comes(n) ||
        !MUST({1, 3}) || !MUST({6, 1}))
        return false;
    machine_end(n->m);
    return !sim_is_frozen(n->m->sim);
}

/* ---- what is there afterwards ---- */

static void verify(struct node *n)
{
    bool is_now = true, is_other = n->unknown;
    int found[IDS];
    for (int i = 0; i < IDS; i++) {
        found[i] = stored(n, i);
        is_now &= found[i] == n->now[i];
        is_other &= found[i] == n->other[i];
    }
    if (is_now || is_other)
        return;
    for (int i = 0; i < IDS; i++)
        fprintf(stderr, "r%d: %d, want %d%s%d\n", i, found[i], n->now[i],
                n->unknown ? " or " : " and not ", n->other[i]);
    fail("the state is neither what was acknowledged nor that and the last unit");
}

static void node_reopened(void *self)
{
    struct node *n = self;
    if (define(n) != 0)
        fail("it takes no definition afterwards");
    sim_run(n->m->sim, 1000);
    verify(n);
    n->unknown = false;
    for (int i = 0; i < IDS; i++)
        n->now[i] = stored(n, i);
}

static void node_works(void *self)
{
    struct node *n = self;
    if (act(n, (struct change[]){{6, 9}, {7, 9}}, 2) != 0)
        fail("it takes no unit afterwards");
    verify(n);
}

const struct life entity_life = {.name = "records",

                                 .make = node_make,
                                 .live = node_live,
                                 .reopened = node_reopened,
                                 .works = node_works,
                                 .free = node_free};
