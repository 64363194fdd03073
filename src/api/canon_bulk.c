/* Changing many golden records: POST and DELETE /api/{entity}/bulk of an entity that canon makes.
 * Each item is a statement of origin "direct", or takes one back; one unit by default, and with
 * ?atomic=false a unit and an outcome each, with the answers of other records. */
#include <string.h>

#include "api/canon_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "entity/read.h"

/* What was sent, and what came of it. */
struct bulk_item {
    struct err err; /* refused before it came to the engine */
    json_t *id;
    uint64_t if_version;           /* 0: whatever it is */
    struct canon_arrival *arrival; /* NULL: refused */
    json_t *doc;
};

struct bulk {
    struct bulk_item *items;
    size_t count;
    bool withdraws;
};

void canon_bulk_free(struct bulk *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++) {
        json_decref(b->items[i].id);
        json_decref(b->items[i].doc);
    }
    mem_free(b->items);
    mem_free(b);
}

/* ---- answers ---- */

static const struct err *item_error(const struct bulk_item *it)
{
    if (it->err.code != 0)
        return &it->err;
    return it->arrival->outcome == CANON_FAILED ? &it->arrival->err : NULL;
}

/* Of the record as it is now; an item that changed nothing has none of its own. */
static uint64_t item_version(const struct canon_post *p, const struct canon_arrival *a)
{
    uint64_t version = a->version;
    AUTO(buf_fini) struct buf out = BUF_INIT(API_RECORD_MAX);
    if (version == 0)
        entity_get(api_thread_of(p->req)->db, p->def, API_TENANT, a->golden_id, &out, &version,
                   NULL);
    return version;
}

enum {
    ITEM_UNCHANGED,
    ITEM_CREATED,
    ITEM_UPDATED,
    ITEM_REMOVED,
    ITEM_WITHDRAWN,
    ITEM_PARKED,
    ITEM_FAILED,
    ITEMS
};
static const char *const item_names[ITEMS] = {"unchanged", "created", "updated", "removed",
                                              "withdrawn", "parked",  "failed"};

static int item_outcome(const struct bulk *b, const struct bulk_item *it)
{
    if (item_error(it) != NULL)
        return ITEM_FAILED;
    if (b->withdraws)
        return ITEM_WITHDRAWN;
    if (it->arrival->outcome == CANON_PARKED)
        return ITEM_PARKED;
    if (it->arrival->outcome == CANON_NOOP)
        return ITEM_UNCHANGED;
    return it->arrival->version == 1 ? ITEM_CREATED : ITEM_UPDATED;
}

static void item_print_id(struct buf *out, const struct bulk_item *it)
{
    const char *id = json_string_value(it->id);
    if (it->arrival != NULL && it->arrival->golden_id[0] != '\0')
        id = it->arrival->golden_id;
    if (id == NULL)
        buf_adds(out, "null");
    else
        json_print_string(out, id, strlen(id));
}

static void item_print(const struct canon_post *p, struct buf *out, const struct bulk_item *it,
                       int outcome)
{
    buf_adds(out, "{\"id\":");
    item_print_id(out, it);
    buf_addf(out, ",\"outcome\":\"%s\"", item_names[outcome]);
    if (outcome == ITEM_FAILED) {
        buf_adds(out, ",\"error\":");
        api_print_problem(out, item_error(it), NULL);
    } else if (outcome == ITEM_PARKED) {
        buf_adds(out, ",\"reason\":");
        json_print_string(out, it->arrival->reason, strlen(it->arrival->reason));
        buf_addf(out, ",\"arrival\":\"%s\"", it->arrival->arrival_id);
    } else {
        buf_addf(out, ",\"version\":%llu", (unsigned long long)item_version(p, it->arrival));
    }
    buf_addc(out, '}');
}

/* What nobody said directly is not there to be taken back. */
static void bulk_words(struct canon_post *p)
{
    struct bulk *b = p->bulk;
    for (size_t i = 0; b->withdraws && i < b->count; i++) {
        struct canon_arrival *a = b->items[i].arrival;
        if (a != NULL && a->outcome == CANON_FAILED && a->err.code == ERR_NOT_FOUND)
            api_direct_unsaid(p->def, json_string_value(b->items[i].id), &a->err);
    }
}

