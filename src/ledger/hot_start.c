/* Hot domains: the start. Each gets the state of its file, and the entries behind it again up to
 * the applied one, as domain.h says. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "ledger/entry_priv.h"
#include "ledger/hot_file_priv.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"

enum { HOT_REPLAY_WINDOW = 1 << 20 };

static const char way_out[] =
    "restore the whole data directory from a backup, or remove this node and join it anew";

/* ---- what the database says ---- */

/* A state that nobody here keeps up to date would fall behind the log. */
static int rows_known(struct ledger *l, struct err *e)
{
    char name[64] = "";
    int rc;
    while ((rc = store_hot_next(l->db, name, name, e)) > 0) {
        bool known = false;
        for (size_t i = 0; i < l->hots_count; i++)
            known |= strcmp(l->hots[i].domain->name, name) == 0;
        if (!known)
            return err_set(e, ERR_UNSUPPORTED,
                           "koan.db keeps a state of `%s`, which this program does not know: it "
                           "was written by a newer one; run that version, the data is whole",
                           name);
    }
    return rc;
}

static int row_take(struct hot *h, const struct hot_row *row, uint64_t applied, struct err *e)
{
    if (row->seq > applied)
        return err_set(e, ERR_CORRUPT,
                       "koan.db keeps a state of `%s` as of entry %llu, and ends at entry %llu; %s",
                       h->domain->name, (unsigned long long)row->seq, (unsigned long long)applied,
                       way_out);
    h->position = row->seq;
    h->at = row->at;
    h->saved = row->saved;
    return 0;
}

/* A domain that comes to a folder that was there before it begins with the next entry. */
static int rows_begin(struct ledger *l, struct hot *h, struct err *e)
{
    struct hot_row row = {.seq = atomic_load(&l->applied), .at = l->applied_at};
    int rc = db_begin(l->db, e);
    if (rc < 0)
        return rc;
    rc = store_hot_put(l->db, h->domain->name, &row, e);
    if (rc == 0)
        rc = db_commit(l->db, e);
    if (rc < 0)
        db_rollback(l->db);
    return rc < 0 ? rc : row_take(h, &row, row.seq, e);
}

static int rows_take(struct ledger *l, struct err *e)
{
    int rc = rows_known(l, e);
    for (size_t i = 0; i < l->hots_count && rc == 0; i++) {
        struct hot *h = &l->hots[i];
        struct hot_row row;
        rc = store_hot_get(l->db, h->domain->name, &row, e);
        if (rc >= 0)
            rc = rc > 0 ? row_take(h, &row, atomic_load(&l->applied), e) : rows_begin(l, h, e);
    }
    return rc;
}

/* ---- the files ---- */

struct unfinished {
    char names[HOT_GONE_MAX][64];
    size_t count;
};

static int unfinished_each(void *arg, const char *name)
{
    struct unfinished *u = arg;
    size_t n = strlen(name);
    if (str_ends(name, ".tmp") && n < 64 && u->count < HOT_GONE_MAX)
        memcpy(u->names[u->count++], name, n + 1);
    return 0;
}

static int folder_make(struct ledger *l, const char *dir, struct err *e)
{
    struct disk *d = l->world->disk;
    struct unfinished u = {.count = 0};
    int rc = d->mkdir(d, dir, e);
    if (rc == 0)
        rc = d->sync_dir(d, l->dir, e);
    if (rc == 0)
        rc = d->list(d, dir, unfinished_each, &u, e);
    for (size_t i = 0; i < u.count && rc == 0; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, u.names[i]);
        rc = d->unlink(d, path, e);
    }
    return rc;
}

