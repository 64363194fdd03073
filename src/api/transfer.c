/* POST /api/{entity}/copy, /move, /mirror: the records of a filter into another partition, as one
 * unit.
 *
 *     {"filter": {..}, "from": "draft", "to": "live"}        without "from" or "to": in no
 * partition
 *
 *   READ (pool, one snapshot)  what matches; for a mirror both sides of each
 *   WRITE                      one entity_write, on condition that what was read is still so
 *
 * copy makes the target's records like the source's. move removes them from the source too, which
 * to the source is a removal like any other (on_remove, before_remove, soft_remove). mirror makes
 * both sides alike: what one side lacks is copied to it, where they differ `prefer` decides
 * (latest, source, target), or only reports. */
#include <string.h>

#include "api/records_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/filter.h"
#include "entity/read.h"

enum { TRANSFER_MAX = ENTITY_BULK_MAX / 2 /* a move is two changes a record */ };
enum transfer_kind { TRANSFER_COPY, TRANSFER_MOVE, TRANSFER_MIRROR };
enum transfer_prefer { PREFER_LATEST, PREFER_SOURCE, PREFER_TARGET, PREFER_REPORT };

static const char *const prefer_names[] = {"latest", "source", "target", "report"};

/* One record and what becomes of it. */
struct transfer_step {
    json_t *source, *target; /* as they were read, or NULL */
    const char *difference;  /* of a mirror; NULL: none */
    bool to_source;          /* the target's record is copied back */
    bool copies;
    size_t item; /* its first */
};

struct transfer {
    struct api_job job; /* first */
    enum transfer_kind kind;
    enum transfer_prefer prefer;
    struct entity_def *def;
    struct filter *filter;
    char from[ENTITY_NAME_MAX + 1], to[ENTITY_NAME_MAX + 1];
    struct transfer_step *steps;
    size_t count;
    struct entity_item *items;
    size_t items_count;
};

static void transfer_free(struct transfer *t)
{
    for (size_t i = 0; i < t->count; i++) {
        json_decref(t->steps[i].source);
        json_decref(t->steps[i].target);
    }
    for (size_t i = 0; i < t->items_count; i++)
        entity_item_fini(&t->items[i]);
    mem_free(t->items);
    mem_free(t->steps);
    filter_free(t->filter);
    entity_def_unref(t->def);
    mem_free(t);
}

/* ---- reading ---- */

static const char *transfer_scope(const char *part, char room[2 * ENTITY_NAME_MAX])
{
    snprintf(room, 2 * ENTITY_NAME_MAX, API_TENANT "%s%s", *part != '\0' ? "/" : "", part);
    return room;
}

static int transfer_ids(struct transfer *t, struct db *db, const char *part, json_t *all,
                        struct err *e)
{
    char scope[2 * ENTITY_NAME_MAX];
    AUTO(json_unref) json_t *ids = NULL;
    int rc =
        entity_query_ids(db, t->def, transfer_scope(part, scope), t->filter, TRANSFER_MAX, &ids, e);
    size_t i;
    json_t *id;
    json_array_foreach(ids, i, id) json_object_set_new(all, json_string_value(id), json_true());
    if (rc == ERR_TOO_LARGE || (rc == 0 && json_object_size(all) > TRANSFER_MAX))
        return err_field(e, ERR_TOO_LARGE, "filter",
                         "over %d records match, which wants a job, and there are none in this "
                         "version; move them in parts",
                         TRANSFER_MAX);
    return rc;
}

