/* The SQL of what an entry adds. */
#include "canon/gather_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "canon/ops_priv.h"
#include "canon/store_priv.h"
#include "ledger/domain.h"
#include "ledger/txn.h"

/* Cells are in the order of the columns. */
static const struct {
    const char *name;
    bool keyed;
    size_t columns;
} gather_tables[GATHER_TABLES] = {
    [GATHER_ARRIVALS] = {"canon_arrival", true, 17},
    [GATHER_SOURCES] = {"canon_source", true, 13},
    [GATHER_KEYS] = {"canon_key", false, 4},
    [GATHER_GOLDENS] = {"canon_golden", false, 10},
};

void gather_init(struct gather *g)
{
    *g = (struct gather){.held = map_new(), .seq = 0};
    arena_init(&g->texts, GATHER_TEXTS_MAX);
    buf_init(&g->name, GATHER_NAME_MAX);
    /* Now, not when a row is asked for: without a name it would seem not to be there. */
    ASSERT(buf_reserve(&g->name, GATHER_NAME_MAX) != NULL);
    buf_init(&g->absent, GATHER_TEXTS_MAX);
    buf_init(&g->open, GATHER_TEXTS_MAX);
}

static void gather_empty(struct gather *g)
{
    for (size_t i = 0; i < GATHER_TABLES; i++)
        g->tables[i].count = 0;
    for (size_t i = 0; i < g->blocks_count; i++)
        mem_free(g->blocks[i]);
    g->blocks_count = 0;
    if (map_count(g->held) > 0)
        map_clear(g->held, NULL);
    arena_reset(&g->texts);
    g->tenant = NULL;
    buf_reset(&g->absent);
    buf_reset(&g->open);
}

void gather_forget(struct gather *g)
{
    gather_empty(g);
    g->seq = 0;
}

void gather_fini(struct gather *g)
{
    gather_empty(g);
    for (size_t i = 0; i < GATHER_TABLES; i++)
        mem_free(g->tables[i].cells);
    mem_free(g->blocks);
    map_free(g->held, NULL);
    arena_fini(&g->texts);
    buf_fini(&g->name);
    buf_fini(&g->absent);
    buf_fini(&g->open);
}

int gather_flush(struct gather *g, const struct apply *a, struct err *e)
{
    int rc = gather_prove(g, a, e);
    for (size_t i = 0; i < GATHER_TABLES && rc == 0; i++) {
        struct db_rows rows = {.table = gather_tables[i].name,
                               .keyed = gather_tables[i].keyed,
                               .columns = gather_tables[i].columns,
                               .cells = g->tables[i].cells,
                               .count = g->tables[i].count};
        if (rows.count > 0)
            rc = db_insert(a->db, &rows, e);
    }
    gather_empty(g);
    if (rc != ERR_CONFLICT)
        return rc;
    if (a->doubt != NULL)
        return gather_doubt(a, e);
    e->code = ERR_CORRUPT; /* conditions held, and yet */
    return err_context(e, "canon: a row that is new is there already");
}

/* ---- names ---- */

static bool gather_is_of(const struct gather *g, const struct apply *a)
{
    return g->seq == a->seq && g->unit == a->unit;
}

static void gather_begin(struct gather *g, const struct apply *a)
{
    if (gather_is_of(g, a))
        return;
    g->seq = a->seq;
    g->unit = a->unit;
    g->direct = false;
    gather_leave_open(g);
}

static void gather_name(struct gather *g, const struct apply *a, enum gather_table table,
                        const char *const parts[3])
{
    struct buf *b = &g->name;
    const char *const texts[4] = {a->env->tenant, parts[0], parts[1], parts[2]};
    size_t n[4] = {0}, all = 1;
    for (int i = 0; i < 4 && texts[i] != NULL; i++)
        all += n[i] = strlen(texts[i]) + 1;
    buf_reset(b);
    char *to = buf_reserve(b, all);
    if (to == NULL)
        return;
    *to++ = (char)('0' + table);
    for (int i = 0; i < 4 && texts[i] != NULL; to += n[i++])
        memcpy(to, texts[i], n[i]);
    buf_commit(b, all);
}

/* The place of the row that has the name; SIZE_MAX: none is kept back. */
static size_t gather_place(const struct gather *g)
{
    bool any = map_count(g->held) > 0 && !buf_failed(&g->name);
    void *place = !any ? NULL : map_get(g->held, g->name.data, g->name.len);
    return place == NULL ? SIZE_MAX : (size_t)place - 1;
}

static struct db_cell *gather_row(struct gather *g, enum gather_table table, size_t place)
{
    return g->tables[table].cells + place * gather_tables[table].columns;
}

const struct db_cell *gather_find(struct gather *g, const struct apply *a, enum gather_table table,
                                  const char *model, const char *x, const char *y)
{
    gather_begin(g, a);
    gather_name(g, a, table, (const char *const[3]){model, x, y});
    size_t place = gather_place(g);
    return place == SIZE_MAX ? NULL : gather_row(g, table, place);
}

