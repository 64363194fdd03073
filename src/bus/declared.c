/* What a source declares, applied: the rows of it become what the payload says, and the routes have
 * another revision when that means anything for a message. */
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"

/* A source's declarations, from a payload or from the rows. */
struct declared {
    struct arena arena;
    json_t *held;
    char source[BUS_SOURCE_BYTES + 1];
    const char **names; /* of groups, ascending, each once */
    size_t names_count;
    struct buf all, core; /* as text; `core` without the places in files */
};

static void declared_init(struct declared *d)
{
    memset(d, 0, sizeof *d);
    arena_init(&d->arena, GROUPS_BYTES_MAX);
    buf_init(&d->all, GROUPS_BYTES_MAX);
    buf_init(&d->core, GROUPS_BYTES_MAX);
    d->names = mem_new_array(GROUPS_MAX, sizeof *d->names);
}

static void declared_fini(struct declared *d)
{
    arena_fini(&d->arena);
    json_decref(d->held);
    mem_free(d->names);
    buf_fini(&d->all);
    buf_fini(&d->core);
}

static int declared_check(const struct declared *d, struct err *e)
{
    int rc = buf_check(&d->all, "what is declared of topics", e);
    return rc == 0 ? buf_check(&d->core, "what is declared of topics", e) : rc;
}

static bool declared_is(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && memcmp(buf_str(a), buf_str(b), a->len) == 0;
}

static int name_add(struct declared *d, const char *name, struct err *e)
{
    if (d->names_count > 0 && strcmp(d->names[d->names_count - 1], name) == 0)
        return 0;
    if (d->names_count == GROUPS_MAX)
        return err_set(e, ERR_TOO_LARGE, "at most %d groups", GROUPS_MAX);
    char *kept = arena_strndup(&d->arena, name, strlen(name));
    if (kept == NULL)
        return err_set(e, ERR_NOMEM, "the names of groups");
    d->names[d->names_count++] = kept;
    return 0;
}

