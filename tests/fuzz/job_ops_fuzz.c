/* The operations of job: any bytes as any of them give a change or a refusal, one after the other
 * on the same rows; afterwards rows still count what is there.
 *
 * Input: for each operation u8 which (128 more: in its newest version), u8 tenths of a second since
 * the one before, u16 length, and so many bytes of payload. */
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "job/job.h"
#include "ledger/domain.h"
#include "ledger/txn.h"
#include "support/ledger_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_MAX = 16 << 10 };

static const char *const rules[] = {
    "SELECT count(*) FROM job_runs AS r WHERE steps <> (SELECT count(*) FROM job_steps AS s WHERE "
    "s.run = r.id)",
    "SELECT count(*) FROM job_runs AS r WHERE undoable <> (SELECT count(*) FROM job_steps AS s "
    "WHERE s.run = r.id AND undo = 1)",
    "SELECT count(*) FROM job_runs WHERE (state = 1) <> (ended IS NULL)",
    "SELECT count(*) FROM job_history AS h WHERE NOT EXISTS (SELECT 1 FROM job_runs AS r WHERE "
    "r.id = h.run)",
    "SELECT count(*) FROM job_fans WHERE completed + discarded + cancelled > total",
    "SELECT count(*) FROM job_fans WHERE (done IS NOT NULL) <> (completed + discarded + cancelled "
    "= total)",
    "SELECT count(*) FROM job_schedules AS s WHERE running + waiting <> (SELECT count(*) FROM "
    "job_schedule_runs AS r WHERE r.name = s.name) OR waiting <> (SELECT count(*) FROM "
    "job_schedule_runs AS r WHERE r.name = s.name AND r.waiting = 1)",
};

struct lab {
    struct db *db;
    struct jobs *jobs;
};

static void lab_open(struct lab *l)
{
    static char path[300], dir[256];
    struct err e = ERR_INIT;
    kit_dir(dir);
    snprintf(path, sizeof path, "%s/koan.db", dir);
    struct db_options o = {.path = path, .mode = DB_WRITER};
    if (db_open(&o, &l->db, &e) != 0 || db_migrate(l->db, &e) != 0)
        PANIC("%s", e.text);
    l->jobs = jobs_new();
    const struct domain *d = jobs_domain(l->jobs);
    d->opened(d->self, l->db, &e);
}

static void fuzz_op(struct lab *l, const struct domain_op *op, uint8_t version, struct apply *a,
                    struct cursor *payload)
{
    struct err e = ERR_INIT;
    struct buf result = BUF_INIT(4096);
    a->seq++;
    ASSERT(db_savepoint(l->db, &e) == 0);
    int rc = op->apply(jobs_domain(l->jobs)->self, a, version, payload, &result, &e);
    ASSERT(rc <= 0 && rc != ERR_CORRUPT && rc != ERR_INTERNAL);
    ASSERT(rc == 0 || *e.text != '\0');
    if (rc == 0)
        ASSERT(db_release(l->db, &e) == 0);
    else
        db_rollback_to(l->db);
    buf_fini(&result);
}

static void rule_check(struct db *db, const char *sql)
{
    struct db_stmt *s = db_stmt_get(db, sql, NULL);
    ASSERT(s != NULL && db_step(s, NULL) == 1);
    ASSERT(db_col_int(s, 0) == 0);
    db_stmt_done(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lab lab;
    static const struct envelope env = {.tenant = "default", .principal = "fuzz"};
    struct cursor in;
    if (size > FUZZ_MAX)
        return 0;
    if (lab.db == NULL)
        lab_open(&lab);
    const struct domain *d = jobs_domain(lab.jobs);
    struct apply a = {.db = lab.db, .at = 1700000000000, .env = &env};
    cursor_init(&in, data, size);
    ASSERT(db_begin(lab.db, NULL) == 0);
    while (cursor_left(&in) > 0) {
        uint8_t which = cursor_u8(&in);
        const struct domain_op *op = &d->ops[(which & 0x7f) % d->ops_count];
        a.at += 100 * cursor_u8(&in);
        uint16_t n = cursor_u16(&in);
        const void *p = cursor_raw(&in, n);
        struct cursor payload;
        if (p == NULL)
            break;
        cursor_init(&payload, p, n);
        fuzz_op(&lab, op, (which & 0x80) != 0 ? op->version_max : 1, &a, &payload);
    }
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        rule_check(lab.db, rules[i]);
    db_rollback(lab.db);
    d->committed(d->self, a.seq, a.at);
    return 0;
}
