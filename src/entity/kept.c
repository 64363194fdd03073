/* Fields that definitions took away: what is kept of them, and how it comes back. */
#include "entity/kept.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "ledger/txn.h"

enum { KEPT_SQL_MAX = 4096 };

/* Not by itself: as long as a migration is under way. */
#define KEPT_NEVER INT64_MAX

void entity_past_free(struct entity_past *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->fields_count; i++)
        entity_field_fini(&p->fields[i]);
    mem_free(p->fields);
    mem_free(p);
}

/* ---- what the database says ---- */

static int read_number(struct db *db, const char *sql, const char *entity, int64_t *out,
                       struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = db_stmt_get(db, sql, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, entity);
    int rc = db_step(s, e);
    *out = rc > 0 && !db_col_is_null(s, 0) ? db_col_int(s, 0) : 0;
    return rc < 0 ? rc : 0;
}

static int parse_decl(const char *name, const char *text, size_t n, struct entity_field *out,
                      struct err *e)
{
    AUTO(json_unref) json_t *j = json_read(text, n, e);
    *out = (struct entity_field){.kind = KIND_COUNT};
    int rc = j == NULL ? ERR_CORRUPT : entity_field_parse(name, j, 0, out, e);
    if (rc < 0)
        entity_field_fini(out);
    return rc;
}

/* Columns field, decl, gen; the last removed first. With those that a migration under way is to
 * bring back: whoever begins it again wants the same. */
static struct db_stmt *select_kept(struct db *db, const char *entity, struct err *e)
{
    struct db_stmt *s =
        db_stmt_get(db,
                    "SELECT field, decl, gen FROM kept_fields"
                    " WHERE entity = ?1 AND made = 0 AND (back = 0 OR purge_at = ?3)"
                    " ORDER BY gen DESC LIMIT ?2",
                    e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, entity);
    db_bind_int(s, 2, ENTITY_KEPT_LISTED);
    db_bind_int(s, 3, KEPT_NEVER);
    return s;
}

static int add_fields(struct db *db, const char *entity, struct entity_past *p, struct err *e)
{
    AUTO(db_stmt_donep) struct db_stmt *s = select_kept(db, entity, e);
    if (s == NULL)
        return e->code;
    p->fields = mem_new_array(ENTITY_KEPT_LISTED, sizeof(*p->fields));
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        size_t n;
        const char *decl = db_col_text(s, 1, &n);
        rc = parse_decl(db_col_text(s, 0, NULL), decl, n, &p->fields[p->fields_count], e);
        if (rc < 0)
            return rc;
        p->fields_count++;
    }
    return rc;
}

int kept_attach(struct db *db, struct entity_def *d, struct err *e)
{
    int64_t untold = 0, narrowed = 0, any = 0;
    entity_past_free(d->past);
    d->past = NULL;
    int rc =
        read_number(db, "SELECT gen FROM entity_leftovers WHERE entity = ?1 AND told = 0 LIMIT 1",
                    d->name, &untold, e);
    if (rc == 0)
        rc = read_number(db, "SELECT seq FROM kept_marks WHERE entity = ?1", d->name, &narrowed, e);
    if (rc == 0)
        rc = read_number(db, "SELECT 1 FROM kept_fields WHERE entity = ?1 LIMIT 1", d->name, &any,
                         e);
    if (rc < 0 || (untold == 0 && narrowed == 0 && any == 0))
        return rc;
    d->past = mem_new(sizeof(*d->past));
    d->past->untold = untold;
    d->past->narrowed = (uint64_t)narrowed;
    d->past->any = any != 0;
    return any != 0 ? add_fields(db, d->name, d->past, e) : 0;
}

/* ---- which way ---- */

static bool is_compatible(const struct entity_field *kept, const struct entity_field *now)
{
    return strcmp(kept->name, now->name) == 0 && define_field_narrows(kept, now) == NULL;
}