static void bulk_answer(struct canon_post *p)
{
    bulk_words(p);
    const struct bulk *b = p->bulk;
    struct buf out = BUF_INIT(API_ANSWER_MAX);
    size_t counts[ITEMS] = {0};
    uint64_t seq = 0;
    buf_adds(&out, "{\"results\":[");
    for (size_t i = 0; i < b->count; i++) {
        const struct bulk_item *it = &b->items[i];
        int outcome = item_outcome(b, it);
        if (i > 0)
            buf_addc(&out, ',');
        item_print(p, &out, it, outcome);
        counts[outcome]++;
        if (it->arrival != NULL && it->arrival->seq > seq)
            seq = it->arrival->seq;
    }
    buf_adds(&out, "],\"counts\":{");
    for (int i = 0; i < ITEMS; i++)
        buf_addf(&out, "%s\"%s\":%zu", i > 0 ? "," : "", item_names[i], counts[i]);
    buf_adds(&out, "}}");
    if (seq > 0)
        http_header_uint(p->req, "X-Koan-Seq", seq);
    http_respond_buf(p->req, 200, API_JSON, &out);
}

/* All or nothing, and it was nothing. */
static void bulk_answer_refused(struct http_request *req, const struct bulk *b, size_t at)
{
    struct err e = *item_error(&b->items[at]);
    err_context(&e, "item %zu", at);
    struct buf more = BUF_INIT(4096);
    buf_addf(&more, "\"failed_op\":%zu", at);
    if (b->items[at].id != NULL) {
        buf_adds(&more, ",\"id\":");
        item_print_id(&more, &b->items[at]);
    }
    api_problem(req, &e, NULL, buf_str(&more));
    buf_fini(&more);
}

static void bulk_answer_whole(struct canon_post *p)
{
    bulk_words(p);
    const struct bulk *b = p->bulk;
    for (size_t i = 0; i < b->count; i++) {
        const struct err *e = item_error(&b->items[i]);
        if (e != NULL && e->code != ERR_CANCELED) {
            bulk_answer_refused(p->req, b, i);
            return;
        }
    }
    bulk_answer(p);
}

/* ---- what is asked ---- */

static int item_merged(struct api_thread *t, const struct entity_def *d, const char *id,
                       struct err *e)
{
    char live[ENTITY_ID_MAX + 1];
    int rc = canon_survivor(t->db, d->name, API_TENANT, id, live, e);
    if (rc == ERR_NOT_FOUND) {
        err_clear(e);
        return 0;
    }
    if (rc != 0 || strcmp(live, id) == 0)
        return rc;
    return err_field(e, ERR_CONFLICT, "id", "'%s' was merged into '%s': name that one", id, live);
}

static int item_take(struct api_thread *t, const struct entity_def *d, json_t *doc,
                     struct bulk_item *it, struct err *e)
{
    if (!json_is_object(doc))
        return err_set(e, ERR_INVALID, "a record is an object, not %s", json_type_name(doc));
    it->id = api_direct_id(t, NULL, doc);
    int rc = str_check_id(json_string_value(it->id), json_string_length(it->id), e);
    if (rc != 0) {
        json_decref(it->id);
        it->id = NULL;
        return rc;
    }
    rc = item_merged(t, d, json_string_value(it->id), e);
    if (rc == 0) {
        it->doc = json_incref(doc);
        api_direct_document(it->doc);
    }
    return rc;
}

static struct bulk *bulk_new(size_t count)
{
    struct bulk *b = mem_new(sizeof *b);
    b->count = count;
    b->items = mem_new_array(count + 1, sizeof *b->items); /* at most CANON_BULK_MAX */
    return b;
}

static struct bulk *bulk_take(struct api_thread *t, const struct entity_def *d, const json_t *list)
{
    struct bulk *b = bulk_new(json_array_size(list));
    for (size_t i = 0; i < b->count; i++)
        item_take(t, d, json_array_get(list, i), &b->items[i], &b->items[i].err);
    return b;
}

/* The index of the first that was refused, or their count. */
static size_t bulk_refused(const struct bulk *b)
{
    size_t at = 0;
    while (at < b->count && b->items[at].err.code == 0)
        at++;
    return at;
}

static size_t bulk_arrivals(struct http_request *req, struct bulk *b, bool atomic,
                            struct canon_arrival *many)
{
    size_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct bulk_item *it = &b->items[i];
        if (api_kept(req, atomic ? 0 : (uint32_t)i) != NULL)
            err_clear(&it->err); /* whatever is to be said now: it was done */
        if (it->err.code != 0)
            continue;
        it->arrival = &many[n++];
        it->arrival->origin = "direct";
        it->arrival->source_id = json_string_value(it->id);
        it->arrival->if_version = it->if_version;
        it->arrival->data = TAKE(it->doc);
    }
    return n;
}

