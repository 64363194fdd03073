/* What a node says about what its database has of groups that are behind, and of what processes
 * agree on. */
#include <string.h>

#include "app/node_priv.h"
#include "base/health.h"
#include "base/json.h"
#include "base/mem.h"
#include "bus/bus.h"
#include "coord/coord.h"
#include "db/db.h"
#include "ledger/ledger.h"

enum { COORDINATION_FULL = 90 }; /* percent of a bound */

static void shared_closep(struct db **db)
{
    db_close(*db);
}

/* A group is fed as fast as its queue takes it: one that has not moved since it was last looked at
 * is refused. */
static void health_topics(struct node *n, struct db *db)
{
    struct bus_lag lag;
    AUTO(mem_freep) char *text = NULL;
    if (bus_lag(db, &lag, NULL) != 0)
        return;
    if (n->lag == NULL)
        n->lag = mem_new(sizeof *n->lag);
    bool stuck =
        lag.groups > 0 && strcmp(lag.group, n->lag->group) == 0 && lag.next == n->lag->next;
    *n->lag = lag;
    if (stuck)
        text = mem_printf("group '%s' is behind and comes no further: its queue " BUS_QUEUE_PREFIX
                          "%s is full or closed",
                          lag.group, lag.group);
    json_t *facts = json_pack("{s:I, s:I}", "behind", (json_int_t)lag.groups, "messages",
                              (json_int_t)lag.messages);
    if (lag.groups > 0)
        json_object_set_new(facts, "furthest", json_string(lag.group));
    health_report(n->health, "topics", stuck ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0, text, facts);
}

static void health_coordination(struct node *n, struct db *db)
{
    struct coord_totals t;
    AUTO(mem_freep) char *text = NULL;
    if (coord_totals(n->coord, db, &t, NULL) != 0)
        return;
    bool full = t.full >= COORDINATION_FULL;
    if (full)
        text = mem_printf("tenant '%s' has %d %% of the %s that it may have; past them it is "
                          "refused (quota)",
                          t.full_tenant, t.full, t.full_of);
    json_t *facts = json_object();
    for (int i = 0; i < COORD_PARTS; i++)
        json_object_set_new(facts, coord_part_names[i], json_integer((json_int_t)t.count[i]));
    json_object_set_new(facts, "key_bytes", json_integer((json_int_t)t.key_bytes));
    json_object_set_new(facts, "cached_bytes", json_integer((json_int_t)t.cached_bytes));
    json_object_set_new(facts, "waiting", json_integer((json_int_t)t.waiting));
    json_object_set_new(facts, "fullest_percent", json_integer(t.full));
    health_report(n->health, "coordination", full ? HEALTH_DEGRADED : HEALTH_HEALTHY, 0, text,
                  facts);
}

void node_health_shared(struct node *n)
{
    AUTO(shared_closep) struct db *db = NULL;
    struct db_options o = {.path = ledger_db_path(n->ledger), .mode = DB_READER};
    if (db_open(&o, &db, NULL) != 0)
        return; /* the components are unknown when their time is over */
    health_topics(n, db);
    health_coordination(n, db);
}
