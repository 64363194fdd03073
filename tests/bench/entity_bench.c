/* What one record costs in processor time, without HTTP and without the log: checking, applying,
 * reading.
 *
 *     build/rel/tests/bench/entity_bench [records]      */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "db/db.h"
#include "entity/entity.h"
#include "entity/filter.h"
#include "entity/read.h"
#include "ledger/txn.h"

static const char plain[] =
    "{\"name\":\"Plain\",\"fields\":{\"name\":{\"kind\":\"text\",\"required\":true,\"max\":200},"
    "\"email\":{\"kind\":\"email\"},\"n\":{\"kind\":\"int\"},"
    "\"tier\":{\"kind\":\"choice\",\"choices\":[\"free\",\"pro\"],\"default\":\"free\"},"
    "\"note\":{\"kind\":\"text\"}}%s}";

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(int rc, const struct err *e)
{
    if (rc < 0) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
}

struct bench {
    char dir[64];
    struct db *writer, *reader;
    struct entities *entities;
    struct entity_def *def;
    size_t count;
    char (*ids)[UUID_TEXT];
};

static const struct domain_op *op_of(struct bench *b, uint16_t type)
{
    const struct domain *d = entities_domain(b->entities);
    for (size_t i = 0; i < d->ops_count; i++) {
        if (d->ops[i].type == type)
            return &d->ops[i];
    }
    abort();
}

/* Applies what is in the unit, in a transaction that is open. */
static void apply(struct bench *b, struct txn *t, struct buf *result)
{
    struct err e = ERR_INIT;
    struct txn_view v;
    AUTO(buf_fini) struct buf bytes = BUF_INIT(TXN_BYTES_MAX * 2);
    txn_encode(t, &bytes);
    must(txn_decode(bytes.data, bytes.len, &v, &e), &e);
    struct apply a = {.db = b->writer, .seq = 1, .at = 1700000000000, .env = &v.env};
    struct txn_op op;
    for (struct cursor c = txn_ops(&v); txn_next(&c, &op);) {
        buf_reset(result);
        must(op_of(b, op.type)
                 ->apply(entities_domain(b->entities)->self, &a, op.version, &op.payload, result,
                         &e),
             &e);
    }
    txn_view_fini(&v);
}

static json_t *record(size_t i)
{
    char name[64], email[64], note[200];
    snprintf(name, sizeof(name), "Customer number %zu", i);
    snprintf(email, sizeof(email), "customer%zu@example.org", i);
    memset(note, 'x', sizeof(note) - 1);
    note[170] = '\0';
    return json_pack("{s:s,s:s,s:i,s:s,s:s}", "name", name, "email", email, "n", (int)(i % 1000),
                     "tier", "pro", "note", note);
}

static void report(const char *what, double seconds, size_t n)
{
    printf("%-34s %8.2f us  %9.0f /s\n", what, 1e6 * seconds / (double)n, (double)n / seconds);
}

static void define(struct bench *b, const char *extra)
{
    char json[2000];
    struct err e = ERR_INIT;
    struct entity_def *d;
    struct buf result = BUF_INIT(4096);
    struct txn t;
    snprintf(json, sizeof(json), plain, extra);
    must(entity_def_parse_text(json, strlen(json), &d, &e), &e);
    txn_init(&t);
    txn_envelope(&t, &(struct envelope){.tenant = "default"});
    entity_txn_define(&t, d);
    must(db_begin(b->writer, &e), &e);
    apply(b, &t, &result);
    must(db_commit(b->writer, &e), &e);
    entities_domain(b->entities)->committed(entities_domain(b->entities)->self, 1, 1);
    txn_fini(&t);
    buf_fini(&result);
    entity_def_unref(d);
    b->def = entities_find(b->entities, "Plain");
}

enum { BATCH = 1000, SAVE, PATCH };

static void writes(struct bench *b, const char *what, int kind, enum entity_mode mode)
{
    struct err e = ERR_INIT;
    struct buf result = BUF_INIT(4096);
    double apply_s = 0, commit_s = 0;
    for (size_t i = 0; i < b->count; i += BATCH) {
        struct txn t;
        txn_init(&t);
        txn_envelope(&t, &(struct envelope){.tenant = "default", .principal = "bench"});
        for (size_t k = i; k < i + BATCH && k < b->count; k++) {
            json_t *r = kind == SAVE ? record(k) : json_pack("{s:i}", "n", (int)k + 5000);
            if (kind == SAVE) {
                struct entity_doc doc;
                entity_doc_init(&doc);
                must(entity_doc_make(b->def, r, 0, &doc, NULL, &e), &e);
                entity_txn_save(&t, b->def, b->ids[k], mode, 0, &doc);
                entity_doc_fini(&doc);
            } else {
                must(entity_txn_patch(&t, b->def, b->ids[k], 0, ENTITY_PATCH_MERGE, r, &e), &e);
            }
            json_decref(r);
        }
        double begin = now();
        must(db_begin(b->writer, &e), &e);
        apply(b, &t, &result);
        double applied = now();
        must(db_commit(b->writer, &e), &e);
        apply_s += applied - begin;
        commit_s += now() - applied;
        if (i % (20 * BATCH) == 0)
            db_checkpoint(b->writer, &e);
        txn_fini(&t);
    }
    report(what, apply_s, b->count);
    report("  its commit", commit_s, b->count);
    buf_fini(&result);
}

