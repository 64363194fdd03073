/* SQL text of one entity: made once with its definition, found in the statement cache by text. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/def_priv.h"

void entity_sql_path(struct buf *out, const char *key)
{
    buf_adds(out, ".\"");
    /* Inside a JSON path inside an SQL string: only ' needs care; " cannot be escaped in a path and
     * is refused where paths come in. */
    for (const char *p = key; *p != '\0'; p++) {
        if (*p == '\'')
            buf_addc(out, '\'');
        buf_addc(out, *p);
    }
    buf_addc(out, '"');
}

void entity_sql_expr(struct buf *out, const struct entity_field *f, const char *system_name)
{
    if (f == NULL) {
        buf_adds(out, system_name);
        return;
    }
    buf_addf(out, "json_extract(%s,'$", f->kind == KIND_DECIMAL ? "keys" : "body");
    entity_sql_path(out, f->name);
    buf_adds(out, "')");
}

void entity_scope_bind(struct db_stmt *s, int tenant_at, int part_at, const char *scope)
{
    size_t n = strcspn(scope, "/");
    db_bind_text(s, tenant_at, scope, n);
    db_bind_str(s, part_at, scope[n] == '/' ? scope + n + 1 : "");
}

/* Expired rows are hidden from the ledger time of the snapshot on; they go soon after. */
static char *visible(const struct entity_def *d)
{
    if (!d->ttl)
        return mem_strdup("");
    return mem_strdup(" AND coalesce(json_extract(body,'$.\"" ENTITY_EXPIRES "\"') >"
                      " (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch')"
                      " FROM local_meta), 1)");
}

struct entity_sql *entity_sql_new(const struct entity_def *d)
{
    struct entity_sql *s = mem_new(sizeof(*s));
    /* Entity names have neither quotes nor spaces (str_check_name). */
    s->table = mem_printf("\"entity_%s\"", d->name);
    s->visible = visible(d);
    s->get = mem_printf("SELECT id, body, version, created_at, updated_at, created_by, updated_by"
                        " FROM %s WHERE tenant = ?1 AND part = ?2 AND id = ?3%s",
                        s->table, s->visible);
    s->find = mem_printf("SELECT rid, version, created_at, updated_at, created_by, updated_by,"
                         " body, keys FROM %s WHERE tenant = ?1 AND part = ?2 AND id = ?3",
                         s->table);
    s->insert = mem_printf("INSERT INTO %s (tenant, part, id, version, created_at, updated_at,"
                           " created_by, updated_by, body, keys)"
                           " VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?5, ?6, ?7)",
                           s->table);
    s->exists = mem_printf("SELECT 1 FROM %s WHERE tenant = ?1 AND part = ?2 AND id = ?3%s",
                           s->table, s->visible);
    s->revive = mem_printf("UPDATE %s SET version = 1, created_at = ?2, updated_at = ?2,"
                           " created_by = ?3, updated_by = ?3, body = ?4, keys = ?5"
                           " WHERE rid = ?1",
                           s->table);
    s->restore = mem_printf("INSERT INTO %s (tenant, part, id, version, created_at, updated_at,"
                            " created_by, updated_by, body, keys)"
                            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                            s->table);
    s->update = mem_printf("UPDATE %s SET version = ?2, updated_at = ?3, updated_by = ?4,"
                           " body = ?5, keys = ?6 WHERE rid = ?1",
                           s->table);
    s->remove = mem_printf("DELETE FROM %s WHERE rid = ?1", s->table);
    search_sql(s, d);
    links_sql(s, d);
    return s;
}

void entity_sql_free(struct entity_sql *s)
{
    if (s == NULL)
        return;
    mem_free(s->table);
    mem_free(s->get);
    mem_free(s->find);
    mem_free(s->exists);
    mem_free(s->revive);
    mem_free(s->restore);
    mem_free(s->visible);
    mem_free(s->insert);
    mem_free(s->update);
    mem_free(s->remove);
    mem_free(s->search);
    mem_free(s->search_put);
    mem_free(s->search_change);
    mem_free(s->search_remove);
    mem_free(s->links);
    mem_free(s->links_put);
    mem_free(s->links_differ);
    mem_free(s->links_remove);
    mem_free(s);
}
