/* One operation's payload, whatever its bytes, as it could stand in a damaged log: refused or
 * applied, never a crash, and the state hash still is the sum of the rows. First byte: which
 * operation. */
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
#include "ledger/txn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
    struct db *db;
    struct entities *entities;
};

static int apply(struct state *s, size_t op, const void *p, size_t n)
{
    const struct domain *d = entities_domain(s->entities);
    static const struct envelope env = {.tenant = "default", .principal = "fuzz"};
    struct apply a = {.db = s->db, .seq = 1, .at = 1, .env = &env};
    struct buf result = BUF_INIT(1 << 20);
    struct cursor c;
    struct err e = ERR_INIT;
    cursor_init(&c, p, n);
    const struct domain_op *o = &d->ops[op % d->ops_count];
    uint8_t version = op & 0x80 ? o->version_max : 1;
    int rc = o->apply(d->self, &a, version, &c, &result, &e);
    ASSERT(rc == 0 || (rc == e.code && e.text[0] != '\0'));
    buf_fini(&result);
    return rc;
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
    static const char def[] =
        "{\"name\":\"T\",\"fields\":{\"a\":{\"kind\":\"int\",\"unique\":true},"
        "\"t\":{\"kind\":\"text\"},\"r\":{\"kind\":\"ref\",\"to\":\"T\",\"on_remove\":\"cascade\"}}"
        ","
        "\"ttl\":\"1h\",\"history\":true,\"soft_remove\":true}";
    struct state *s = mem_new(sizeof(*s));
    struct buf b = BUF_INIT(4096);
    s->db = open_db();
    ASSERT(db_migrate(s->db, NULL) == 0);
    s->entities = entities_new();
    ASSERT(entities_domain(s->entities)->opened(s->entities, s->db, NULL) == 0);
    buf_add_text(&b, def);
    ASSERT(apply(s, 0, b.data, b.len) == 0);
    buf_fini(&b);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct state *s;
    if (s == NULL)
        s = setup();
    if (size == 0)
        return 0;
    ASSERT(db_begin(s->db, NULL) == 0);
    uint64_t before = db_hash(s->db), scan;
    int rc = apply(s, data[0], data + 1, size - 1);
    /* All but a definition check before they write. */
    if (rc < 0 && data[0] % entities_domain(s->entities)->ops_count != 0)
        ASSERT(db_hash(s->db) == before);
    ASSERT(db_hash_scan(s->db, &scan, NULL) == 0 && scan == db_hash(s->db));
    db_rollback(s->db);
    entities_domain(s->entities)->undo(s->entities, true);
    return 0;
}