int gather_direct(struct gather *g, const struct apply *a, struct err *e)
{
    gather_begin(g, a);
    g->direct = true;
    return gather_flush(g, a, e);
}

/* ---- rows ---- */

static struct db_cell cell_int(int64_t v)
{
    return (struct db_cell){.type = DB_CELL_INT, .number = v};
}

static struct db_cell cell_str(const char *s)
{
    if (s == NULL)
        return (struct db_cell){.type = DB_CELL_NULL};
    return (struct db_cell){.type = DB_CELL_TEXT, .text = s, .number = (int64_t)strlen(s)};
}

/* A row more; with the name that was asked for last, unless nobody asks for such rows. */
static int gather_add(struct gather *g, enum gather_table table, const struct db_cell *cells,
                      struct err *e)
{
    struct gathered *t = &g->tables[table];
    size_t size = gather_tables[table].columns * sizeof *cells;
    if (t->count == t->cap) {
        size_t cap = t->cap > 0 ? 2 * t->cap : 64;
        struct db_cell *grown = mem_try_resize(t->cells, cap * size);
        if (grown == NULL)
            return err_set(e, ERR_NOMEM, "canon: %zu new rows", cap);
        t->cells = grown;
        t->cap = cap;
    }
    memcpy(gather_row(g, table, t->count++), cells, size);
    if (table == GATHER_ARRIVALS)
        return 0;
    map_put(g->held, g->name.data, g->name.len, (void *)t->count);
    gather_settle(g);
    return 0;
}

static int gather_tenant(struct gather *g, const struct apply *a, struct err *e)
{
    const char *now = a->env->tenant;
    if (g->tenant != NULL && strcmp(g->tenant, now) == 0)
        return 0;
    g->tenant = arena_strndup(&g->texts, now, strlen(now));
    return g->tenant == NULL ? err_set(e, ERR_NOMEM, "canon: a tenant") : 0;
}

static int gather_arrival(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                          struct err *e)
{
    const struct db_cell row[] = {
        cell_str(op->arrival),     cell_str(g->tenant),        cell_str(op->model),
        cell_str(op->origin),      cell_str(op->source_id),    cell_int(a->at),
        cell_int(op->observed_at), cell_int((int64_t)op->def), cell_int(op->outcome),
        cell_int(op->phase),       cell_str(op->reason),       cell_str(op->evidence),
        cell_str(op->golden),      cell_str(op->body),         cell_str(op->work),
        cell_str(op->tags),        cell_str(op->changes)};
    return gather_add(g, GATHER_ARRIVALS, row, e);
}

static int gather_source(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                         struct err *e)
{
    gather_find(g, a, GATHER_SOURCES, op->model, op->origin, op->source_id);
    if (!gather_knows_absent(g))
        return store_source_put(a->db, a, op, e);
    bool says = op->fields != NULL;
    const struct db_cell row[] = {
        cell_str(g->tenant),
        cell_str(op->model),
        cell_str(op->origin),
        cell_str(op->source_id),
        cell_int((int64_t)op->rev),
        cell_str(says ? op->golden : NULL),
        cell_int(op->said_at),
        cell_str(op->said_arrival != NULL ? op->said_arrival : op->arrival),
        cell_str(says ? op->fields : "{}"),
        cell_str(says ? op->ever : NULL),
        cell_str(says ? op->keys : "[]"),
        cell_int((int64_t)op->last_hash),
        cell_int((int64_t)op->def),
    };
    return gather_add(g, GATHER_SOURCES, row, e);
}

static int gather_golden(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                         struct err *e)
{
    gather_find(g, a, GATHER_GOLDENS, op->model, op->golden, NULL);
    if (op->same_golden || !gather_knows_absent(g))
        return store_golden_put(a->db, a, op, e);
    const struct db_cell row[] = {cell_str(g->tenant),        cell_str(op->model),
                                  cell_str(op->golden),       cell_int((int64_t)op->rev),
                                  cell_int((int64_t)op->def), cell_int(op->lifecycle),
                                  cell_int(op->readiness),    cell_str(NULL),
                                  cell_str(op->views),        cell_int((int64_t)op->said)};
    return gather_add(g, GATHER_GOLDENS, row, e);
}

/* `key` is in g->texts. */
static int gather_key(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                      const char *key, struct err *e)
{
    gather_find(g, a, GATHER_KEYS, op->model, key, NULL);
    size_t place = gather_place(g);
    if (place != SIZE_MAX) {
        gather_row(g, GATHER_KEYS, place)[GATHER_KEY_OWNER] = cell_str(op->golden);
        return 0;
    }
    if (!gather_knows_absent(g)) {
        if (gather_is_owned(g, a, op->model, key, op->golden))
            return 0;
        gather_void_owners(g);
        return store_key_put(a->db, a->env->tenant, op->model, key, op->golden, e);
    }
    const struct db_cell row[] = {cell_str(g->tenant), cell_str(op->model), cell_str(key),
                                  cell_str(op->golden)};
    return gather_add(g, GATHER_KEYS, row, e);
}

