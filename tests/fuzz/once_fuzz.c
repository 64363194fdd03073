/* The payload of a key's condition or of ledger.keep, whatever its bytes: refused or applied, never
 * a crash; a refusal writes nothing, and the state hash still is the sum of the rows. First byte:
 * which operation. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "ledger/ledger_priv.h"
#include "ledger/once.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* On files that are gone as soon as they are open. */
static struct db *open_db(void)
{
    char dir[] = "/tmp/once-fuzz-XXXXXX", path[64], wal[72];
    struct db *db = NULL;
    ASSERT(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/koan.db", dir);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    struct db_options o = {.path = path, .mode = DB_WRITER, .exclusive = true};
    ASSERT(db_open(&o, &db, NULL) == 0 && db_migrate(db, NULL) == 0);
    unlink(path);
    unlink(wal);
    rmdir(dir);
    return db;
}

static int apply(struct db *db, const uint8_t *data, size_t size, int64_t at)
{
    static struct ledger *l;
    static const struct envelope env = {.tenant = "default", .principal = "fuzz"};
    struct domain d;
    struct apply a = {.db = db, .seq = 1, .at = at, .env = &env};
    struct buf result = BUF_INIT(1 << 20);
    struct cursor c;
    struct err e = ERR_INIT;
    l = l != NULL ? l : mem_new(sizeof *l);
    once_domain(l, &d);
    buf_add_bytes(&result, "earlier", 7);
    buf_add_u32(&result, 0);
    cursor_init(&c, data + 1, size - 1);
    int rc = d.ops[data[0] % d.ops_count].apply(d.self, &a, 1, &c, &result, &e);
    ASSERT(rc == 0 || (rc == e.code && e.text[0] != '\0'));
    buf_fini(&result);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct db *db;
    db = db != NULL ? db : open_db();
    if (size == 0)
        return 0;
    ASSERT(db_begin(db, NULL) == 0);
    uint64_t before = db_hash(db), scan;
    int rc = apply(db, data, size, 1);
    if (rc < 0 || data[0] % 2 == 0)
        ASSERT(db_hash(db) == before);
    else /* what was kept makes room for itself, and its time passes */
        ASSERT(apply(db, data, size, 2) == 0);
    ASSERT(db_hash_scan(db, &scan, NULL) == 0 && scan == db_hash(db));
    int64_t oldest;
    ASSERT(once_purge(db, 2, &oldest, NULL) == 0 && oldest == INT64_MAX);
    ASSERT(db_hash(db) == before);
    db_rollback(db);
    return 0;
}
