/* Full-text search: an FTS5 table beside the records, and what is asked of it.
 *
 * local_search_<entity> has a row for each record, under its rid, with the words of all fields that
 * are marked `search`. It keeps no text of its own (content='') and does not count for the state
 * hash: what lies in it depends on how it was merged, what it finds does not. It changes in the
 * transaction that changes the record. Words are what unicode61 takes for one, without case and
 * diacritics. */
#include <ctype.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/read_priv.h"

enum { SEARCH_SQL_MAX = 128 << 10 };

/* All searched texts of `body`, a line each. */
static void add_text(struct buf *sql, const struct entity_def *d)
{
    const char *between = "";
    for (size_t i = 0; i < d->fields_count; i++) {
        if (!d->fields[i].search)
            continue;
        buf_addf(sql, "%scoalesce(", between);
        entity_sql_expr(sql, &d->fields[i], NULL);
        buf_adds(sql, ",'')");
        between = "||char(10)||";
    }
}

void search_sql(struct entity_sql *s, const struct entity_def *d)
{
    if (!d->has_search)
        return;
    AUTO(buf_fini) struct buf text = BUF_INIT(SEARCH_SQL_MAX);
    add_text(&text, d);
    s->search = mem_printf("\"local_search_%s\"", d->name);
    s->search_put = mem_printf("INSERT INTO %s(rowid, text) SELECT ?1, %s FROM (SELECT ?2 AS body)",
                               s->search, buf_str(&text));
    s->search_change = mem_printf("REPLACE INTO %s(rowid, text) SELECT ?1, new.t FROM"
                                  " (SELECT %s AS t FROM (SELECT ?2 AS body)) new,"
                                  " (SELECT %s AS t FROM (SELECT ?3 AS body)) old"
                                  " WHERE new.t <> old.t",
                                  s->search, buf_str(&text), buf_str(&text));
    s->search_remove = mem_printf("DELETE FROM %s WHERE rowid = ?1", s->search);
}

/* ---- while a change is applied ---- */

int search_put(struct db *db, const struct entity_def *d, int64_t rid, const struct new_body *b,
               struct err *e)
{
    if (!d->has_search)
        return 0;
    struct db_stmt *s = db_stmt_get(db, d->sql->search_put, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    db_bind_text(s, 2, b->body, b->body_len);
    return db_run(s, e);
}

int search_change(struct db *db, const struct entity_def *d, const struct stored_row *old,
                  const struct new_body *b, struct err *e)
{
    if (!d->has_search)
        return 0;
    struct db_stmt *s = db_stmt_get(db, d->sql->search_change, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, old->rid);
    db_bind_text(s, 2, b->body, b->body_len);
    db_bind_text(s, 3, old->body, old->body_len);
    return db_run(s, e);
}

int search_remove(struct db *db, const struct entity_def *d, int64_t rid, struct err *e)
{
    if (!d->has_search)
        return 0;
    struct db_stmt *s = db_stmt_get(db, d->sql->search_remove, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, rid);
    return db_run(s, e);
}

/* ---- a definition takes effect ---- */

static bool same_fields(const struct entity_def *a, const struct entity_def *b)
{
    AUTO(buf_fini) struct buf x = BUF_INIT(SEARCH_SQL_MAX);
    AUTO(buf_fini) struct buf y = BUF_INIT(SEARCH_SQL_MAX);
    add_text(&x, a);
    add_text(&y, b);
    return strcmp(buf_str(&x), buf_str(&y)) == 0;
}

int search_define(struct db *db, const struct entity_def *from, const struct entity_def *to,
                  bool force, bool *fresh, struct err *e)
{
    bool had = from != NULL && from->has_search;
    *fresh = false;
    if (had == to->has_search && (!had || (!force && same_fields(from, to))))
        return 0;
    AUTO(buf_fini) struct buf sql = BUF_INIT(SEARCH_SQL_MAX);
    int rc = had ? build_leave_table(db, "local_search", to->name, e) : 0;
    if (rc < 0)
        return rc;
    if (to->has_search) {
        buf_addf(&sql,
                 "CREATE VIRTUAL TABLE %s USING fts5(text, content='', contentless_delete=1,"
                 " tokenize='unicode61 remove_diacritics 2');",
                 to->sql->search);
    }
    *fresh = to->has_search;
    rc = sql.len > 0 ? db_exec_buf(db, &sql, e) : 0;
    return rc < 0 ? err_context(e, "entity '%s': search", to->name) : 0;
}

/* Those that were written since the table was made are in it already. */
int search_fill(struct db *db, const struct entity_def *d, int64_t after, int64_t last,
                struct err *e)
{
    AUTO(buf_fini) struct buf sql = BUF_INIT(SEARCH_SQL_MAX);
    buf_addf(&sql, "REPLACE INTO %s(rowid, text) SELECT rid, ", d->sql->search);
    add_text(&sql, d);
    buf_addf(&sql, " FROM %s WHERE rid > ?1 AND rid <= ?2 ORDER BY rid", d->sql->table);
    struct db_stmt *s = db_stmt_get_buf(db, &sql, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 1, after);
    db_bind_int(s, 2, last);
    int rc = db_run(s, e);
    return rc < 0 ? err_context(e, "entity '%s': search", d->name) : 0;
}

/* ---- a question ---- */

int search_ready(struct db *db, const struct entity_def *d, struct err *e)
{
    struct entity_build_state now;
    int rc = entity_build_read(db, d->name, &now, e);
    if (rc < 0 || !now.search)
        return rc;
    return err_field(e, ERR_UNAVAILABLE, "q",
                     "q: the words of %s are being gathered, %d %% done; try again soon", d->name,
                     now.percent);
}

static bool has_letters(const char *word)
{
    for (const unsigned char *p = (const unsigned char *)word; *p != '\0'; p++) {
        if (isalnum(*p) || *p >= 0x80)
            return true;
    }
    return false;
}

/* One word as FTS5 reads it: in quotes, so that nothing in it is an operator. What the tokenizer
 * splits ("foo-bar") must stand side by side. */
static void add_word(struct buf *out, const char *word)
{
    buf_adds(out, out->len > 0 ? " \"" : "\"");
    for (const char *p = word; *p != '\0'; p++) {
        if (*p == '"')
            buf_addc(out, '"');
        buf_addc(out, *p);
    }
    buf_addc(out, '"');
}

int search_match(const struct entity_def *d, const char *q, struct buf *out, struct err *e)
{
    if (!d->has_search)
        return err_field(e, ERR_INVALID, "q",
                         "q: no field of %s is searched; mark one with search = true", d->name);
    size_t n = strlen(q);
    if (n > ENTITY_SEARCH_BYTES_MAX)
        return err_field(e, ERR_TOO_LARGE, "q", "q has at most %d bytes", ENTITY_SEARCH_BYTES_MAX);
    if (!str_is_utf8(q, n))
        return err_field(e, ERR_INVALID, "q", "q is not UTF-8");
    AUTO(mem_freep) char *copy = mem_strdup(q);
    char *rest = copy, *word;
    int words = 0;
    while ((word = strsep(&rest, " \t\r\n\v\f")) != NULL) {
        if (!has_letters(word))
            continue;
        if (++words > ENTITY_SEARCH_WORDS_MAX)
            return err_field(e, ERR_TOO_LARGE, "q", "q has at most %d words",
                             ENTITY_SEARCH_WORDS_MAX);
        add_word(out, word);
    }
    if (words == 0)
        return err_field(e, ERR_INVALID, "q", "q has no word to search for");
    buf_adds(out, "*");
    return buf_check(out, "q", e);
}
