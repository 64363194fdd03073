/* References on the way in: what a record refers to must be there. */
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"
#include "entity/entity_priv.h"
#include "ledger/txn.h"

static int read_body(const struct row_change *c, const char *body, size_t n, json_t **out,
                     struct err *e)
{
    *out = json_read(body, n, e);
    return *out != NULL ? 0
                        : err_set(e, ERR_CORRUPT, "%s '%.*s' is not JSON", c->def->name,
                                  (int)c->key.id_len, c->key.id);
}

/* `field` is `f`, or the list of it. */
static int check_target(const struct row_change *c, const struct entity_field *field,
                        const struct entity_field *f, const json_t *v, struct err *e)
{
    struct row_key k = c->key;
    k.id = json_string_value(v);
    k.id_len = json_string_length(v);
    bool own = strcmp(f->to, c->def->name) == 0 && k.id_len == c->key.id_len &&
               memcmp(k.id, c->key.id, k.id_len) == 0;
    if (own)
        return 0;
    struct err unknown = ERR_INIT;
    const struct entity_def *to = entities_live(c->s, c->a, f->to, strlen(f->to), &unknown);
    if (to == NULL && unknown.code != ERR_NOT_FOUND) {
        *e = unknown;
        return e->code;
    }
    int rc = to != NULL ? store_exists(c->a->db, to, &k, e) : 0;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return err_field(e, ERR_CONFLICT, field->name,
                     "field '%s' of %s: there is no %s '%.*s' to refer to%s", field->name,
                     c->def->name, f->to, (int)k.id_len, k.id,
                     to == NULL ? ", nor such an entity"
                                : "; save it first, or in front in the "
                                  "same unit");
}

/* The elements that `before` (or NULL) does not have, each once. */
static int check_list(const struct row_change *c, const struct entity_field *field,
                      const json_t *list, const json_t *before, struct err *e)
{
    struct map *known = map_new();
    size_t i;
    json_t *v;
    int rc = 0;
    json_array_foreach(before, i, v) map_puts(known, json_string_value(v), v);
    json_array_foreach(list, i, v)
    {
        if (rc == 0 && map_gets(known, json_string_value(v)) == NULL) {
            map_puts(known, json_string_value(v), v);
            rc = check_target(c, field, field->of, v, e);
        }
    }
    map_free(known, NULL);
    return rc;
}

int refs_check(const struct row_change *c, const struct new_body *b, const struct stored_row *old,
               struct err *e)
{
    AUTO(json_unref) json_t *body = NULL;
    AUTO(json_unref) json_t *before = NULL;
    int rc = read_body(c, b->body, b->body_len, &body, e);
    if (rc == 0 && old != NULL)
        rc = read_body(c, old->body, old->body_len, &before, e);
    for (size_t i = 0; i < c->def->fields_count && rc == 0; i++) {
        const struct entity_field *field = &c->def->fields[i], *f = entity_field_ref(field);
        const json_t *v = json_object_get(body, field->name),
                     *was = json_object_get(before, field->name);
        if (f == NULL || f->unchecked || v == NULL || json_equal(v, was))
            continue;
        rc = field->kind == KIND_LIST ? check_list(c, field, v, was, e)
                                      : check_target(c, field, f, v, e);
    }
    return rc;
}