static bool comes_back(const struct entity_def *from, const struct entity_field *f)
{
    for (size_t i = 0; from->past != NULL && i < from->past->fields_count; i++) {
        if (is_compatible(&from->past->fields[i], f))
            return true;
    }
    return false;
}

enum entity_rewrite entity_def_rewrite(const struct entity_def *from, const struct entity_def *to)
{
    bool gone = false, back = false;
    if (define_narrows_otherwise(from, to))
        return ENTITY_REWRITE_NONE;
    for (size_t i = 0; i < from->fields_count; i++)
        gone = gone || entity_def_field(to, from->fields[i].name) == NULL;
    for (size_t i = 0; i < to->fields_count; i++)
        back = back || (entity_def_field(from, to->fields[i].name) == NULL &&
                        comes_back(from, &to->fields[i]));
    return gone || back ? ENTITY_REWRITE_PLAIN : ENTITY_REWRITE_NONE;
}

json_t *entity_rewrite_plain(const struct entity_def *to, const json_t *record)
{
    json_t *made = json_object(), *v;
    const char *key;
    json_object_foreach((json_t *)record, key, v)
    {
        if (strcmp(key, "id") == 0 || entity_def_field(to, key) != NULL)
            json_object_set(made, key, v);
    }
    return made;
}

/* ---- a migration ---- */

static int put_going(struct db *db, const struct entity_def *from, const struct entity_field *f,
                     int64_t made, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(ENTITY_DEF_BYTES_MAX);
    AUTO(json_unref) json_t *decl = entity_field_json(f);
    int64_t gen;
    int rc = json_print(decl, &text, e);
    if (rc < 0 || (rc = buf_check(&text, "a field", e)) < 0 ||
        (rc = build_next_gen(db, &gen, e)) < 0)
        return rc;
    struct db_stmt *s = db_stmt_get(db,
                                    "INSERT INTO kept_fields(gen, entity, field, decl, made, back,"
                                    " removed_at, until, purge_at, step, rid)"
                                    " VALUES(?1, ?2, ?3, ?4, ?5, 0, 0, 0, ?6, 0, 0)",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, gen);
    db_bind_str(s, 2, from->name);
    db_bind_str(s, 3, f->name);
    db_bind_text(s, 4, buf_str(&text), text.len);
    db_bind_int(s, 5, made);
    db_bind_int(s, 6, KEPT_NEVER);
    return db_run(s, e);
}

/* The last removed field of that name whose values `f` takes; 0: there is none. */
static int find_back(const struct apply *a, const char *entity, const struct entity_field *f,
                     int64_t *out, struct err *e)
{
    *out = 0;
    AUTO(db_stmt_donep) struct db_stmt *s = select_kept(a->db, entity, e);
    if (s == NULL)
        return e->code;
    int rc;
    while (*out == 0 && (rc = db_step(s, e)) != 0) {
        size_t n;
        const char *decl = rc > 0 ? db_col_text(s, 1, &n) : NULL;
        if (rc < 0)
            return rc;
        if (strcmp(db_col_text(s, 0, NULL), f->name) != 0)
            continue;
        struct entity_field kept;
        if ((rc = parse_decl(f->name, decl, n, &kept, e)) < 0)
            return rc;
        if (is_compatible(&kept, f))
            *out = db_col_int(s, 2);
        entity_field_fini(&kept);
    }
    return 0;
}

int kept_begin(const struct apply *a, const struct entity_def *from, const struct entity_def *to,
               int64_t gen, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < to->fields_count && rc == 0; i++) {
        int64_t back = 0;
        if (entity_def_field(from, to->fields[i].name) == NULL)
            rc = find_back(a, from->name, &to->fields[i], &back, e);
        if (rc == 0 && back != 0)
            rc = build_row(a->db,
                           "UPDATE kept_fields SET back = ?1, purge_at = ?2 WHERE gen = ?3"
                           " AND until > ?4",
                           NULL, (int64_t[]){gen, KEPT_NEVER, back, a->at}, 4, e);
    }
    for (size_t i = 0; i < from->fields_count && rc == 0; i++) {
        if (entity_def_field(to, from->fields[i].name) == NULL)
            rc = put_going(a->db, from, &from->fields[i], gen, e);
    }
    return rc;
}

