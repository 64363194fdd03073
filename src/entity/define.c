/* entity.define: a definition takes effect, or says why not. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "entity/migrate.h"

/* ---- is it narrower? ---- */

static bool kind_widens(enum entity_kind from, enum entity_kind to)
{
    if (from == to)
        return true;
    if (to == KIND_JSON)
        return from != KIND_DECIMAL;
    if (to == KIND_NUMBER)
        return from == KIND_INT;
    return to == KIND_TEXT &&
           (from == KIND_EMAIL || from == KIND_URL || from == KIND_CHOICE || from == KIND_UUID ||
            from == KIND_REF || from == KIND_TIME || from == KIND_DATE);
}

static int compare_bounds(const struct entity_field *a, const struct entity_field *b, bool is_min)
{
    const char *x = is_min ? a->min_text : a->max_text, *y = is_min ? b->min_text : b->max_text;
    if (x != NULL && y != NULL)
        return strcmp(x, y);
    if (a->kind == KIND_NUMBER && b->kind == KIND_NUMBER) {
        double m = is_min ? a->min_number : a->max_number,
               n = is_min ? b->min_number : b->max_number;
        return m < n ? -1 : m > n;
    }
    int64_t m = is_min ? a->min_int : a->max_int, n = is_min ? b->min_int : b->max_int;
    return m < n ? -1 : m > n;
}

static const char *bound_narrows(const struct entity_field *a, const struct entity_field *b)
{
    if (b->kind == KIND_JSON)
        return NULL;
    bool same_kind = a->kind == b->kind;
    if (b->has_min && (!a->has_min || !same_kind || compare_bounds(b, a, true) > 0))
        return "has a higher min";
    if (b->has_max && (!a->has_max || !same_kind || compare_bounds(b, a, false) < 0))
        return "has a lower max";
    /* Without a max, text and bytes end at a limit of their own. */
    if (a->has_max && !b->has_max && (b->kind == KIND_TEXT || b->kind == KIND_BYTES) &&
        a->max_int > ENTITY_TEXT_BYTES / 4)
        return "has lost its max";
    return NULL;
}

static bool choice_is_gone(const struct entity_field *a, const struct entity_field *b)
{
    for (size_t i = 0; i < a->choices_count; i++) {
        size_t k = 0;
        while (k < b->choices_count && strcmp(a->choices[i], b->choices[k]) != 0)
            k++;
        if (k == b->choices_count)
            return true;
    }
    return false;
}

const char *define_field_narrows(const struct entity_field *a, const struct entity_field *b)
{
    if (!kind_widens(a->kind, b->kind))
        return "changes its kind";
    if (b->kind == KIND_JSON)
        return NULL;
    if (b->required && !a->required)
        return "becomes required";
    if (b->pattern_text != NULL &&
        (a->pattern_text == NULL || strcmp(a->pattern_text, b->pattern_text) != 0))
        return "has another pattern";
    if (b->kind == KIND_CHOICE && choice_is_gone(a, b))
        return "loses a choice";
    if (b->of != NULL && a->of == NULL)
        return "has an 'of'";
    if (b->of == NULL && a->of != NULL && entity_field_has_decimal(a->of))
        return "loses its 'of'";
    if (b->kind == KIND_REF && strcmp(a->to, b->to) != 0)
        return "refers to another entity";
    if (b->kind == KIND_REF && a->unchecked && !b->unchecked)
        return "is checked from now on";
    const char *inside = b->of != NULL ? define_field_narrows(a->of, b->of) : NULL;
    return inside != NULL ? inside : bound_narrows(a, b);
}

bool define_is_narrower(const struct entity_def *from, const struct entity_def *to, char *why,
                        size_t cap)
{
    for (size_t i = 0; i < from->fields_count; i++) {
        const struct entity_field *a = &from->fields[i], *b = entity_def_field(to, a->name);
        const char *what = b == NULL ? "is gone" : define_field_narrows(a, b);
        if (what != NULL) {
            snprintf(why, cap, "field '%s' %s", a->name, what);
            return true;
        }
    }
    for (size_t i = 0; i < to->fields_count; i++) {
        const struct entity_field *b = &to->fields[i];
        if (entity_def_field(from, b->name) == NULL && b->required && b->default_json == NULL) {
            snprintf(why, cap, "field '%s' is new and required, without a default", b->name);
            return true;
        }
    }
    return false;
}