static bool name_is_there(const struct declared *d, const char *name)
{
    size_t lo = 0, hi = d->names_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(d->names[mid], name);
        if (order == 0)
            return true;
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

/* ---- from the payload ---- */

static int payload_read(struct cursor *c, const char *op, struct declared *d, struct err *e)
{
    size_t n = 0;
    cursor_text(c, d->source, 1, BUS_SOURCE_BYTES);
    const char *text = cursor_bytes(c, &n);
    int rc = text != NULL ? cursor_whole(c, op, e)
                          : err_set(e, ERR_INVALID, "the payload of %s is damaged", op);
    if (rc != 0)
        return rc;
    d->held = json_read(text, n, e);
    if (d->held == NULL)
        return e->code;
    return json_is_array(d->held) ? 0 : err_set(e, ERR_INVALID, "the payload of %s is no list", op);
}

static const char *member(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static int member_line(const json_t *o)
{
    json_int_t line = json_integer_value(json_object_get(o, "line"));
    return line >= 0 && line < INT32_MAX ? (int)line : 0;
}

static int group_read(const json_t *o, struct group_declared *out, struct err *e)
{
    *out = (struct group_declared){.pattern = member(o, "pattern"),
                                   .group = member(o, "group"),
                                   .file = member(o, "file"),
                                   .line = member_line(o),
                                   .options = json_object_get(o, "options")};
    if (out->pattern == NULL || out->group == NULL || out->file == NULL ||
        !json_is_object(out->options))
        return err_set(e, ERR_INVALID, "a declaration of a group is damaged");
    return 0;
}

static int groups_read(struct declared *d, struct groups **out, struct err *e)
{
    size_t count = json_array_size(d->held);
    AUTO(mem_freep) struct group_declared *list = mem_try((count + 1) * sizeof *list);
    int rc = list != NULL ? 0 : err_set(e, ERR_NOMEM, "%zu groups", count);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = group_read(json_array_get(d->held, i), &list[i], e);
    if (rc == 0)
        rc = groups_build(list, count, out, e);
    if (rc == 0)
        rc = bus_groups_check(*out, e);
    if (rc != 0)
        return rc;
    bus_print_groups(&d->all, *out, true);
    bus_print_groups(&d->core, *out, false);
    for (size_t i = 0; rc == 0 && i < groups_count(*out); i++)
        rc = name_add(d, groups_at(*out, i)->name, e);
    return rc == 0 ? declared_check(d, e) : rc;
}

/* ---- from the rows ---- */

static struct db_stmt *of_source(const struct apply *a, const char *sql, const char *source,
                                 struct err *e)
{
    struct db_stmt *s = db_stmt_get(a->db, sql, e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, source);
    return s;
}

typedef int row_cb(struct db_stmt *s, struct declared *d, struct err *e);

/* Each row of the source that `sql` finds is printed by `row`. */
static int stored_read(const struct apply *a, const char *sql, const char *source, row_cb *row,
                       struct declared *d, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = of_source(a, sql, source, e);
    int rc = s == NULL ? e->code : 0;
    buf_addc(&d->all, '[');
    buf_addc(&d->core, '[');
    while (rc == 0 && (rc = db_step(s, e)) > 0)
        rc = row(s, d, e);
    buf_addc(&d->all, ']');
    buf_addc(&d->core, ']');
    return rc == 0 ? declared_check(d, e) : rc;
}

static int group_row(struct db_stmt *s, struct declared *d, struct err *e)
{
    struct group g = {.name = db_col_text(s, 0, NULL),
                      .pattern = db_col_text(s, 1, NULL),
                      .options = db_col_text(s, 2, NULL),
                      .file = db_col_text(s, 3, NULL),
                      .line = (int)db_col_int(s, 4)};
    bus_print_group(&d->all, &g, true);
    bus_print_group(&d->core, &g, false);
    return name_add(d, g.name, e);
}

static int topic_row(struct db_stmt *s, struct declared *d, struct err *e)
{
    (void)e;
    struct bus_topic t = {.pattern = db_col_text(s, 0, NULL),
                          .retain_ms = db_col_int(s, 1),
                          .unrouted = db_col_int(s, 2) != 0 ? UNROUTED_DROP : UNROUTED_KEEP,
                          .file = db_col_text(s, 3, NULL),
                          .line = (int)db_col_int(s, 4)};
    bus_print_topic(&d->all, &t, true);
    bus_print_topic(&d->core, &t, false);
    return 0;
}

/* ---- groups ---- */

static int rows_drop(const struct apply *a, const char *sql, const char *source, struct err *e)
{
    struct db_stmt *s = of_source(a, sql, source, e);
    return s == NULL ? e->code : db_run(s, e);
}

/* Two sources cannot both say what runs. */
static int group_is_free(const struct apply *a, const struct group *g, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        a->db, "SELECT file, line FROM bus_groups WHERE tenant = ?1 AND grp = ?2 AND pattern = ?3",
        e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, g->name);
    db_bind_str(s, 3, g->pattern);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    return err_field(e, ERR_CONFLICT, "group", "group '%s' listens to '%s' already, in %s:%d",
                     g->name, g->pattern, db_col_text(s, 0, NULL), (int)db_col_int(s, 1));
}

static int group_put(const struct apply *a, const char *source, const struct group *g,
                     struct err *e)
{
    int rc = group_is_free(a, g, e);
    struct db_stmt *s =
        rc != 0 ? NULL
                : db_stmt_get(a->db,
                              "INSERT INTO bus_groups(tenant, grp, pattern, source, options, file, "
                              "line) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                              e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, a->env->tenant);
    db_bind_str(s, 2, g->name);
    db_bind_str(s, 3, g->pattern);
    db_bind_str(s, 4, source);
    db_bind_str(s, 5, g->options);
    db_bind_str(s, 6, g->file);
    db_bind_int(s, 7, g->line);
    return db_run(s, e);
}

static int groups_put(const struct apply *a, const char *source, const struct groups *g,
                      struct err *e)
{
    int rc = rows_drop(a, "DELETE FROM bus_groups WHERE tenant = ?1 AND source = ?2", source, e);
    for (size_t i = 0; rc == 0 && i < groups_count(g); i++)
        rc = group_put(a, source, groups_at(g, i), e);
    return rc;
}

/* ---- groups that appear and disappear ---- */

/* Of a group's declarations the first that says where to start. */
static int group_start(const struct groups *g, const char *name, struct bus_start *out,
                       struct err *e)
{
    int rc = 0;
    *out = (struct bus_start){.from = BUS_FROM_NEW};
    for (size_t i = 0; rc == 0 && out->from == BUS_FROM_NEW && i < groups_count(g); i++) {
        const struct group *d = groups_at(g, i);
        if (strcmp(d->name, name) != 0)
            continue;
        AUTO(json_unref) json_t *o = json_read(d->options, strlen(d->options), e);
        rc = o == NULL ? e->code : bus_start_read(json_object_get(o, "start"), out, e);
    }
    return rc;
}

static int groups_places(const struct apply *a, const struct declared *before,
                         const struct declared *after, const struct groups *g, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < before->names_count; i++)
        if (!name_is_there(after, before->names[i]))
            rc = bus_place_go(a, before->names[i], e);
    for (size_t i = 0; rc == 0 && i < after->names_count; i++) {
        struct bus_start start;
        if (name_is_there(before, after->names[i]))
            continue;
        rc = group_start(g, after->names[i], &start, e);
        if (rc == 0)
            rc = bus_place_come(a, after->names[i], &start, e);
    }
    return rc;
}

static int routes_change(struct bus *b, const struct apply *a, const struct declared *before,
                         const struct declared *after, struct err *e)
{
    b->changed = true;
    if (declared_is(&before->core, &after->core))
        return 0;
    int rc = bus_patterns_tidy(b, a, e);
    return rc == 0 ? bus_next_revision(b, a, e) : rc;
}

BUS_APPLY(groups)
{
    struct declared before, after;
    struct groups *g = NULL;
    (void)version, (void)result;
    declared_init(&before);
    declared_init(&after);
    int rc = payload_read(c, "bus.groups", &after, e);
    if (rc == 0)
        rc = groups_read(&after, &g, e);
    if (rc == 0)
        rc = stored_read(a,
                         "SELECT grp, pattern, options, file, line FROM bus_groups WHERE tenant = "
                         "?1 AND source = ?2 ORDER BY grp, pattern",
                         after.source, group_row, &before, e);
    if (rc == 0 && !declared_is(&before.all, &after.all)) {
        rc = groups_put(a, after.source, g, e);
        if (rc == 0)
            rc = groups_places(a, &before, &after, g, e);
        if (rc == 0)
            rc = routes_change(self, a, &before, &after, e);
    }
    groups_free(g);
    declared_fini(&before);
    declared_fini(&after);
    return rc;
}

/* ---- topics ---- */

static int topics_read(struct declared *d, struct bus_topic *list, size_t *count, struct err *e)
{
    *count = json_array_size(d->held);
    if (*count > BUS_TOPICS_MAX)
        return err_set(e, ERR_TOO_LARGE, "at most %d topics", BUS_TOPICS_MAX);
    for (size_t i = 0; i < *count; i++) {
        const json_t *o = json_array_get(d->held, i);
        const json_t *retain = json_object_get(o, "retain");
        const char *unrouted = member(o, "unrouted");
        list[i] = (struct bus_topic){.pattern = member(o, "pattern"),
                                     .retain_ms = json_integer_value(retain),
                                     .file = member(o, "file"),
                                     .line = member_line(o)};
        if (list[i].pattern == NULL || list[i].file == NULL || unrouted == NULL ||
            !json_is_integer(retain))
            return err_set(e, ERR_INVALID, "a declaration of a topic is damaged");
        int rc = unrouted_read(unrouted, &list[i].unrouted, e);
        if (rc != 0)
            return rc;
    }
    int rc = bus_topics_check(list, *count, e);
    if (rc != 0)
        return rc;
    bus_print_topics(&d->all, list, *count, true);
    bus_print_topics(&d->core, list, *count, false);
    return declared_check(d, e);
}

static int topic_put(const struct apply *a, const char *source, const struct bus_topic *t,
                     struct err *e)
{
    struct db_stmt *s = of_source(a,
                                  "SELECT file, line FROM bus_topics WHERE tenant = ?1 AND source "
                                  "<> ?2 AND pattern = ?3",
                                  source, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 3, t->pattern);
    int rc = db_step(s, e);
    if (rc > 0)
        rc = err_field(e, ERR_CONFLICT, "topic", "topic '%s' is declared already, in %s:%d",
                       t->pattern, db_col_text(s, 0, NULL), (int)db_col_int(s, 1));
    db_stmt_done(s);
    if (rc != 0)
        return rc;
    s = of_source(a,
                  "INSERT INTO bus_topics(tenant, source, pattern, retain, unrouted, file, line) "
                  "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                  source, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 3, t->pattern);
    db_bind_int(s, 4, t->retain_ms);
    db_bind_int(s, 5, t->unrouted == UNROUTED_DROP);
    db_bind_str(s, 6, t->file);
    db_bind_int(s, 7, t->line);
    return db_run(s, e);
}

BUS_APPLY(topics)
{
    struct declared before, after;
    size_t count = 0;
    (void)version, (void)result;
    declared_init(&before);
    declared_init(&after);
    struct bus_topic *list = mem_new_array(BUS_TOPICS_MAX, sizeof *list);
    int rc = payload_read(c, "bus.topics", &after, e);
    if (rc == 0)
        rc = topics_read(&after, list, &count, e);
    if (rc == 0)
        rc = stored_read(a,
                         "SELECT pattern, retain, unrouted, file, line FROM bus_topics WHERE "
                         "tenant = ?1 AND source = ?2 ORDER BY pattern",
                         after.source, topic_row, &before, e);
    if (rc == 0 && !declared_is(&before.all, &after.all)) {
        rc = rows_drop(a, "DELETE FROM bus_topics WHERE tenant = ?1 AND source = ?2", after.source,
                       e);
        for (size_t i = 0; rc == 0 && i < count; i++)
            rc = topic_put(a, after.source, &list[i], e);
        if (rc == 0)
            rc = routes_change(self, a, &before, &after, e);
    }
    mem_free(list);
    declared_fini(&before);
    declared_fini(&after);
    return rc;
}