int kept_take(struct db *db, const struct entity_def *d, int64_t gen, int64_t rid, struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(KEPT_SQL_MAX);
    int rc = build_row(db,
                       "DELETE FROM kept_values WHERE rid = ?2 AND gen IN"
                       " (SELECT gen FROM kept_fields WHERE made = ?1)",
                       NULL, (int64_t[]){gen, rid}, 2, e);
    buf_addf(&sql,
             "INSERT INTO kept_values(gen, rid, value) SELECT k.gen, t.rid,"
             " t.body -> ('$.\"' || k.field || '\"') FROM kept_fields k, %s t"
             " WHERE k.made = ?1 AND t.rid = ?2 AND t.body -> ('$.\"' || k.field || '\"') IS NOT"
             " NULL",
             d->sql->table);
    if (rc == 0)
        rc = buf_check(&sql, "a statement", e);
    return rc < 0 ? rc : build_row(db, buf_str(&sql), NULL, (int64_t[]){gen, rid}, 2, e);
}

int kept_gives(struct db *db, int64_t gen, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db, "SELECT 1 FROM kept_fields WHERE back = ?1 LIMIT 1", e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, gen);
    return db_step(s, e);
}

int kept_give(struct db *db, int64_t gen, int64_t rid, json_t *record, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(db,
                                    "SELECT k.field, '[' || v.value || ']' FROM kept_fields"
                                    " k CROSS JOIN kept_values v ON v.gen = k.gen AND v.rid = ?2"
                                    " WHERE k.back = ?1",
                                    e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, gen);
    db_bind_int(s, 2, rid);
    int rc;
    while ((rc = db_step(s, e)) > 0) {
        size_t n;
        const char *text = db_col_text(s, 1, &n);
        AUTO(json_unref) json_t *v = json_read(text, n, e);
        if (v == NULL)
            return ERR_CORRUPT;
        json_object_set(record, db_col_text(s, 0, NULL), json_array_get(v, 0));
    }
    return rc;
}

int kept_adopt(const struct apply *a, const char *entity, int64_t gen, int64_t keep_ms,
               struct err *e)
{
    int rc = build_row(a->db,
                       "UPDATE kept_fields SET made = 0, removed_at = ?2, until = ?3,"
                       " purge_at = ?3 WHERE made = ?1",
                       NULL, (int64_t[]){gen, a->at, a->at + keep_ms}, 3, e);
    if (rc == 0)
        rc = build_row(a->db, "UPDATE kept_fields SET purge_at = 0 WHERE back = ?1", NULL, &gen, 1,
                       e);
    return rc < 0
               ? rc
               : build_row(a->db, "INSERT OR REPLACE INTO kept_marks(seq, entity) VALUES(?1, ?2)",
                           entity, (int64_t[]){(int64_t)a->seq}, 1, e);
}

int kept_give_up(struct db *db, int64_t gen, struct err *e)
{
    int rc = build_row(db,
                       "UPDATE kept_fields SET made = 0, back = -1, purge_at = 0"
                       " WHERE made = ?1",
                       NULL, &gen, 1, e);
    return rc < 0 ? rc
                  : build_row(db,
                              "UPDATE kept_fields SET back = 0, purge_at = until"
                              " WHERE back = ?1",
                              NULL, &gen, 1, e);
}

/* ---- records ---- */

int kept_removed(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    if (d->past == NULL || !d->past->any)
        return 0;
    return build_row(db,
                     "DELETE FROM kept_values WHERE rid = ?1 AND gen IN"
                     " (SELECT gen FROM kept_fields WHERE entity = ?2)",
                     d->name, &rid, 1, e);
}