bool define_narrows_otherwise(const struct entity_def *from, const struct entity_def *to)
{
    for (size_t i = 0; i < from->fields_count; i++) {
        const struct entity_field *b = entity_def_field(to, from->fields[i].name);
        if (b != NULL && define_field_narrows(&from->fields[i], b) != NULL)
            return true;
    }
    for (size_t i = 0; i < to->fields_count; i++) {
        const struct entity_field *b = &to->fields[i];
        if (entity_def_field(from, b->name) == NULL && b->required && b->default_json == NULL)
            return true;
    }
    return false;
}

/* ---- do the rows fit? ---- */

struct fitting {
    struct entities *s;
    const struct apply *a;
    const struct entity_def *def;
};

/* Every reference is seen as new: the definition before may have asked nothing of it. */
static int refs_fit(const struct fitting *f, const struct any_row *row, struct err *e)
{
    struct row_change c = {.s = f->s, .a = f->a, .def = f->def};
    c.key = (struct row_key){
        .tenant = row->tenant, .part = row->part, .id = row->id, .id_len = strlen(row->id)};
    struct new_body b = {.body = row->body, .body_len = row->body_len};
    int rc = refs_check(&c, &b, NULL, e);
    if (rc == ERR_CONFLICT)
        return err_set(e, ERR_INVALID, "record '%.64s' refers to a record that is not there",
                       row->id);
    return rc;
}

static int row_fits(void *arg, const struct any_row *row, struct err *e)
{
    const struct fitting *f = arg;
    const struct entity_def *d = f->def;
    AUTO(json_unref) json_t *body = json_read(row->body, row->body_len, e);
    if (body == NULL)
        return err_set(e, ERR_CORRUPT, "%s '%s' is not JSON", d->name, row->id);
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    int rc = entity_doc_make(d, body, ENTITY_DOC_NO_DEFAULTS | ENTITY_DOC_STORED, &doc, NULL, e);
    if (rc < 0)
        return err_context(e, "record '%.64s'", row->id);
    if (!change_is_none(row->body, row->body_len, buf_str(&doc.body), doc.body.len) ||
        !change_is_none(row->keys != NULL ? row->keys : "", row->keys_len, buf_str(&doc.keys),
                        doc.keys.len))
        return err_set(e, ERR_INVALID, "record '%.64s' would have to be rewritten", row->id);
    return d->has_refs ? refs_fit(f, row, e) : 0;
}

static int check_rows(struct entities *s, const struct apply *a, const struct entity_def *from,
                      struct entity_def *to, struct err *e)
{
    char why[160];
    if (!define_is_narrower(from, to, why, sizeof(why)))
        return 0;
    struct err row = ERR_INIT;
    struct fitting f = {.s = s, .a = a, .def = to};
    int rc = store_each(a->db, to, ENTITY_NARROW_ROWS, row_fits, &f, &row);
    if (rc == 0)
        return 0;
    if (rc != ERR_INVALID && rc != ERR_TOO_LARGE) {
        if (e != NULL)
            *e = row;
        return rc;
    }
    return err_set(e, ERR_CONFLICT,
                   "entity '%s': %s, but %s; bring the records in line first, give it "
                   "migrate = function(old), or keep the definition",
                   to->name, why, row.text);
}

/* What expires cannot be told that somebody still refers to it. */
static int restrict_meets_ttl(const struct entity_def *from, const struct entity_def *to,
                              struct err *e)
{
    for (size_t i = 0; i < from->fields_count; i++) {
        const struct entity_field *f = entity_field_ref(&from->fields[i]);
        if (f != NULL && f->on_remove == REF_RESTRICT && to->ttl && strcmp(f->to, to->name) == 0)
            return err_field(e, ERR_CONFLICT, from->fields[i].name,
                             "entity '%s': records of %s expire, so field '%s' cannot have "
                             "on_remove = restrict; say null, cascade or none",
                             from->name, to->name, from->fields[i].name);
    }
    return 0;
}