static int file_read_state(struct ledger *l, struct hot *h, struct disk_file *f, const char *name,
                           struct err *e)
{
    struct disk *d = l->world->disk;
    const struct domain *domain = h->domain;
    struct hot_head head = {.domain = domain->name, .index = h->position, .at = h->at};
    AUTO(hot_in_fini) struct hot_in in = {.disk = d};
    int rc = hot_in_begin(&in, d, f, name, &head, e);
    if (rc == 0)
        rc = domain->hot->load(domain->self, &in, e);
    if (rc == 0)
        rc = hot_in_end(&in, e);
    h->bytes = in.at;
    return rc < 0 && !str_starts(e->text, name) ? err_context(e, "%s", name) : rc;
}

static int file_load(struct ledger *l, struct hot *h, struct err *e)
{
    struct disk *d = l->world->disk;
    struct disk_file *f;
    if (!h->saved)
        return 0;
    AUTO(mem_freep)
    char *name = mem_printf("state/%s-%llu", h->domain->name, (unsigned long long)h->position);
    AUTO(mem_freep) char *path = mem_printf("%s/%s", l->dir, name);
    int rc = d->open(d, path, DISK_READ, &f, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, ERR_CORRUPT,
                       "%s is missing, though koan.db says that the state of `%s` is in it; %s",
                       name, h->domain->name, way_out);
    if (rc < 0)
        return rc;
    rc = file_read_state(l, h, f, name, e);
    d->close(f);
    return rc;
}

/* ---- once more ---- */

struct replay {
    struct ledger *l;
    struct hot_skips skips;
    struct log_reader reader;
    struct apply a;
    const uint8_t *payload; /* of the entry */
};

/* Has the domain not seen this entry? */
static bool replay_wants(const struct replay *r, const struct hot *h)
{
    return h->position < r->a.seq;
}

static const struct hot *replay_hot(const struct replay *r, const struct domain *d)
{
    for (size_t i = 0; i < r->l->hots_count; i++) {
        if (r->l->hots[i].domain == d)
            return &r->l->hots[i];
    }
    return NULL;
}

static int replay_begin(struct replay *r, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < r->l->hots_count && rc == 0; i++) {
        const struct domain *d = r->l->hots[i].domain;
        if (replay_wants(r, &r->l->hots[i]))
            rc = d->hot->entry(d->self, &r->a, e);
    }
    return rc;
}

static void replay_end(struct replay *r, size_t bytes)
{
    for (size_t i = 0; i < r->l->hots_count; i++) {
        struct hot *h = &r->l->hots[i];
        if (!replay_wants(r, h))
            continue;
        h->behind += bytes;
        if (h->domain->committed != NULL)
            h->domain->committed(h->domain->self, r->a.seq, r->a.at);
    }
}

static int replay_op(struct replay *r, struct txn_op *op, const struct op_ref *ref, struct err *e)
{
    struct buf *results = &r->l->outcome.results;
    buf_reset(results);
    r->a.offset = (uint32_t)(op->payload.p - r->payload);
    int rc = ref->op->apply(ref->domain->self, &r->a, op->version, &op->payload, results, e);
    if (rc < 0 && !ledger_code_is_ours(rc)) {
        err_context(e, "refused, though it was applied before");
        e->code = rc = ERR_CORRUPT;
    }
    if (rc < 0)
        err_context(e, "%s", ref->op->name);
    else
        hot_count(r->l, ref->domain);
    return rc;
}

static void replay_unit_begins(struct replay *r)
{
    for (size_t i = 0; i < r->l->hots_count; i++) {
        const struct domain *d = r->l->hots[i].domain;
        if (d->unit != NULL && replay_wants(r, &r->l->hots[i]))
            d->unit(d->self, &r->a);
    }
}

static int replay_unit(struct replay *r, const struct txn_view *v, struct err *e)
{
    struct txn_op op;
    bool begun = false;
    int rc = 0;
    r->a.env = &v->env;
    struct cursor c = txn_ops(v);
    while (rc == 0 && txn_next(&c, &op)) {
        struct op_ref ref;
        rc = ledger_op_known(r->l, r->a.seq, &op, &ref, e);
        if (rc < 0 || !ref.op->hot || !replay_wants(r, replay_hot(r, ref.domain)))
            continue;
        if (!begun)
            replay_unit_begins(r);
        begun = true;
        rc = replay_op(r, &op, &ref, e);
    }
    return rc;
}

