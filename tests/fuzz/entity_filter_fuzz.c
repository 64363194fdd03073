/* Whatever filter_parse takes must run as SQL and in memory, and agree on a few records. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/entity.h"
#include "entity/filter.h"
#include "entity/read.h"
#include "ledger/txn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char thing[] =
    "{\"name\":\"Thing\",\"fields\":{\"t\":{\"kind\":\"text\"},\"i\":{\"kind\":\"int\"},"
    "\"d\":{\"kind\":\"decimal\"},\"w\":{\"kind\":\"time\"},\"g\":{\"kind\":\"geo\"},"
    "\"c\":{\"kind\":\"choice\",\"choices\":[\"a\",\"B\"]},\"l\":{\"kind\":\"list\",\"of\":"
    "\"text\"},"
    "\"ld\":{\"kind\":\"list\",\"of\":\"decimal\"},\"m\":{\"kind\":\"map\",\"of\":\"int\"},"
    "\"lm\":{\"kind\":\"list\",\"of\":{\"kind\":\"map\",\"of\":\"text\"}},\"j\":{\"kind\":\"json\"}"
    "}}";
static const char *const rows[] = {
    "{}",
    "{\"t\":\"a\",\"i\":1,\"d\":\"1.5\",\"w\":\"2026-01-01T00:00:00Z\",\"c\":\"a\",\"l\":[\"a\","
    "\"b\"]}",
    "{\"t\":\"A*\",\"i\":-1,\"d\":\"-10\",\"g\":{\"lat\":1,\"lon\":2},\"ld\":[\"1\",\"2.5\"],"
    "\"m\":{\"a\":1},\"lm\":[{\"a\":\"x\"},{}],\"j\":{\"a\":[1,\"1\",true,null,{\"a\":1}]}}",
    "{\"t\":\"\",\"l\":[],\"j\":[1,[2],{\"a\":\"b\"}],\"c\":\"B\"}",
};

struct state {
    struct db *db;
    struct entities *entities;
    struct entity_def *def;
};

static void apply(struct state *s, struct txn *t)
{
    const struct domain *d = entities_domain(s->entities);
    struct buf bytes = BUF_INIT(1 << 20), result = BUF_INIT(1 << 20);
    struct txn_view v;
    txn_encode(t, &bytes);
    ASSERT(txn_decode(bytes.data, bytes.len, &v, NULL) == 0);
    struct apply a = {.db = s->db, .seq = 1, .at = 1700000000000, .env = &v.env};
    struct txn_op op;
    for (struct cursor c = txn_ops(&v); txn_next(&c, &op);) {
        for (size_t i = 0; i < d->ops_count; i++) {
            if (d->ops[i].type == op.type)
                ASSERT(d->ops[i].apply(d->self, &a, 1, &op.payload, &result, NULL) == 0);
        }
    }
    d->committed(d->self, 1, 1);
    txn_view_fini(&v);
    buf_fini(&bytes);
    buf_fini(&result);
    txn_fini(t);
}

static void save(struct state *s, size_t i)
{
    struct txn t;
    struct entity_doc doc;
    char id[8] = {(char)('0' + i), '\0'};
    AUTO(json_unref) json_t *r = json_read(rows[i], strlen(rows[i]), NULL);
    entity_doc_init(&doc);
    ASSERT(entity_doc_make(s->def, r, 0, &doc, NULL, NULL) == 0);
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_save(&t, s->def, id, ENTITY_CREATE, 0, &doc);
    apply(s, &t);
    entity_doc_fini(&doc);
}

/* On files that are gone as soon as they are open: nothing is left behind, however this ends. */
static struct db *open_db(void)
{
    char dir[] = "/tmp/entity-fuzz-XXXXXX", path[64], wal[72];
    struct db *db = NULL;
    ASSERT(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/koan.db", dir);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    struct db_options o = {.path = path, .mode = DB_WRITER, .exclusive = true};
    ASSERT(db_open(&o, &db, NULL) == 0);
    unlink(path);
    unlink(wal);
    rmdir(dir);
    return db;
}

static struct state *setup(void)
{
    struct state *s = mem_new(sizeof(*s));
    struct txn t;
    struct entity_def *d;
    s->db = open_db();
    ASSERT(db_migrate(s->db, NULL) == 0);
    s->entities = entities_new();
    ASSERT(entities_domain(s->entities)->opened(s->entities, s->db, NULL) == 0);
    ASSERT(entity_def_parse_text(thing, strlen(thing), &d, NULL) == 0);
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_define(&t, d);
    apply(s, &t);
    entity_def_unref(d);
    s->def = entities_find(s->entities, "Thing");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        save(s, i);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct state *s;
    struct err e = ERR_INIT;
    struct filter *f;
    if (s == NULL)
        s = setup();
    if (filter_parse_text(s->def, (const char *)data, size, &f, &e) != 0) {
        ASSERT(e.code < 0 && e.text[0] != '\0');
        return 0;
    }
    json_t *ids = NULL;
    int rc = entity_query_ids(s->db, s->def, "default", f, 100, &ids, &e);
    ASSERT(rc == 0 || rc == ERR_TOO_LARGE);
    for (size_t i = 0, at = 0; rc == 0 && i < ARRAY_LEN(rows); i++) {
        char id[8] = {(char)('0' + i), '\0'};
        json_t *r = NULL;
        ASSERT(entity_get_json(s->db, s->def, "default", id, &r, NULL, NULL) == 0);
        const char *got = json_string_value(json_array_get(ids, at));
        bool in_sql = got != NULL && strcmp(got, id) == 0;
        ASSERT(in_sql == filter_match(f, r));
        at += in_sql;
        json_decref(r);
    }
    json_decref(ids);
    filter_free(f);
    return 0;
}