static int check_expiry(struct entities *s, const struct apply *a, const struct entity_def *to,
                        struct err *e)
{
    size_t count;
    const struct entity_def *const *all = entities_all(s, a, &count, e);
    int rc = all != NULL ? restrict_meets_ttl(to, to, e) : e->code;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (strcmp(all[i]->name, to->name) == 0)
            continue;
        if ((rc = restrict_meets_ttl(all[i], to, e)) == 0)
            rc = restrict_meets_ttl(to, all[i], e);
    }
    return rc;
}

/* ---- make it so ---- */

int define_check(struct entities *s, const struct apply *a, const struct entity_def *to,
                 struct err *e)
{
    int rc = entities_check_free(s, to, e);
    return rc < 0 ? rc : check_expiry(s, a, to, e);
}

/* It is what it was: but it is not to become another. */
static int stay(struct entities *s, const struct apply *a, const struct entity_def *d,
                struct err *e)
{
    if (!entity_def_is_migrating(d))
        return 0;
    int rc = migrate_give_up(a->db, d, e);
    return rc < 0 ? rc : migrate_forget(s, a, d, e);
}

/* The definition is in force: its tables, indexes and what lies beside them. */
static int bring(struct entities *s, const struct apply *a, const struct entity_def *from,
                 struct entity_def *to, bool words, struct err *e)
{
    int rc =
        from != NULL ? check_rows(s, a, from, to, e) : store_create_table(a->db, to->sql->table, e);
    if (rc < 0 || (rc = build_define(a, from, to, words, e)) < 0 ||
        (rc = links_define(a->db, from, to, e)) < 0 ||
        (rc = store_put_def(a->db, to, a->at, e)) < 0 || (rc = copy_attach(a->db, to, e)) < 0)
        return rc;
    if (to->copy != NULL || (from != NULL && from->copy != NULL))
        entities_work(s, ENTITIES_WORK_NOW);
    if (from != NULL)
        entities_due_at(s, 0); /* what a migration that was given up had kept goes */
    entities_set_live(s, entity_def_ref(to));
    return 0;
}

/* There is none of this name now: but perhaps there was. */
static int define_new(struct entities *s, const struct apply *a, struct entity_def *to,
                      struct err *e)
{
    AUTO(entity_def_unrefp) struct entity_def *was = NULL;
    bool words = false;
    size_t kept = 0;
    int rc = retired_find(a, to, &was, &words, e);
    if (rc == 0)
        rc = retired_count(a->db, &kept, e);
    if (rc < 0)
        return rc;
    if (was == NULL && entities_live_count(s) + kept >= ENTITY_DEFS_MAX)
        return err_set(e, ERR_TOO_LARGE, "at most %d entities, those that are kept among them",
                       ENTITY_DEFS_MAX);
    to->version = was == NULL ? 1 : was->version + (strcmp(was->json, to->json) != 0);
    rc = bring(s, a, was, to, words, e);
    if (rc < 0 && was != NULL)
        return err_context(e, "it was removed, and its records are still kept");
    return rc < 0 || was == NULL ? rc : retired_forget(a->db, to->name, e);
}

static int define(struct entities *s, const struct apply *a, struct entity_def *to, struct err *e)
{
    struct err ignored = ERR_INIT;
    const struct entity_def *from = entities_live(s, a, to->name, strlen(to->name), &ignored);
    if (from == NULL && ignored.code != ERR_NOT_FOUND) {
        if (e != NULL)
            *e = ignored;
        return ignored.code;
    }
    if (from != NULL && strcmp(from->json, to->json) == 0)
        return stay(s, a, from, e);
    int rc = define_check(s, a, to, e);
    if (rc < 0)
        return rc;
    if (from == NULL)
        return define_new(s, a, to, e);
    to->version = from->version + 1;
    return bring(s, a, from, to, false, e);
}

int define_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                 struct buf *result, struct err *e)
{
    (void)version;
    (void)result;
    size_t n;
    const char *text = cursor_bytes(payload, &n);
    if (text == NULL || cursor_left(payload) > 0)
        return err_set(e, ERR_INVALID, "entity.define: malformed payload");
    AUTO(entity_def_unrefp) struct entity_def *to = NULL;
    int rc = entity_def_parse_text(text, n, &to, e);
    return rc < 0 ? rc : define(self, a, to, e);
}