/* One unit, or one each; what was refused before it came to the engine refuses all of one unit.
 * Takes the definition and what is asked. */
static void bulk_start(struct http_request *req, struct entity_def *def, struct canon_model *m,
                       struct bulk *b, bool atomic)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    size_t refused = bulk_refused(b);
    if (atomic && refused < b->count && api_kept(req, 0) == NULL) {
        bulk_answer_refused(req, b, refused);
        canon_bulk_free(b);
        canon_model_unref(m);
        return;
    }
    struct canon_arrival *many = mem_new_array(b->count + 1, sizeof *many);
    size_t n = bulk_arrivals(req, b, atomic, many);
    struct canon_post *p =
        canon_post_new(req, m, many, n, atomic ? bulk_answer_whole : bulk_answer);
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].arrival != NULL)
            b->items[i].arrival->part = (uint32_t)i;
    p->def = TAKE(d);
    p->bulk = b;
    p->r.whole = atomic;
    if (canon_post_recall(p))
        canon_post_end(p);
    else
        canon_post_start(p, b->withdraws ? CANON_POST_WITHDRAW : CANON_POST_ARRIVE);
}

static struct canon_model *bulk_model(struct http_request *req, const struct entity_def *d)
{
    struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    if (m == NULL)
        http_refuse(req, ERR_CONFLICT, "'%s' is not made by canon any more; try again", d->name);
    return m;
}

void api_direct_bulk(struct http_request *req, struct entity_def *def, json_t *docs, bool atomic)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    AUTO(json_unref) json_t *list = docs;
    struct canon_model *m = bulk_model(req, d);
    if (m == NULL)
        return;
    struct bulk *b = bulk_take(api_thread_of(req), d, list);
    json_decref(TAKE(list)); /* the documents go to the engine's thread */
    bulk_start(req, TAKE(d), m, b, atomic);
}

/* ---- withdrawing ---- */

static void item_withdraw(struct api_thread *t, const struct entity_def *d,
                          const struct entity_item *from, struct bulk_item *it)
{
    char live[ENTITY_ID_MAX + 1];
    it->id = json_string(from->id);
    it->if_version = from->if_version;
    if (canon_survivor(t->db, d->name, API_TENANT, from->id, live, &it->err) == 0 &&
        strcmp(live, from->id) != 0)
        err_field(&it->err, ERR_CONFLICT, "id", "'%s' was merged into '%s': name that one",
                  from->id, live);
}

void api_direct_bulk_remove(struct http_request *req, struct entity_def *def,
                            const struct entity_item *items, size_t count, bool atomic)
{
    AUTO(entity_def_unrefp) struct entity_def *d = def;
    struct canon_model *m = bulk_model(req, d);
    if (m == NULL)
        return;
    struct bulk *b = bulk_new(count);
    b->withdraws = true;
    for (size_t i = 0; i < count; i++)
        item_withdraw(api_thread_of(req), d, &items[i], &b->items[i]);
    bulk_start(req, TAKE(d), m, b, atomic);
}

/* What a filter finds by then is another matter: the answer is made of what is kept alone. */
bool api_direct_bulk_replayed(struct http_request *req, const struct entity_def *d)
{
    const struct api_kept *k = api_kept(req, 0);
    AUTO(api_model_unrefp) struct canon_model *m = api_model_of(api_thread_of(req)->api, d);
    struct cursor context;
    if (k == NULL || m == NULL)
        return false;
    cursor_init(&context, k->context.data, k->context.len);
    size_t count = canon_kept_count(context);
    if (count > CANON_BULK_MAX)
        return false;
    struct bulk *b = bulk_new(count);
    struct canon_arrival *many = mem_new_array(count + 1, sizeof *many);
    b->withdraws = true;
    for (size_t i = 0; i < count; i++) {
        b->items[i].id = json_string("");
        b->items[i].arrival = &many[i];
    }
    struct canon_post *p = canon_post_new(req, canon_model_ref(m), many, count, bulk_answer_whole);
    p->def = entity_def_ref((struct entity_def *)d);
    p->bulk = b;
    p->r.whole = true;
    if (!canon_post_recall(p))
        err_set(&p->r.err, ERR_INTERNAL, "what is kept of this key cannot be read");
    canon_post_end(p);
    return true;
}
