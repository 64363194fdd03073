#include "support/entity_db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/migrate.h"
#include "entity/read.h"

json_t *entity_db_json(const char *text)
{
    struct err e = ERR_INIT;
    json_t *v = json_read(text, strlen(text), &e);
    if (v == NULL)
        fail_msg("%s: %s", text, e.text);
    return v;
}

struct entity_db *entity_db_open(void)
{
    struct entity_db *f = mem_new(sizeof(*f));
    struct err e = ERR_INIT;
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%.40s/entityXXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/koan.db", f->dir);
    snprintf(f->tenant, sizeof(f->tenant), "default");
    f->at = 1700000000000;
    buf_init(&f->results, 1 << 20);
    if (db_open(&(struct db_options){.path = f->path, .mode = DB_WRITER}, &f->writer, &e) != 0 ||
        db_migrate(f->writer, &e) != 0 ||
        db_open(&(struct db_options){.path = f->path, .mode = DB_READER}, &f->reader, &e) != 0)
        fail_msg("%s", e.text);
    f->entities = entities_new();
    const struct domain *d = entities_domain(f->entities);
    if (d->opened(d->self, f->writer, &e) != 0)
        fail_msg("%s", e.text);
    return f;
}

void entity_db_close(struct entity_db *f)
{
    static const char *const names[] = {"koan.db", "koan.db-wal", "koan.db-shm"};
    uint64_t scan;
    ASSERT(db_hash_scan(f->writer, &scan, NULL) == 0 && scan == db_hash(f->writer));
    db_close(f->reader);
    db_close(f->writer);
    entities_free(f->entities);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    rmdir(f->dir);
    buf_fini(&f->results);
    mem_free(f);
}

static const struct domain_op *find_op(const struct domain *d, uint16_t type)
{
    for (size_t i = 0; i < d->ops_count; i++) {
        if (d->ops[i].type == type)
            return &d->ops[i];
    }
    fail_msg("no operation 0x%04x", type);
    return NULL;
}

static int run(struct entity_db *f, const struct txn_view *v, const struct apply *a,
               bool conditions, struct err *e)
{
    const struct domain *d = entities_domain(f->entities);
    struct txn_op op;
    for (struct cursor c = txn_ops(v); txn_next(&c, &op);) {
        const struct domain_op *o = find_op(d, op.type);
        if (o->is_condition != conditions)
            continue;
        struct buf result = BUF_INIT(4096);
        int rc = o->apply(d->self, a, op.version, &op.payload, &result, e);
        if (!conditions && rc == 0)
            buf_add_bytes(&f->results, buf_str(&result), result.len);
        buf_fini(&result);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int entity_db_apply(struct entity_db *f, struct txn *t, struct err *e)
{
    const struct domain *d = entities_domain(f->entities);
    struct buf bytes = BUF_INIT(TXN_BYTES_MAX * 2);
    struct txn_view v;
    struct err own = ERR_INIT;
    e = e != NULL ? e : &own;
    err_clear(e);
    assert_int_equal(txn_check(t, e), 0);
    txn_encode(t, &bytes);
    assert_int_equal(txn_decode(bytes.data, bytes.len, &v, e), 0);
    struct apply a = {.db = f->writer, .seq = ++f->seq, .at = f->at, .env = &v.env};
    buf_reset(&f->results);
    assert_int_equal(db_begin(f->writer, NULL), 0);
    assert_int_equal(db_savepoint(f->writer, NULL), 0);
    int rc = run(f, &v, &a, true, e);
    d->unit(d->self, &a);
    if (rc == 0)
        rc = run(f, &v, &a, false, e);
    if (rc == 0) {
        assert_int_equal(db_release(f->writer, NULL), 0);
    } else {
        db_rollback_to(f->writer);
        d->undo(d->self, false);
    }
    assert_int_equal(d->close(d->self, &a, NULL), 0);
    /* Position and time, as the ledger keeps them. */
    struct db_stmt *s = db_stmt_get(f->writer, "UPDATE local_meta SET at = ?1, seq = ?2", NULL);
    db_bind_int(s, 1, f->at);
    db_bind_int(s, 2, (int64_t)f->seq);
    assert_int_equal(db_run(s, NULL), 0);
    assert_int_equal(db_commit(f->writer, NULL), 0);
    d->committed(d->self, f->seq, f->at);
    txn_view_fini(&v);
    buf_fini(&bytes);
    txn_fini(t);
    return rc;
}

struct entity_result entity_db_result(struct entity_db *f, uint32_t i)
{
    struct cursor c, one;
    struct entity_result r;
    size_t n = 0;
    const void *p = NULL;
    cursor_init(&c, buf_str(&f->results), f->results.len);
    for (uint32_t k = 0; k <= i; k++)
        p = cursor_bytes(&c, &n);
    cursor_init(&one, p, n);
    assert_true(entity_result_parse(&one, &r));
    return r;
}

static void begin(struct entity_db *f, struct txn *t)
{
    txn_init(t);
    txn_envelope(t, &(struct envelope){.tenant = f->tenant, .principal = "ana"});
}

int entity_db_define(struct entity_db *f, const char *json, struct err *e)
{
    struct entity_def *d;
    struct txn t;
    int rc = entity_def_parse_text(json, strlen(json), &d, e);
    if (rc < 0)
        return rc;
    begin(f, &t);
    entity_txn_define(&t, d);
    entity_def_unref(d);
    return entity_db_apply(f, &t, e);
}

struct entity_def *entity_db_must_define(struct entity_db *f, const char *json)
{
    struct err e = ERR_INIT;
    if (entity_db_define(f, json, &e) != 0)
        fail_msg("%s", e.text);
    json_t *j = entity_db_json(json);
    struct entity_def *d =
        entities_find(f->entities, json_string_value(json_object_get(j, "name")));
    assert_non_null(d);
    json_decref(j);
    return d;
}

int entity_db_save(struct entity_db *f, const struct entity_def *d, const char *id,
                   enum entity_mode mode, uint64_t if_version, const char *doc, struct err *e)
{
    struct entity_doc made;
    struct txn t;
    json_t *j = entity_db_json(doc);
    entity_doc_init(&made);
    int rc = entity_doc_make(d, j, 0, &made, NULL, e);
    if (rc == 0) {
        begin(f, &t);
        entity_txn_save(&t, d, id, mode, if_version, &made);
        rc = entity_db_apply(f, &t, e);
    }
    entity_doc_fini(&made);
    json_decref(j);
    return rc;
}

int entity_db_patch(struct entity_db *f, const struct entity_def *d, const char *id,
                    enum entity_patch_kind kind, const char *patch, struct err *e)
{
    struct txn t;
    json_t *j = entity_db_json(patch);
    begin(f, &t);
    int rc = entity_txn_patch(&t, d, id, 0, kind, j, e);
    json_decref(j);
    if (rc == 0)
        return entity_db_apply(f, &t, e);
    txn_fini(&t);
    return rc;
}

int entity_db_restore(struct entity_db *f, const struct entity_def *d, const char *id,
                      struct err *e)
{
    struct txn t;
    begin(f, &t);
    entity_txn_restore(&t, d, id);
    return entity_db_apply(f, &t, e);
}

uint32_t entity_db_sweep(struct entity_db *f, uint32_t rows)
{
    struct txn t;
    struct err e = ERR_INIT;
    struct cursor c;
    size_t n;
    begin(f, &t);
    entity_txn_sweep(&t, rows);
    if (entity_db_apply(f, &t, &e) != 0)
        fail_msg("%s", e.text);
    cursor_init(&c, buf_str(&f->results), f->results.len);
    cursor_bytes(&c, &n);
    cursor_init(&c, buf_str(&f->results) + 4, n);
    return cursor_u32(&c);
}

bool entity_db_build(struct entity_db *f, uint32_t rows)
{
    struct txn t;
    struct err e = ERR_INIT;
    struct cursor c;
    size_t n;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.reason = "test"});
    entity_txn_build(&t, rows);
    if (entity_db_apply(f, &t, &e) != 0)
        fail_msg("%s", e.text);
    cursor_init(&c, buf_str(&f->results), f->results.len);
    const char *p = cursor_bytes(&c, &n);
    assert_int_equal(n, 5);
    return p[4] != 0;
}