static int transfer_read_one(struct transfer *t, struct db *db, const char *part, const char *id,
                             json_t **out, struct err *e)
{
    char scope[2 * ENTITY_NAME_MAX];
    struct err gone = ERR_INIT;
    int rc = entity_get_json(db, t->def, transfer_scope(part, scope), id, out, NULL, &gone);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        *e = gone;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int transfer_read(struct transfer *t, struct db *db, struct err *e)
{
    AUTO(json_unref) json_t *ids = json_object();
    int rc = transfer_ids(t, db, t->from, ids, e);
    if (rc == 0 && t->kind == TRANSFER_MIRROR)
        rc = transfer_ids(t, db, t->to, ids, e);
    if (rc < 0)
        return rc;
    t->steps = mem_new_array(json_object_size(ids) + 1, sizeof *t->steps);
    const char *id;
    json_t *v;
    json_object_foreach(ids, id, v)
    {
        struct transfer_step *s = &t->steps[t->count++];
        rc = transfer_read_one(t, db, t->from, id, &s->source, e);
        if (rc == 0)
            rc = transfer_read_one(t, db, t->to, id, &s->target, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- deciding ---- */

static bool transfer_same(const struct entity_def *d, const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < d->fields_count; i++) {
        const json_t *x = json_object_get(a, d->fields[i].name),
                     *y = json_object_get(b, d->fields[i].name);
        if (x != y && !json_equal(x, y))
            return false;
    }
    return true;
}

/* Times are texts of one form: they compare as they are. */
static bool target_is_later(const struct transfer_step *s)
{
    const char *source = json_string_value(json_object_get(s->source, "updated_at")),
               *target = json_string_value(json_object_get(s->target, "updated_at"));
    return strcmp(target, source) > 0;
}

static void transfer_decide(const struct transfer *t, struct transfer_step *s)
{
    s->copies = true;
    if (t->kind != TRANSFER_MIRROR)
        return;
    if (s->source == NULL || s->target == NULL) {
        s->difference = s->source == NULL ? "only_in_target" : "only_in_source";
        s->to_source = s->source == NULL;
    } else if (transfer_same(t->def, s->source, s->target)) {
        s->copies = false;
        return;
    } else {
        s->difference = "differs";
        s->to_source =
            t->prefer == PREFER_TARGET || (t->prefer == PREFER_LATEST && target_is_later(s));
    }
    s->copies = t->prefer != PREFER_REPORT;
}

/* ---- writing ---- */

static uint64_t transfer_version(const json_t *record)
{
    return (uint64_t)json_integer_value(json_object_get(record, "version"));
}

/* On condition that what is copied is still what was read. Move says so with its removal. */
static int transfer_compose(struct entity_write *w, struct txn *txn, bool before, struct err *e)
{
    (void)e;
    struct transfer *t = ((struct records_write *)w)->more;
    for (size_t i = 0; before && t->kind != TRANSFER_MOVE && i < t->count; i++) {
        const struct transfer_step *s = &t->steps[i];
        if (!s->copies)
            continue;
        const json_t *from = s->to_source ? s->target : s->source;
        const char *part = s->to_source ? t->to : t->from;
        char name[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2];
        snprintf(name, sizeof name, "%s%s%s", part, *part != '\0' ? "/" : "",
                 json_string_value(json_object_get(from, "id")));
        entity_txn_if_version(txn, t->def, name, transfer_version(from));
    }
    return 0;
}

static void transfer_add(struct transfer *t, struct transfer_step *s)
{
    const json_t *from = s->to_source ? s->target : s->source;
    const json_t *over = s->to_source ? s->source : s->target;
    const char *id = json_string_value(json_object_get(from, "id"));
    struct entity_item *it = &t->items[t->items_count++];
    s->item = (size_t)(it - t->items);
    it->verb = ENTITY_SAVE;
    it->doc = json_deep_copy(from);
    str_copy(it->id, sizeof it->id, id);
    if (t->kind == TRANSFER_MIRROR || t->def->require_version) {
        it->if_version = over != NULL ? transfer_version(over) : 0;
        it->if_absent = over == NULL;
    }
    if (t->kind != TRANSFER_MOVE)
        return;
    it = &t->items[t->items_count++];
    it->verb = ENTITY_REMOVE;
    str_copy(it->id, sizeof it->id, id);
    it->if_version = transfer_version(from);
}

static void transfer_partitions(struct transfer *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct transfer_step *s = &t->steps[i];
        if (!s->copies)
            continue;
        str_copy(t->items[s->item].partition, ENTITY_NAME_MAX + 1, s->to_source ? t->from : t->to);
        if (t->kind == TRANSFER_MOVE)
            str_copy(t->items[s->item + 1].partition, ENTITY_NAME_MAX + 1, t->from);
    }
}

/* ---- the answer ---- */

static const char *transfer_outcome(const struct transfer *t, const struct transfer_step *s)
{
    if (!s->copies)
        return s->difference != NULL ? "reported" : "unchanged";
    return t->kind == TRANSFER_MOVE ? "moved"
                                    : entity_outcome_name(t->items[s->item].result.outcome);
}

static void transfer_answer(struct http_request *req, const struct transfer *t, uint64_t seq)
{
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t changed = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < t->count; i++) {
        const struct transfer_step *s = &t->steps[i];
        const char *id =
            json_string_value(json_object_get(s->source != NULL ? s->source : s->target, "id"));
        const char *outcome = transfer_outcome(t, s);
        changed += s->copies && strcmp(outcome, "unchanged") != 0;
        buf_adds(&out, i > 0 ? ",{\"id\":" : "{\"id\":");
        json_print_string(&out, id, strlen(id));
        if (s->difference != NULL)
            buf_addf(&out, ",\"difference\":\"%s\"", s->difference);
        if (s->copies && t->kind == TRANSFER_MIRROR)
            buf_addf(&out, ",\"into\":\"%s\"", s->to_source ? "source" : "target");
        buf_addf(&out, ",\"outcome\":\"%s\"}", outcome);
    }
    buf_addf(&out, "],\"matched\":%zu,\"changed\":%zu}", t->count, changed);
    if (seq > 0)
        http_header_uint(req, "X-Koan-Seq", seq);
    http_respond_buf(req, 200, API_JSON, &out);
}

/* ---- a request that came before ---- */

enum { KEPT_COPIES = 8, KEPT_TO_SOURCE = 16, KEPT_DIFFERENCE = 7 };
static const char *const differences[] = {"only_in_target", "only_in_source", "differs"};

static uint8_t step_flags(const struct transfer_step *s)
{
    unsigned flags = (s->copies ? KEPT_COPIES : 0u) | (s->to_source ? KEPT_TO_SOURCE : 0u);
    for (unsigned i = 0; s->difference != NULL && i < ARRAY_LEN(differences); i++)
        if (strcmp(s->difference, differences[i]) == 0)
            flags |= i + 1;
    return (uint8_t)flags;
}

/* Behind the items: every record that matched and what became of it. */
static void transfer_context(const struct entity_write *w, size_t first, size_t count,
                             struct buf *out)
{
    const struct transfer *t = ((const struct records_write *)w)->more;
    records_context(w, first, count, out);
    buf_add_u32(out, (uint32_t)t->count);
    for (size_t i = 0; i < t->count; i++) {
        const struct transfer_step *s = &t->steps[i];
        const json_t *record = s->source != NULL ? s->source : s->target;
        buf_add_text(out, json_string_value(json_object_get(record, "id")));
        buf_add_u8(out, step_flags(s));
        buf_add_u32(out, (uint32_t)s->item);
    }
}

static bool transfer_recall_step(struct transfer *t, struct transfer_step *s, struct cursor *c)
{
    size_t n = 0;
    const char *id = cursor_bytes(c, &n);
    uint8_t flags = cursor_u8(c);
    s->item = cursor_u32(c);
    s->copies = flags & KEPT_COPIES;
    s->to_source = flags & KEPT_TO_SOURCE;
    unsigned difference = flags & KEPT_DIFFERENCE;
    if (c->bad || difference > ARRAY_LEN(differences) || (s->copies && s->item >= t->items_count))
        return false;
    s->difference = difference > 0 ? differences[difference - 1] : NULL;
    s->source = json_pack("{s:o}", "id", json_stringn(id, n));
    return s->source != NULL;
}

static bool transfer_recall(struct transfer *t, const struct api_kept *k)
{
    struct cursor c;
    int count = records_kept_count(k);
    t->items_count = count > 0 ? (size_t)count : 0;
    t->items = mem_new_array(t->items_count + 1, sizeof *t->items);
    if (count < 0 || !records_kept_items(k, t->items, t->items_count, &c, NULL))
        return false;
    size_t steps = cursor_u32(&c);
    if (steps > 2 * (size_t)TRANSFER_MAX)
        return false;
    t->steps = mem_new_array(steps + 1, sizeof *t->steps);
    for (; t->count < steps; t->count++)
        if (!transfer_recall_step(t, &t->steps[t->count], &c))
            return false;
    return !c.bad && cursor_left(&c) == 0;
}

static bool transfer_replayed(struct http_request *req, enum transfer_kind kind)
{
    const struct api_kept *k = api_kept(req, 0);
    if (k == NULL)
        return false;
    struct transfer *t = mem_new(sizeof *t);
    t->kind = kind;
    bool whole = transfer_recall(t, k);
    if (whole) {
        api_replayed(req);
        transfer_answer(req, t, k->seq);
    }
    transfer_free(t);
    return whole;
}

/* ---- the end ---- */

static const struct entity_item *transfer_fault(const struct transfer *t)
{
    for (size_t i = 0; i < t->items_count; i++) {
        if (t->items[i].err.code != 0 && t->items[i].err.code != ERR_CANCELED)
            return &t->items[i];
    }
    return NULL;
}

static void transfer_refused(struct http_request *req, const struct transfer *t,
                             const struct err *why)
{
    const struct entity_item *it = transfer_fault(t);
    struct err e = it != NULL ? it->err : *why;
    if (it != NULL)
        err_context(&e, "record '%.64s'", it->id);
    api_problem(req, &e, it != NULL ? it->errors : NULL, NULL);
}

static void transfer_written(struct entity_write *w)
{
    struct records_write *op = (struct records_write *)w;
    struct http_request *req = op->req;
    struct transfer *t = op->more;
    struct err e = w->err;
    uint64_t seq = w->seq;
    struct entity_def *d = op->def;
    entity_write_fini(w);
    if (e.code == 0)
        transfer_answer(req, t, seq);
    else if (!api_once_again(req) || !transfer_replayed(req, t->kind))
        transfer_refused(req, t, &e);
    entity_def_unref(d);
    transfer_free(t);
}

static void transfer_write(struct http_request *req, struct transfer *t)
{
    t->items = mem_new_array(2 * t->count + 1, sizeof *t->items);
    for (size_t i = 0; i < t->count; i++) {
        transfer_decide(t, &t->steps[i]);
        if (t->steps[i].copies)
            transfer_add(t, &t->steps[i]);
    }
    if (t->items_count == 0 && api_once_key(req) == NULL) {
        transfer_answer(req, t, 0);
        transfer_free(t);
        return;
    }
    struct records_write *op =
        records_write_new(req, entity_def_ref(t->def), t->items, t->items_count, transfer_written);
    transfer_partitions(t);
    op->more = t;
    op->w.compose = transfer_compose;
    op->w.context = transfer_context;
    records_write_start(op);
}

/* ---- the request ---- */

static void transfer_run(struct api_job *j, struct db *db)
{
    struct transfer *t = (struct transfer *)j;
    if (db_snapshot_begin(db, &j->err) != 0)
        return;
    transfer_read(t, db, &j->err);
    db_snapshot_end(db);
}

static void transfer_done(struct api_job *j)
{
    struct transfer *t = (struct transfer *)j;
    struct http_request *req = j->req;
    if (j->err.code == 0) {
        transfer_write(req, t);
        return;
    }
    http_problem(req, &j->err);
    transfer_free(t);
}

static int transfer_partition(const json_t *body, const char *key, char out[ENTITY_NAME_MAX + 1],
                              struct err *e)
{
    const char *name;
    int rc = json_get_string(body, key, &name, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (rc == 0 && (rc = str_check_name(name, "partition", e)) == 0)
        str_copy(out, ENTITY_NAME_MAX + 1, name);
    return rc < 0 ? err_context(e, "%s", key) : 0;
}

static int transfer_prefer_of(struct transfer *t, const json_t *body, struct err *e)
{
    const char *name;
    int rc = json_get_string(body, "prefer", &name, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(prefer_names); i++) {
        t->prefer = (enum transfer_prefer)i;
        if (strcmp(name, prefer_names[i]) == 0)
            return 0;
    }
    return rc < 0 ? rc
                  : err_field(e, ERR_INVALID, "prefer",
                              "prefer: '%.40s' is none of latest, source, target, report", name);
}

static int transfer_parse(struct transfer *t, const json_t *body, struct err *e)
{
    static const char *const names[] = {"filter", "from", "to", "prefer"};
    size_t count = t->kind == TRANSFER_MIRROR ? ARRAY_LEN(names) : ARRAY_LEN(names) - 1;
    int rc = json_only_keys(body, "the body", names, count, e);
    if (rc == 0 && json_object_get(body, "filter") == NULL)
        rc = err_field(e, ERR_INVALID, "filter", "a filter says which records; {} is all of them");
    if (rc < 0 || (rc = filter_parse(t->def, json_object_get(body, "filter"), &t->filter, e)) < 0 ||
        (rc = transfer_partition(body, "from", t->from, e)) < 0 ||
        (rc = transfer_partition(body, "to", t->to, e)) < 0 ||
        (rc = transfer_prefer_of(t, body, e)) < 0)
        return rc;
    if (strcmp(t->from, t->to) == 0)
        return err_field(e, ERR_INVALID, "to", "from and to are the same partition");
    return 0;
}

static void transfer_begin(struct http_request *req, enum transfer_kind kind)
{
    if (!API_QUERY_NONE(req) || !api_once(req) || !records_lease(req, NULL))
        return;
    AUTO(entity_def_unrefp) struct entity_def *d = api_entity(req);
    if (d == NULL)
        return;
    AUTO(api_model_unrefp)
    struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    if (m != NULL) {
        http_refuse(req, ERR_UNSUPPORTED, "'%s' is made by canon, which has no partitions",
                    d->name);
        return;
    }
    AUTO(json_unref) json_t *body = api_body_object(req);
    if (body == NULL || transfer_replayed(req, kind))
        return;
    struct err e = ERR_INIT;
    struct transfer *t = mem_new(sizeof *t);
    t->kind = kind;
    t->def = TAKE(d);
    t->job.run = transfer_run;
    t->job.done = transfer_done;
    if (transfer_parse(t, body, &e) == 0) {
        api_job_start(&t->job, req);
        return;
    }
    http_problem(req, &e);
    transfer_free(t);
}

static void transfer_copy(struct http_request *req)
{
    transfer_begin(req, TRANSFER_COPY);
}

static void transfer_move(struct http_request *req)
{
    transfer_begin(req, TRANSFER_MOVE);
}

static void transfer_mirror(struct http_request *req)
{
    transfer_begin(req, TRANSFER_MIRROR);
}

static const struct http_route transfer_table[] = {
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/copy", .handler = transfer_copy},
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/move", .handler = transfer_move},
    {.verb = HTTP_VERB_POST, .pattern = "/api/:entity/mirror", .handler = transfer_mirror},
};
const struct api_routes api_transfer_routes = {transfer_table, ARRAY_LEN(transfer_table)};
