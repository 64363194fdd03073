/* Queue core: lanes, tenants, and the choice of what is granted next.
 *
 * Start-time fair queueing. The core has a virtual time V, a lane vt; the lane that is chosen is
 * that with the smallest start S = max(vt, V), then number. A grant makes vt = S + LANE_SCALE /
 * weight, and V = S. A lane that had nothing to run for a while starts at V: it gets its share from
 * now on, not what it left. Tenants within a lane are the same with the lane's own V. */
#include <string.h>

#include "queue/core_priv.h"

struct tenant *tenant_get(struct core *c, const char *name)
{
    uint64_t hash = core_hash_text(NULL, name);
    for (struct table_node *n = table_find(&c->tenants_table, hash); n != NULL;
         n = table_again(n)) {
        struct tenant *t = (struct tenant *)n;
        if (strcmp(t->name, name) == 0)
            return t;
    }
    struct tenant *t = undo_alloc(&c->undo, sizeof *t);
    t->name = undo_strdup(&c->undo, name);
    t->weight = 1;
    t->number = c->tenants_count;
    SAVE(c, c->tenants_count);
    c->tenants_count++;
    undo_note(&c->undo, c->tenants_end, sizeof *c->tenants_end);
    *c->tenants_end = t;
    SAVE(c, c->tenants_end);
    c->tenants_end = &t->next;
    table_add(&c->tenants_table, &c->undo, &t->node, hash);
    return t;
}

uint32_t core_lane_weight(const char *name)
{
    static const struct {
        const char *name;
        uint32_t weight;
    } known[] = {{"system", 8}, {"canon", 4}, {"default", 4}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].name, name) == 0)
            return known[i].weight;
    }
    return 1;
}

struct lane *lane_get(struct core *c, const char *name)
{
    for (uint32_t i = 0; i < c->lanes_count; i++) {
        if (strcmp(c->lanes[i]->name, name) == 0)
            return c->lanes[i];
    }
    if (c->lanes_count == CORE_LANES_MAX)
        return NULL;
    struct lane *l = undo_alloc(&c->undo, sizeof *l);
    l->name = undo_strdup(&c->undo, name);
    l->weight = core_lane_weight(name);
    l->cap = UINT32_MAX;
    l->number = c->lanes_count;
    SAVE(c, c->lanes[c->lanes_count]);
    SAVE(c, c->lanes_count);
    c->lanes[c->lanes_count++] = l;
    return l;
}

struct share *share_get(struct core *c, struct lane *l, struct tenant *t)
{
    struct share **at = &l->shares;
    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->tenant == t)
            return *at;
    }
    struct share *s = undo_alloc(&c->undo, sizeof *s);
    s->lane = l;
    s->tenant = t;
    undo_note(&c->undo, at, sizeof *at);
    *at = s;
    return s;
}

struct front *front_get(struct core *c, struct share *s, struct needs *needs)
{
    struct front **at = &s->fronts;
    for (; *at != NULL; at = &(*at)->next) {
        if ((*at)->needs == needs)
            return *at;
    }
    struct front *f = undo_alloc(&c->undo, sizeof *f);
    f->needs = needs;
    undo_note(&c->undo, at, sizeof *at);
    *at = f;
    return f;
}

static uint64_t start(uint64_t vt, uint64_t v)
{
    return vt > v ? vt : v;
}

static uint64_t cost(uint32_t weight)
{
    return weight >= LANE_SCALE ? 1 : LANE_SCALE / weight;
}

void lane_charge(struct core *c, struct share *s)
{
    struct lane *l = s->lane;
    SAVE(c, c->v);
    SAVE(c, l->vt);
    SAVE(c, l->v);
    SAVE(c, s->vt);
    c->v = start(l->vt, c->v);
    l->vt = c->v + cost(l->weight);
    l->v = start(s->vt, l->v);
    s->vt = l->v + cost(s->tenant->weight);
}

/* ---- the choice ---- */

/* Does `a` go before the best so far? */
static bool share_is_before(const struct core *c, const struct share *a, const struct share *b)
{
    uint64_t la = start(a->lane->vt, c->v), lb = start(b->lane->vt, c->v);
    if (a->lane != b->lane)
        return la != lb ? la < lb : a->lane->number < b->lane->number;
    uint64_t sa = start(a->vt, a->lane->v), sb = start(b->vt, b->lane->v);
    return sa != sb ? sa < sb : a->tenant->number < b->tenant->number;
}

static bool pair_is_before(const struct core *c, const struct line *l, const struct pair *best)
{
    if (best->line == NULL)
        return true;
    if (l->share != best->line->share)
        return share_is_before(c, l->share, best->line->share);
    return rec_is_before(c, line_head(c, l), best->rec);
}

static void pair_offer(const struct core *c, struct line *l, struct pair *best)
{
    if (!pair_is_before(c, l, best))
        return;
    struct consumer *s = consumer_for(c, l->queue, l->needs);
    if (s != NULL)
        *best = (struct pair){.line = l, .rec = line_head(c, l), .consumer = s};
}

/* Lines that workers take: the first of each front stands for it. */
static void choose_for_workers(const struct core *c, struct pair *best)
{
    for (uint32_t i = 0; c->free_first != NULL && i < c->lanes_count; i++) {
        struct lane *lane = c->lanes[i];
        if (lane->executing >= lane->cap)
            continue;
        for (struct share *s = lane->shares; s != NULL; s = s->next) {
            for (struct front *f = s->fronts; f != NULL; f = f->next) {
                if (f->lines.count > 0)
                    pair_offer(c, (struct line *)(uintptr_t)f->lines.items[0], best);
            }
        }
    }
}

/* Queues where a consumer of their own has room. */
static void choose_for_consumers(const struct core *c, struct pair *best)
{
    for (struct queue *q = c->pairs; q != NULL; q = q->pairs_next) {
        for (struct line *l = q->lines; l != NULL; l = l->next) {
            if (l->count > 0 && l->lane->executing < l->lane->cap)
                pair_offer(c, l, best);
        }
    }
}

bool lane_choose(const struct core *c, struct pair *out)
{
    *out = (struct pair){.line = NULL};
    choose_for_workers(c, out);
    choose_for_consumers(c, out);
    return out->line != NULL;
}

/* ---- declared ---- */

static int weight_check(uint32_t weight, struct err *e)
{
    if (weight < 1 || weight > CORE_WEIGHT_MAX)
        return err_field(e, ERR_INVALID, "weight", "a weight is 1 to %d", CORE_WEIGHT_MAX);
    return 0;
}

int core_lane(struct core *c, const char *name, uint32_t weight, uint32_t cap, struct err *e)
{
    int rc = weight_check(weight, e);
    if (rc < 0)
        return rc;
    struct lane *l = lane_get(c, name);
    if (l == NULL)
        return err_field(e, ERR_TOO_LARGE, "lane", "there are %d lanes already", CORE_LANES_MAX);
    SAVE(c, l->weight);
    SAVE(c, l->cap);
    l->weight = weight;
    l->cap = cap;
    grants_make(c);
    return 0;
}

int core_tenant(struct core *c, const char *tenant, uint32_t weight, struct err *e)
{
    int rc = weight_check(weight, e);
    if (rc < 0)
        return rc;
    struct tenant *t = tenant_get(c, tenant);
    SAVE(c, t->weight);
    t->weight = weight;
    return 0;
}