void entity_db_restart(struct entity_db *f)
{
    struct err e = ERR_INIT;
    entities_free(f->entities);
    f->entities = entities_new();
    const struct domain *d = entities_domain(f->entities);
    if (d->opened(d->self, f->writer, &e) != 0)
        fail_msg("%s", e.text);
}

json_t *entity_db_get(struct entity_db *f, const struct entity_def *d, const char *id)
{
    json_t *record = NULL;
    entity_get_json(f->reader, d, f->tenant, id, &record, NULL, NULL);
    return record;
}

int entity_db_remove(struct entity_db *f, const struct entity_def *d, const char *id,
                     uint64_t if_version, struct err *e)
{
    struct txn t;
    begin(f, &t);
    entity_txn_remove(&t, d, id, if_version);
    return entity_db_apply(f, &t, e);
}

int entity_db_migrate(struct entity_db *f, const struct entity_def *to, int64_t keep_ms)
{
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.principal = "dora"});
    entity_txn_migrate(&t, to, ENTITY_MADE_PLAIN, keep_ms);
    return entity_db_apply(f, &t, NULL);
}

int entity_db_migrated(struct entity_db *f, const struct entity_def *to, int64_t *gen)
{
    struct entity_batch b;
    struct buf items = BUF_INIT(8 << 20);
    struct err e = ERR_INIT;
    struct entity_def *d = entities_find(f->entities, to->name);
    assert_int_equal(entity_migrate_next(f->reader, d, &b, NULL), 0);
    entity_def_unref(d);
    size_t i;
    json_t *row;
    json_array_foreach(b.rows, i, row)
    {
        int rc =
            entity_migrate_add_plain(&items, to, json_integer_value(json_object_get(row, "rid")),
                                     (uint64_t)json_integer_value(json_object_get(row, "version")),
                                     json_object_get(row, "record"), &e);
        if (rc != 0)
            fail_msg("%s", e.text);
    }
    int count = (int)json_array_size(b.rows);
    json_decref(b.rows);
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.principal = "dora"});
    entity_txn_migrated(&t, to->name, &b, false, (uint32_t)count, &items);
    int rc = entity_db_apply(f, &t, &e);
    buf_fini(&items);
    *gen = b.gen;
    return rc < 0 ? rc : count;
}

int entity_db_adopt(struct entity_db *f, const char *name, int64_t gen)
{
    struct txn t;
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.principal = "dora"});
    entity_txn_adopt(&t, name, gen);
    return entity_db_apply(f, &t, NULL);
}

int64_t entity_db_number(struct entity_db *f, const char *sql)
{
    struct err e = ERR_INIT;
    struct db_stmt *s = db_stmt_get(f->reader, sql, &e);
    if (s == NULL || db_step(s, &e) != 1)
        fail_msg("%s: %s", sql, e.text);
    int64_t n = db_col_int(s, 0);
    db_stmt_done(s);
    return n;
}
