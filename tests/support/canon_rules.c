#include "support/canon_rules.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "db/db.h"
#include "queue/queue_priv.h"

#define G " g.tenant = 'default' AND g.model = 'Port' AND "
const struct canon_rule canon_rules[] = {
    {"C1: a key belongs to no live golden record",
     "SELECT count(*) FROM canon_key k WHERE NOT EXISTS (SELECT 1 FROM canon_golden g "
     "WHERE " G "g.id = k.golden AND g.lifecycle = 0)"},
    {"C1: a source record belongs to no live golden record",
     "SELECT count(*) FROM canon_source s WHERE s.golden IS NOT NULL AND NOT EXISTS "
     "(SELECT 1 FROM canon_golden g WHERE " G "g.id = s.golden AND g.lifecycle = 0)"},
    {"C1: a live golden record has no source",
     "SELECT count(*) FROM canon_golden g WHERE g.lifecycle = 0 AND NOT EXISTS (SELECT 1 "
     "FROM canon_source s WHERE s.golden = g.id)"},
    {"C1: a live golden record has no row",
     "SELECT count(*) FROM canon_golden g WHERE g.lifecycle = 0 AND NOT EXISTS (SELECT 1 "
     "FROM entity_Port p WHERE p.tenant = 'default' AND p.part = '' AND p.id = g.id)"},
    {"C1: a row has no live golden record",
     "SELECT count(*) FROM entity_Port p WHERE NOT EXISTS (SELECT 1 FROM canon_golden g "
     "WHERE " G "g.id = p.id AND g.lifecycle <> 1)"},
    {"C1: a key that nobody gave",
     "SELECT count(*) FROM canon_key k WHERE NOT EXISTS (SELECT 1 FROM canon_source s, "
     "json_each(s.keys) j WHERE s.golden = k.golden AND j.value = k.key)"},
    {"C4: a tombstone does not lead to a live golden record",
     "SELECT count(*) FROM canon_golden t WHERE t.lifecycle = 1 AND NOT EXISTS (SELECT 1 "
     "FROM canon_golden g WHERE " G "g.id = t.merged_into AND g.lifecycle <> 1)"},
    {"C1: what a source says now has no arrival",
     "SELECT count(*) FROM canon_source s WHERE s.golden IS NOT NULL AND NOT EXISTS "
     "(SELECT 1 FROM canon_arrival a WHERE a.id = s.arrival)"},
    {"C1: an arrival names a golden record that never was",
     "SELECT count(*) FROM canon_arrival a WHERE a.golden IS NOT NULL AND NOT EXISTS "
     "(SELECT 1 FROM canon_golden g WHERE " G "g.id = a.golden)"},
    {"C2: a source record and the owner of its key are apart",
     "SELECT count(*) FROM canon_source s, json_each(s.keys) j WHERE s.golden IS NOT NULL "
     "AND NOT EXISTS (SELECT 1 FROM canon_key k WHERE k.tenant = 'default' AND k.model = "
     "'Port' AND k.key = j.value AND k.golden = s.golden)"},
    {"C1: a source record has no arrival",
     "SELECT count(*) FROM canon_source s WHERE NOT EXISTS (SELECT 1 FROM canon_arrival a "
     "WHERE a.origin = s.origin AND a.source_id = s.source_id)"},
    {"C1: what waits for a key is not parked, or the other way round",
     "SELECT (SELECT count(*) FROM canon_wait w WHERE NOT EXISTS (SELECT 1 FROM canon_arrival a "
     "WHERE a.id = w.arrival AND a.outcome = 2)) + (SELECT count(*) FROM canon_arrival a WHERE "
     "a.reason = 'PARENT_NOT_FOUND' AND a.outcome = 2 AND NOT EXISTS (SELECT 1 FROM canon_wait w "
     "WHERE w.arrival = a.id))"},
    {"C1: a key has an owner, and who waits for it does not know",
     "SELECT count(*) FROM canon_wait w WHERE w.due = 0 AND EXISTS (SELECT 1 FROM canon_key k "
     "WHERE k.tenant = w.tenant AND k.model = w.model AND k.key = w.key)"},
    {NULL, NULL},
};
#undef G

const char *canon_rules_parked(struct db *db, const struct queues *q)
{
    static const char sql[] = "SELECT id FROM canon_arrival WHERE outcome = 2 AND model = 'Port'";
    struct err e = ERR_INIT;
    struct core_counts n = {.available = 0};
    uint64_t parked = 0;
    struct db_stmt *s = db_stmt_get(db, sql, &e);
    bool known = core_counts(q->core, "default", "canon.Port.parked", &n, NULL) == 0, lost = false;
    if (s == NULL)
        PANIC("%s", e.text);
    for (int rc; (rc = db_step(s, &e)) > 0; parked++) {
        struct uuid id;
        struct core_view v = {.state = REC_COMPLETED};
        const char *text = db_col_text(s, 0, NULL);
        lost |= !uuid_parse(text, strlen(text), &id) || core_look(q->core, &id, &v, NULL) != 0 ||
                v.state > REC_RETRYABLE;
    }
    db_stmt_done(s);
    if (lost)
        return "C1: an arrival is parked and has no record that waits";
    if ((known || parked > 0) && n.available + n.scheduled != parked)
        return "C1: a record waits for people and its arrival is not parked";
    return NULL;
}

char *canon_rules_golden(struct db *db)
{
    static const char sql[] =
        "SELECT m || ' ' || body FROM (SELECT p.body AS body, (SELECT group_concat(o, ' ') FROM "
        "(SELECT s.origin || '/' || s.source_id AS o FROM canon_source s WHERE s.golden = p.id "
        "ORDER BY 1)) AS m FROM entity_Port p) WHERE m IS NOT NULL ORDER BY 1";
    struct err e = ERR_INIT;
    struct buf b = BUF_INIT(4 << 20);
    struct db_stmt *s = db_stmt_get(db, sql, &e);
    if (s == NULL)
        PANIC("%s", e.text);
    int rc;
    while ((rc = db_step(s, &e)) > 0) {
        buf_adds(&b, db_col_text(s, 0, NULL));
        buf_addc(&b, '\n');
    }
    db_stmt_done(s);
    if (rc < 0 || buf_failed(&b))
        PANIC("golden records: %s", e.text);
    return buf_take(&b);
}
