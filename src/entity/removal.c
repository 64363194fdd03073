/* A record goes. What goes or changes with it is found out first, as a whole, and only then
 * written: so a removal that is refused has changed nothing.
 *
 *   1. the closure: the record, and every record that refers to one of the closure with `cascade`
 *   2. who refers to one of the closure from outside: with `restrict` that is the end of it, with
 *      `null` the reference goes
 *
 * Order is by entity and id, so every node does the same. */
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "entity/build_priv.h"
#include "ledger/txn.h"

struct victim {
    const struct entity_def *def;
    size_t id_len;
    bool goes; /* else only references in it do */
    char id[];
};

struct removal {
    const struct row_change *c;
    struct victim **list; /* in the order found: parents in front */
    size_t count, cap;
    struct map *known; /* entity, NUL, id -> victim */
    /* the question under way */
    const struct entity_def *def;
    const struct entity_field *field;
    const struct victim *target;
};

static void removal_init(struct removal *r, const struct row_change *c)
{
    *r = (struct removal){.c = c, .known = map_new()};
}

static void removal_fini(struct removal *r)
{
    for (size_t i = 0; i < r->count; i++)
        mem_free(r->list[i]);
    mem_free(r->list);
    map_free(r->known, NULL);
}

static size_t victim_key(char out[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2], const char *entity,
                         const char *id, size_t n)
{
    size_t len = strlen(entity) + 1;
    memcpy(out, entity, len);
    memcpy(out + len, id, n);
    return len + n;
}

static struct victim *find(const struct removal *r, const char *entity, const char *id, size_t n)
{
    char key[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2];
    if (n > ENTITY_ID_MAX)
        return NULL;
    return map_get(r->known, key, victim_key(key, entity, id, n));
}

static int add(struct removal *r, const struct entity_def *d, const char *id, size_t n, bool goes,
               struct err *e)
{
    if (find(r, d->name, id, n) != NULL)
        return 0;
    struct row_change one = *r->c;
    one.def = d;
    one.key.id = id;
    one.key.id_len = n;
    int rc = migrate_check_held(d, r->c->a->at, e);
    if (rc < 0 || (rc = lease_check(&one, false, e)) < 0)
        return rc;
    if (r->count > ENTITY_REMOVE_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "removing %s '%.*s' would change over %d records that refer to it, which "
                       "wants a job, and there are none in this version; remove the records of %s "
                       "first",
                       r->c->def->name, (int)r->c->key.id_len, r->c->key.id, ENTITY_REMOVE_MAX,
                       d->name);
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 8 : 2 * r->cap;
        struct victim **more = mem_new_array(r->cap, sizeof(*more));
        if (r->count > 0)
            memcpy(more, r->list, r->count * sizeof(*more));
        mem_free(r->list);
        r->list = more;
    }
    struct victim *v = mem_new(sizeof(*v) + n + 1);
    v->def = d;
    v->goes = goes;
    v->id_len = n;
    memcpy(v->id, id, n);
    r->list[r->count++] = v;
    char key[ENTITY_NAME_MAX + ENTITY_ID_MAX + 2];
    map_put(r->known, key, victim_key(key, d->name, id, n), v);
    return 0;
}

static int add_cascade(void *arg, const char *id, size_t n, struct err *e)
{
    struct removal *r = arg;
    return add(r, r->def, id, n, true, e);
}

static int add_outside(void *arg, const char *id, size_t n, struct err *e)
{
    struct removal *r = arg;
    const struct victim *known = find(r, r->def->name, id, n);
    if (known != NULL && known->goes)
        return 0;
    if (entity_field_ref(r->field)->on_remove == REF_NULL)
        return add(r, r->def, id, n, false, e);
    return err_field(e, ERR_CONFLICT, r->field->name,
                     "%s '%.*s' is still referred to by %s '%.*s' (field '%s', on_remove = "
                     "restrict); remove or change that first",
                     r->target->def->name, (int)r->target->id_len, r->target->id, r->def->name,
                     (int)n, id, r->field->name);
}

static struct row_key key_of(const struct removal *r, const struct victim *v)
{
    struct row_key k = r->c->key;
    k.id = v->id;
    k.id_len = v->id_len;
    return k;
}

