/* What came of a wait, from the rows; on the connection of the calling thread. */
#include <string.h>

#include "base/mem.h"
#include "bus/bus_priv.h"
#include "db/db.h"
#include "queue/queue.h"

void bus_met_fini(struct bus_met *m)
{
    buf_fini(&m->held);
}

/* Into m->held; where it lies is said later, when that moves no more. */
static size_t met_keep(struct bus_met *m, const void *p, size_t n)
{
    size_t at = m->held.len;
    if (p == NULL)
        return SIZE_MAX;
    buf_add(&m->held, p, n);
    buf_addc(&m->held, '\0');
    return at;
}

static const char *met_text(const struct bus_met *m, size_t at)
{
    return at == SIZE_MAX ? NULL : m->held.data + at;
}

static int met_fill(struct db_stmt *s, struct bus_met *m, struct err *e)
{
    size_t at[5], n;
    m->at = db_col_int(s, 1);
    buf_init(&m->held, CORE_BODY_MAX + QUEUE_HEADERS_BYTES + 4096);
    const void *id = db_col_blob(s, 2, &n);
    if (id != NULL && n == sizeof m->id.b)
        memcpy(m->id.b, id, n);
    for (int i = 0; i < 4; i++) {
        const char *text = db_col_text(s, 3 + i, &n);
        at[i] = met_keep(m, text, n);
    }
    const void *body = db_col_blob(s, 7, &m->body_len);
    at[4] = met_keep(m, body != NULL ? body : "", m->body_len);
    int rc = buf_check(&m->held, "a message", e);
    if (rc != 0) {
        bus_met_fini(m);
        return rc;
    }
    m->topic = met_text(m, at[0]);
    m->key = met_text(m, at[1]);
    m->type = met_text(m, at[2]);
    m->headers = met_text(m, at[3]);
    m->body = met_text(m, at[4]);
    return 0;
}

int bus_wait_read(struct db *reader, const char *tenant, const struct uuid *record,
                  const char *name, enum bus_waited *out, struct bus_met *met, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *s = db_stmt_get(
        reader,
        "SELECT w.met, m.at, m.id, m.topic, m.key, m.type, m.headers, m.body, w.until FROM "
        "bus_waits AS w "
        "LEFT JOIN bus_met AS m ON m.number = w.met WHERE w.tenant = ?1 AND w.record = ?2 AND "
        "w.name = ?3",
        e);
    *met = (struct bus_met){.at = 0};
    *out = BUS_WAIT_NONE;
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, tenant);
    db_bind_blob(s, 2, record->b, sizeof record->b);
    db_bind_str(s, 3, name);
    int rc = db_step(s, e);
    if (rc <= 0)
        return rc;
    *out = db_col_int(s, 0) == 0 ? BUS_WAIT_OPEN : BUS_WAIT_MET;
    met->until = db_col_int(s, 8);
    return *out == BUS_WAIT_MET ? met_fill(s, met, e) : 0;
}
