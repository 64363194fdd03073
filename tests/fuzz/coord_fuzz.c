/* The operations of coord: any bytes as any of them give a change or a refusal, one after the other
 * on the same rows; afterwards locks and what tenants use still count what is there.
 *
 * Input: for each operation u8 which, u8 tenths of a second since the one before, u16 length, and
 * so many bytes of payload. */
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "coord/coord_priv.h"
#include "db/db.h"
#include "ledger/domain.h"
#include "support/coord_lab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MAX = 16 << 10 };

static const char *const rules[] = {
    "SELECT count(*) FROM coord_locks AS l WHERE (held = 0 AND waiting = 0) OR held <> (SELECT "
    "count(*) FROM coord_claims AS c WHERE c.tenant = l.tenant AND c.name = l.name AND token > 0) "
    "OR waiting <> (SELECT count(*) FROM coord_claims AS c WHERE c.tenant = l.tenant AND c.name = "
    "l.name AND token = 0)",
    "SELECT count(*) FROM coord_claims AS c WHERE NOT EXISTS (SELECT 1 FROM coord_locks AS l WHERE "
    "l.tenant = c.tenant AND l.name = c.name)",
    "SELECT count(*) FROM coord_use WHERE what = 1 AND used <> (SELECT count(*) FROM coord_claims)",
    "SELECT count(*) FROM coord_use WHERE what = 2 AND used <> (SELECT count(*) FROM coord_values)",
    "SELECT count(*) FROM coord_use WHERE what = 3 AND used <> (SELECT "
    "coalesce(sum(length(value) + length(CAST(key AS BLOB))), 0) FROM coord_values)",
    "SELECT count(*) FROM coord_use WHERE what = 4 AND used <> (SELECT count(*) FROM "
    "coord_counters)",
    "SELECT count(*) FROM coord_use WHERE what = 5 AND used <> (SELECT count(*) FROM coord_limits)",
    "SELECT count(*) FROM coord_use WHERE what = 6 AND used <> (SELECT count(*) FROM coord_inbox)",
    "SELECT count(*) FROM coord_use WHERE what = 8 AND used <> (SELECT count(*) FROM coord_cache)",
    "SELECT count(*) FROM coord_use WHERE what = 9 AND used <> (SELECT "
    "coalesce(sum(length(value) + length(CAST(name AS BLOB))), 0) FROM coord_cache)",
    "SELECT count(*) FROM coord_use WHERE what = 10 AND used <> (SELECT count(*) FROM "
    "coord_flushes)",
};

static void fuzz_op(struct coord_lab *l, const struct domain_op *op, struct apply *a,
                    struct cursor *payload)
{
    struct err e = ERR_INIT;
    struct buf result = BUF_INIT(4096);
    a->seq++;
    ASSERT(db_savepoint(l->db, &e) == 0);
    l->coord->domain.unit(l->coord, a);
    int rc = op->apply(l->coord, a, op->version_max, payload, &result, &e);
    ASSERT(rc <= 0 && rc != ERR_CORRUPT && rc != ERR_INTERNAL);
    ASSERT(rc == 0 || *e.text != '\0');
    if (rc == 0) {
        ASSERT(db_release(l->db, &e) == 0);
    } else {
        db_rollback_to(l->db);
        l->coord->domain.undo(l->coord, false);
    }
    buf_fini(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct coord_lab lab;
    static const struct envelope env = {.tenant = "default", .principal = "fuzz"};
    struct err e = ERR_INIT;
    struct cursor in;
    if (size > FUZZ_MAX)
        return 0;
    if (lab.db == NULL)
        coord_lab_open(&lab);
    const struct domain *d = coord_domain(lab.coord);
    struct apply a = {.db = lab.db, .at = lab.at, .env = &env};
    cursor_init(&in, data, size);
    ASSERT(db_begin(lab.db, &e) == 0);
    while (cursor_left(&in) > 0) {
        const struct domain_op *op = &d->ops[cursor_u8(&in) % d->ops_count];
        a.at += 100 * cursor_u8(&in);
        uint16_t n = cursor_u16(&in);
        const void *p = cursor_raw(&in, n);
        struct cursor payload;
        if (p == NULL)
            break;
        cursor_init(&payload, p, n);
        fuzz_op(&lab, op, &a, &payload);
    }
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        int64_t wrong = 1;
        ASSERT(store_number(lab.db, rules[i], 1, &wrong, &e) == 0 && wrong == 0);
    }
    db_rollback(lab.db);
    d->undo(d->self, true);
    return 0;
}
