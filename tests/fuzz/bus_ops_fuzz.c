/* The operations of the bus: any bytes as any of them give a change or a refusal, one after the
 * other on the same rows; afterwards what tenants use still counts what is there, and the routes
 * can be made of the rows.
 *
 * Input: for each operation u8 which, u8 tenths of a second since the one before, u16 length, and
 * so many bytes of payload. */
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "ledger/txn.h"
#include "support/ledger_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MAX = 16 << 10 };

static const char *const rules[] = {
    "SELECT count(*) FROM bus_use AS u WHERE what = 1 AND used <> (SELECT coalesce(sum(bytes), 0) "
    "FROM bus_retained AS r WHERE r.tenant = u.tenant)",
    "SELECT count(*) FROM bus_use AS u WHERE what = 2 AND used <> (SELECT count(*) FROM bus_waits "
    "AS w WHERE w.tenant = u.tenant)",
    "SELECT count(*) FROM bus_patterns AS p WHERE waits <> (SELECT count(*) FROM bus_waits AS w "
    "WHERE w.tenant = p.tenant AND w.pattern = p.pattern)",
    "SELECT count(*) FROM bus_met AS m WHERE waits <> (SELECT count(*) FROM bus_waits AS w WHERE "
    "w.met = m.number)",
    "SELECT count(*) FROM bus_places AS p WHERE state <> 3 AND NOT EXISTS (SELECT 1 FROM "
    "bus_groups AS g WHERE g.tenant = p.tenant AND g.grp = p.grp)",
    "SELECT count(*) FROM bus_retained WHERE position > (SELECT value FROM bus_numbers WHERE what "
    "= 2)",
};

static void fuzz_op(struct db *db, struct bus *b, const struct domain_op *op, struct apply *a,
                    struct cursor *payload)
{
    struct err e = ERR_INIT;
    struct buf result = BUF_INIT(4096);
    a->seq++;
    ASSERT(db_savepoint(db, &e) == 0);
    b->domain.unit(b, a);
    int rc = op->apply(b, a, 1, payload, &result, &e);
    ASSERT(rc <= 0 && rc != ERR_CORRUPT && rc != ERR_INTERNAL && rc != ERR_IO);
    ASSERT(rc == 0 || *e.text != '\0');
    if (rc == 0) {
        ASSERT(db_release(db, &e) == 0);
    } else {
        db_rollback_to(db);
        b->domain.undo(b, false);
    }
    buf_fini(&result);
}

static void fuzz_check(struct db *db, struct bus *b)
{
    struct err e = ERR_INIT;
    struct bus_routes *routes = NULL;
    uint64_t revision = 0, waited = 0;
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        struct db_stmt *s = db_stmt_get(db, rules[i], &e);
        ASSERT(s != NULL && db_step(s, &e) == 1 && db_col_int(s, 0) == 0);
        db_stmt_done(s);
    }
    ASSERT(bus_number(db, BUS_REVISION, &revision, &e) == 0 && revision == b->revision);
    ASSERT(bus_number(db, BUS_WAITED, &waited, &e) == 0 && waited == b->waited.number);
    ASSERT(bus_routes_load(db, revision, &routes, &e) == 0);
    bus_routes_unref(routes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct db *db;
    static struct bus *bus;
    static const struct envelope env = {.tenant = "default", .principal = "fuzz"};
    struct err e = ERR_INIT;
    struct cursor in;
    char dir[256], path[300];
    if (size > FUZZ_MAX)
        return 0;
    if (db == NULL) {
        kit_dir(dir);
        snprintf(path, sizeof path, "%s/koan.db", dir);
        struct db_options o = {.path = path, .mode = DB_WRITER};
        ASSERT(db_open(&o, &db, &e) == 0 && db_migrate(db, &e) == 0);
        bus = bus_new();
        ASSERT(bus->domain.opened(bus, db, &e) == 0);
        kit_dir_remove(dir);
    }
    struct apply a = {.db = db, .at = 1700000000000, .env = &env};
    cursor_init(&in, data, size);
    ASSERT(db_begin(db, &e) == 0);
    while (cursor_left(&in) > 0) {
        const struct domain_op *op = &bus->domain.ops[cursor_u8(&in) % bus->domain.ops_count];
        a.at += 100 * cursor_u8(&in);
        uint16_t n = cursor_u16(&in);
        const void *p = cursor_raw(&in, n);
        struct cursor payload;
        if (p == NULL)
            break;
        cursor_init(&payload, p, n);
        fuzz_op(db, bus, op, &a, &payload);
    }
    fuzz_check(db, bus);
    db_rollback(db);
    bus->domain.undo(bus, true);
    return 0;
}