static int replay_units(struct replay *r, struct cursor *c, uint32_t count, struct err *e)
{
    struct txn_view v;
    size_t n;
    int rc = 0;
    r->l->texts.known = false;
    hot_expect(r->l, *c, count);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        const void *p = entry_next(c, &n);
        if (p == NULL)
            return err_set(e, ERR_CORRUPT, "it does not hold %u whole units", count);
        bool skipped = r->skips.seq == r->a.seq && r->skips.unit == i;
        r->a.unit = i;
        rc = txn_decode_in(p, n, &r->l->texts, &v, e);
        if (rc == 0)
            rc = skipped ? store_hot_skips_next(&r->skips, e) : replay_unit(r, &v, e);
    }
    return rc;
}

static int replay_record(struct replay *r, const struct record *rec, struct err *e)
{
    struct entry_head head = {.units = 0};
    struct cursor c;
    int rc = 0;
    r->payload = rec->data;
    if (rec->type == CONSENSUS_UNITS) {
        rc = entry_open(rec->data, rec->len, &head, &c, e);
        r->a.at = rc == 0 ? head.at : r->a.at;
    }
    r->a.env = NULL;
    r->a.unit = r->a.offset = 0;
    if (rc == 0)
        rc = replay_begin(r, e);
    if (rc == 0)
        rc = replay_units(r, &c, head.units, e);
    if (rc == 0)
        replay_end(r, record_size(rec->len));
    return rc;
}

static int replay_entry(struct replay *r, uint64_t index, struct err *e)
{
    struct record rec;
    int rc = log_reader_read(&r->reader, index, &rec, e);
    if (rc == ERR_GONE)
        return err_set(e, ERR_CORRUPT,
                       "log entry %llu is missing from log/, and a state in state/ needs it; %s",
                       (unsigned long long)index, way_out);
    if (rc < 0)
        return rc;
    r->a.seq = index;
    rc = replay_record(r, &rec, e);
    return rc < 0 ? err_context(e, "log entry %llu, once more", (unsigned long long)index) : 0;
}

static void replay_fini(struct replay *r)
{
    log_reader_fini(&r->reader);
    store_hot_skips_done(&r->skips);
}

/* The lowest position, with the time there. */
static const struct hot *replay_from(const struct ledger *l)
{
    const struct hot *low = &l->hots[0];
    for (size_t i = 1; i < l->hots_count; i++)
        low = l->hots[i].position < low->position ? &l->hots[i] : low;
    return low;
}

static int replay_all(struct ledger *l, struct err *e)
{
    const struct hot *low = replay_from(l);
    uint64_t from = low->position, to = atomic_load(&l->applied);
    AUTO(replay_fini) struct replay r = {.l = l, .a = {.at = low->at}};
    log_reader_init(&r.reader, l->log, HOT_REPLAY_WINDOW);
    int rc = from < to ? store_hot_skips(l->db, from, &r.skips, e) : 0;
    for (uint64_t i = from + 1; i <= to && rc == 0; i++)
        rc = replay_entry(&r, i, e);
    if (rc == 0 && from < to)
        log_info("ledger", "states in memory brought forward entries=%llu last=%llu",
                 (unsigned long long)(to - from), (unsigned long long)to);
    return rc;
}

int hot_start(struct ledger *l, struct err *e)
{
    int rc = rows_take(l, e);
    if (rc < 0 || l->hots_count == 0)
        return rc;
    AUTO(mem_freep) char *dir = mem_printf("%s/state", l->dir);
    rc = folder_make(l, dir, e);
    for (size_t i = 0; i < l->hots_count && rc == 0; i++)
        rc = file_load(l, &l->hots[i], e);
    return rc < 0 ? rc : replay_all(l, e);
}