int kept_restored(const struct row_change *c, int64_t removed_at, const char *body, size_t n,
                  struct err *e)
{
    if (c->def->past == NULL || !c->def->past->any)
        return 0;
    AUTO(buf_fini) struct buf sql = BUF_INIT(KEPT_SQL_MAX);
    buf_addf(&sql,
             "INSERT OR REPLACE INTO kept_values(gen, rid, value) SELECT k.gen, t.rid,"
             " ?6 -> ('$.\"' || k.field || '\"') FROM kept_fields k, %s t"
             " WHERE k.entity = ?4 AND k.made = 0 AND k.back = 0 AND k.removed_at >= ?5"
             " AND t.tenant = ?1 AND t.part = ?2 AND t.id = ?3"
             " AND ?6 -> ('$.\"' || k.field || '\"') IS NOT NULL",
             c->def->sql->table);
    struct db_stmt *s = db_stmt_get_buf(c->a->db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, c->key.tenant);
    db_bind_str(s, 2, c->key.part);
    db_bind_text(s, 3, c->key.id, c->key.id_len);
    db_bind_str(s, 4, c->def->name);
    db_bind_int(s, 5, removed_at);
    db_bind_text(s, 6, body, n);
    return db_run(s, e);
}

/* ---- what is shown ---- */

bool entity_def_hides(const struct entity_def *d, uint64_t seq)
{
    return d->past != NULL && seq <= d->past->narrowed;
}

int entity_declared(const struct entity_def *d, const struct buf *text, struct buf *out,
                    struct err *e)
{
    AUTO(json_unref) json_t *record = json_read(text->data, text->len, e);
    const char *key;
    json_t *v;
    void *next;
    if (record == NULL)
        return ERR_CORRUPT;
    json_object_foreach_safe(record, next, key, v)
    {
        if (!entity_is_system_field(key) && strcmp(key, "removed_at") != 0 &&
            entity_def_field(d, key) == NULL)
            json_object_del(record, key);
    }
    return json_print(record, out, e);
}

static void add_shown(json_t *list, struct db_stmt *s)
{
    char removed[TIME_TEXT], until[TIME_TEXT];
    const char *field = db_col_text(s, 1, NULL), *kind = db_col_text(s, 2, NULL);
    time_format(db_col_int(s, 3), removed);
    time_format(db_col_int(s, 4), until);
    json_t *o = json_pack("{s:s}", "entity", db_col_text(s, 0, NULL));
    if (field != NULL)
        json_object_set_new(o, "field", json_string(field));
    if (kind != NULL)
        json_object_set_new(o, "kind", json_string(kind));
    json_object_set_new(o, "removed_at", json_string(removed));
    json_object_set_new(o, "until", json_string(until));
    json_array_append_new(list, o);
}

json_t *entity_kept_json(struct db *db, const char *entity, struct err *e)
{
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(db,
                    "SELECT entity, field, decl ->> '$.kind', removed_at, until"
                    " FROM kept_fields WHERE made = 0 AND back = 0"
                    " AND (?1 IS NULL OR entity = ?1) AND until > (SELECT at FROM local_meta)"
                    " UNION ALL SELECT entity, NULL, NULL, removed_at, purge_at FROM kept_entities"
                    " WHERE (?1 IS NULL OR entity = ?1) AND purge_at > (SELECT at FROM local_meta)"
                    " ORDER BY 1, 2, 4 LIMIT ?2",
                    e);
    if (s == NULL)
        return NULL;
    db_bind_str(s, 1, entity);
    db_bind_int(s, 2, ENTITY_KEPT_LISTED);
    AUTO(json_unref) json_t *list = json_array();
    int rc;
    while ((rc = db_step(s, e)) > 0)
        add_shown(list, s);
    return rc < 0 ? NULL : TAKE(list);
}