static void checks(struct bench *b)
{
    struct err e = ERR_INIT;
    json_t *r = record(7);
    struct entity_doc doc;
    entity_doc_init(&doc);
    double begin = now();
    for (size_t i = 0; i < b->count; i++)
        must(entity_doc_make(b->def, r, 0, &doc, NULL, &e), &e);
    report("check and print a record", now() - begin, b->count);
    printf("%-34s %8zu bytes\n", "  its body", doc.body.len);
    entity_doc_fini(&doc);
    json_decref(r);
}

static void reads(struct bench *b)
{
    struct err e = ERR_INIT;
    struct buf out = BUF_INIT(1 << 20);
    double begin = now();
    for (size_t i = 0; i < b->count; i++) {
        buf_reset(&out);
        must(
            entity_get(b->reader, b->def, "default", b->ids[(i * 7919) % b->count], &out, NULL, &e),
            &e);
    }
    report("get by id", now() - begin, b->count);
    begin = now();
    must(db_snapshot_begin(b->reader, &e), &e);
    for (size_t i = 0; i < b->count; i++) {
        buf_reset(&out);
        must(
            entity_get(b->reader, b->def, "default", b->ids[(i * 7919) % b->count], &out, NULL, &e),
            &e);
    }
    db_snapshot_end(b->reader);
    report("get by id, in one snapshot", now() - begin, b->count);
    buf_fini(&out);
    static const char *const asked[][2] = {
        {"{}", NULL}, {"{\"n\":17}", "-name"}, {"{\"tier\":\"pro\",\"n\":{\"$lt\":500}}", NULL}};
    for (size_t q = 0; q < 3; q++) {
        size_t pages = 0;
        begin = now();
        for (; pages < 2000 && now() - begin < 1.0; pages++) {
            struct filter *f;
            struct entity_page p;
            must(filter_parse_text(b->def, asked[q][0], strlen(asked[q][0]), &f, &e), &e);
            entity_page_init(&p, 1 << 20);
            must(entity_query(b->reader, b->def, "default",
                              &(struct entity_query){
                                  .filter = f, .sort = asked[q][1], .count = ENTITY_COUNT_NONE},
                              &p, &e),
                 &e);
            entity_page_fini(&p);
            filter_free(f);
        }
        char what[80];
        snprintf(what, sizeof(what), "page of 50: %s", asked[q][0]);
        report(what, now() - begin, pages);
    }
}

static void run(size_t count, const char *what, const char *extra)
{
    struct err e = ERR_INIT;
    struct bench b = {.count = count, .dir = "/tmp/entity-bench-XXXXXX"};
    char path[96], file[112];
    if (mkdtemp(b.dir) == NULL)
        exit(1);
    snprintf(path, sizeof(path), "%s/koan.db", b.dir);
    must(db_open(&(struct db_options){.path = path, .mode = DB_WRITER}, &b.writer, &e), &e);
    must(db_migrate(b.writer, &e), &e);
    must(db_open(&(struct db_options){.path = path, .mode = DB_READER}, &b.reader, &e), &e);
    b.entities = entities_new();
    const struct domain *d = entities_domain(b.entities);
    must(d->opened(d->self, b.writer, &e), &e);
    printf("-- %zu records, %s\n", count, what);
    define(&b, extra);
    b.ids = mem_try(count * sizeof(*b.ids));
    struct uuid_gen gen = {0};
    for (size_t i = 0; i < count; i++) {
        uint8_t random[8];
        struct uuid u;
        for (size_t k = 0; k < 8; k++)
            random[k] = (uint8_t)rand();
        uuid_v7(&gen, 1700000000000 + i / 20, random, &u);
        uuid_format(&u, b.ids[i]);
    }
    checks(&b);
    writes(&b, "apply entity.save, create", SAVE, ENTITY_CREATE);
    writes(&b, "apply entity.save, unchanged", SAVE, ENTITY_UPSERT);
    writes(&b, "apply entity.patch", PATCH, ENTITY_UPSERT);
    reads(&b);
    mem_free(b.ids);
    entity_def_unref(b.def);
    db_close(b.reader);
    db_close(b.writer);
    entities_free(b.entities);
    for (const char *const *s = (const char *const[]){"", "-wal", "-shm", NULL}; *s != NULL; s++) {
        snprintf(file, sizeof(file), "%s%s", path, *s);
        unlink(file);
    }
    rmdir(b.dir);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    run(count, "no index", "");
    run(count, "two indexes", ",\"index\":[[\"tier\",\"-created_at\"],[\"n\",\"-name\"]]");
    return 0;
}