/* Everybody who refers to `v` in one of these ways. */
static int ask(struct removal *r, const struct victim *v, bool cascade, struct err *e)
{
    size_t count;
    const struct entity_def *const *all = entities_all(r->c->s, r->c->a, &count, e);
    if (all == NULL)
        return e->code;
    struct row_key k = key_of(r, v);
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t n = 0; all[i]->has_refs && n < all[i]->fields_count && rc == 0; n++) {
            const struct entity_field *f = entity_field_ref(&all[i]->fields[n]);
            if (f == NULL || strcmp(f->to, v->def->name) != 0 || f->on_remove == REF_NONE ||
                (f->on_remove == REF_CASCADE) != cascade)
                continue;
            if (copy_is_awaited(all[i], &all[i]->fields[n]))
                return err_set(e, ERR_UNAVAILABLE,
                               "field '%s' of %s is being indexed, so who refers to %s '%.*s' is "
                               "not known yet; try again soon",
                               all[i]->fields[n].name, all[i]->name, v->def->name, (int)v->id_len,
                               v->id);
            r->def = all[i];
            r->field = &all[i]->fields[n];
            r->target = v;
            rc = store_referring(r->c->a->db, all[i], r->field, &k,
                                 cascade ? add_cascade : add_outside, r, e);
        }
    }
    return rc;
}

static int plan(struct removal *r, struct err *e)
{
    int rc = add(r, r->c->def, r->c->key.id, r->c->key.id_len, true, e);
    for (size_t i = 0; i < r->count && rc == 0; i++)
        rc = ask(r, r->list[i], true, e);
    size_t closure = r->count;
    for (size_t i = 0; i < closure && rc == 0; i++)
        rc = ask(r, r->list[i], false, e);
    return rc;
}

/* ---- carrying it out ---- */

static bool goes(const struct removal *r, const struct entity_field *f, const json_t *v)
{
    const struct victim *to = find(r, f->to, json_string_value(v), json_string_length(v));
    return to != NULL && to->goes;
}

/* The references of this record to what goes. */
static int detach(struct removal *r, const struct row_change *c, const struct stored_row *old,
                  struct err *e)
{
    AUTO(json_unref) json_t *body = json_read(old->body, old->body_len, e);
    if (body == NULL)
        return ERR_CORRUPT;
    for (size_t i = 0; i < c->def->fields_count; i++) {
        const struct entity_field *f = entity_field_ref(&c->def->fields[i]);
        const char *name = c->def->fields[i].name;
        json_t *v = json_object_get(body, name);
        if (f == NULL || f->on_remove != REF_NULL || v == NULL)
            continue;
        for (size_t n = json_array_size(v); n > 0; n--) {
            if (goes(r, f, json_array_get(v, n - 1)))
                json_array_remove(v, n - 1);
        }
        if (json_is_string(v) && goes(r, f, v))
            json_object_del(body, name);
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(ENTITY_RECORD_BYTES_MAX);
    int rc = json_print(body, &text, e);
    if (rc < 0 || (rc = buf_check(&text, "a record", e)) < 0)
        return rc;
    struct new_body b = {
        .body = buf_str(&text), .body_len = text.len, .keys = old->keys, .keys_len = old->keys_len};
    return rows_update(c, old, &b, e);
}

static int carry_out(struct removal *r, const struct victim *v, struct err *e)
{
    struct row_change c = *r->c;
    c.def = v->def;
    c.key = key_of(r, v);
    if (v != r->list[0])
        c.how = v->goes ? HOW_CASCADE : HOW_DETACH;
    AUTO(stored_row_fini) struct stored_row old;
    stored_row_init(&old);
    int rc = store_find(c.a->db, c.def, &c.key, &old, e);
    if (rc <= 0)
        return rc < 0 ? rc
                      : err_set(e, ERR_INTERNAL, "%s '%.*s' is gone", c.def->name, (int)v->id_len,
                                v->id);
    return v->goes ? rows_remove(&c, &old, e) : detach(r, &c, &old, e);
}

/* Nobody can refer to it: the way of most removals. */
static int is_free(const struct row_change *c, bool *out, struct err *e)
{
    size_t count;
    const struct entity_def *const *all = entities_all(c->s, c->a, &count, e);
    if (all == NULL)
        return e->code;
    *out = true;
    for (size_t i = 0; i < count && *out; i++) {
        for (size_t n = 0; all[i]->has_refs && n < all[i]->fields_count; n++) {
            const struct entity_field *f = entity_field_ref(&all[i]->fields[n]);
            *out = *out && (f == NULL || strcmp(f->to, c->def->name) != 0);
        }
    }
    return 0;
}

int removal_run(const struct row_change *c, const struct stored_row *old, struct err *e)
{
    bool free = false;
    int rc = migrate_check_held(c->def, c->a->at, e);
    if (rc < 0 || (rc = is_free(c, &free, e)) < 0)
        return rc;
    if (free)
        return rows_remove(c, old, e);
    AUTO(removal_fini) struct removal r;
    removal_init(&r, c);
    rc = plan(&r, e);
    /* From the far end: who refers goes before what it refers to. */
    for (size_t i = r.count; i > 0 && rc == 0; i--)
        rc = carry_out(&r, r.list[i - 1], e);
    return rc;
}