/* ---- keys, a JSON list of strings ---- */

/* What \uXXXX below 0x80 stands for, or -1. */
static int escaped_ascii(const char *p)
{
    static const char hex[] = "0123456789abcdef";
    if (p[0] != '0' || p[1] != '0' || p[2] < '0' || p[2] > '7' || p[3] == '\0')
        return -1;
    const char *low = strchr(hex, p[3]);
    return low == NULL ? -1 : (p[2] - '0') * 16 + (int)(low - hex);
}

/* The next string of a list, taken apart where it lies: 1, 0 at the end, -1 when it is written as
 * we do not write it. */
static int list_next(char **at, char **out)
{
    char *p = *at;
    if (*p == ']')
        return p[1] == '\0' ? 0 : -1;
    if ((*p != '[' && *p != ',') || p[1] != '"')
        return -1;
    char *to = p += 2;
    *out = p;
    while (*p != '"') {
        if (*p == '\0')
            return -1;
        if (*p != '\\') {
            *to++ = *p++;
            continue;
        }
        int c = p[1] == 'u' ? escaped_ascii(p + 2) : p[1] == '"' || p[1] == '\\' ? p[1] : -1;
        if (c <= 0)
            return -1;
        *to++ = (char)c;
        p += p[1] == 'u' ? 6 : 2;
    }
    *at = p + 1;
    *to = '\0';
    return 1;
}

static int keys_any(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                    struct err *e)
{
    AUTO(json_unref) json_t *list = json_read(op->new_keys, strlen(op->new_keys), e);
    if (list == NULL)
        return e->code;
    int rc = 0;
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        const json_t *k = json_array_get(list, i);
        const char *key = arena_strndup(&g->texts, json_string_value(k), json_string_length(k));
        rc = key == NULL ? err_set(e, ERR_NOMEM, "canon: a key") : gather_key(g, a, op, key, e);
    }
    return rc;
}

static int gather_keys(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                       struct err *e)
{
    char *list = arena_strndup(&g->texts, op->new_keys, strlen(op->new_keys)), *key;
    if (list == NULL)
        return err_set(e, ERR_NOMEM, "canon: keys");
    int rc = 0, more;
    while ((more = list_next(&list, &key)) > 0 && rc == 0)
        rc = gather_key(g, a, op, key, e);
    return more < 0 ? keys_any(g, a, op, e) : rc;
}

/* ---- an arrival ---- */

bool gather_takes(struct gather *g, const struct apply *a, const struct canon_op_arrive *op)
{
    gather_begin(g, a);
    return !g->direct && !op->withdraw && op->resumes == NULL && op->losers_count == 0 &&
           op->lose_keys == NULL;
}

static int gather_block(struct gather *g, char **texts, struct err *e)
{
    if (g->blocks_count == g->blocks_cap) {
        size_t cap = g->blocks_cap > 0 ? 2 * g->blocks_cap : 64;
        char **grown = mem_try_resize(g->blocks, cap * sizeof *grown);
        if (grown == NULL)
            return err_set(e, ERR_NOMEM, "canon: %zu arrivals", cap);
        g->blocks = grown;
        g->blocks_cap = cap;
    }
    g->blocks[g->blocks_count++] = TAKE(*texts);
    return 0;
}

/* What changes a row that is kept back changes it in the database. */
static bool gather_meets_held(struct gather *g, const struct apply *a,
                              const struct canon_op_arrive *op)
{
    if (op->has_source &&
        gather_find(g, a, GATHER_SOURCES, op->model, op->origin, op->source_id) != NULL)
        return true;
    return op->has_golden && gather_find(g, a, GATHER_GOLDENS, op->model, op->golden, NULL) != NULL;
}

static bool gather_is_full(const struct gather *g)
{
    bool full = false;
    for (size_t i = 0; i < GATHER_TABLES; i++)
        full |= g->tables[i].count >= GATHER_ROWS;
    return full;
}

int gather_arrive(struct gather *g, const struct apply *a, const struct canon_op_arrive *op,
                  char **texts, struct err *e)
{
    int rc = 0;
    if (gather_is_full(g) || gather_meets_held(g, a, op))
        rc = gather_flush(g, a, e);
    /* Nothing is written below that is kept back, so what the rows borrow stays. */
    if (rc == 0)
        rc = gather_block(g, texts, e);
    if (rc == 0)
        rc = gather_tenant(g, a, e);
    if (rc == 0)
        rc = gather_arrival(g, a, op, e);
    if (rc == 0 && op->has_source)
        rc = gather_source(g, a, op, e);
    if (rc == 0 && op->has_golden && op->new_keys != NULL)
        rc = gather_keys(g, a, op, e);
    if (rc == 0 && op->has_golden)
        rc = gather_golden(g, a, op, e);
    return rc;
}
