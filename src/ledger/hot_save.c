/* Hot domains: saving.
 *
 * On the ledger's thread the state is written into a file, which is but memory of the kernel's; the
 * log thread syncs it and gives it its name; then the database records it. A file that is not
 * recorded is nothing, one that is recorded is needed until a later one is, on stable storage.
 * Where space or memory is missing nothing has happened, and the next checkpoint tries again. */
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "ledger/hot_file_priv.h"
#include "ledger/hot_priv.h"
#include "ledger/ledger_priv.h"

/* ---- one state into its file ---- */

static void save_paths(struct hot_save *s, const struct ledger *l, const struct hot *h)
{
    mem_free(s->dir);
    mem_free(s->tmp);
    mem_free(s->path);
    s->dir = mem_printf("%s/state", l->dir);
    s->path = mem_printf("%s/%s-%llu", s->dir, h->domain->name, (unsigned long long)s->index);
    s->tmp = mem_printf("%s.tmp", s->path);
}

static int save_content(struct hot_save *s, struct err *e)
{
    struct disk *d = s->ledger->world->disk;
    const struct domain *domain = s->hot->domain;
    struct hot_head head = {.domain = domain->name, .index = s->index, .at = s->at};
    AUTO(hot_out_fini) struct hot_out out = {.disk = d};
    int rc = d->truncate(s->file, 0, e);
    if (rc == 0)
        rc = hot_out_begin(&out, d, s->file, &head, e);
    if (rc == 0)
        rc = domain->hot->save(domain->self, &out, e);
    if (rc == 0)
        rc = hot_out_end(&out, e);
    s->bytes = out.at;
    return rc;
}

static void save_give_up(struct hot_save *s)
{
    struct disk *d = s->ledger->world->disk;
    if (s->file != NULL)
        d->close(s->file);
    s->file = NULL;
    d->unlink(d, s->tmp, NULL);
}

static int save_write(struct ledger *l, struct hot *h, struct err *e)
{
    struct hot_save *s = &l->hot_save;
    struct disk *d = l->world->disk;
    s->ledger = l;
    s->hot = h;
    s->index = atomic_load(&l->applied);
    s->at = l->applied_at;
    s->ops = h->ops;
    save_paths(s, l, h);
    int rc = d->open(d, s->tmp, DISK_READ | DISK_WRITE | DISK_CREATE, &s->file, e);
    if (rc == 0)
        rc = save_content(s, e);
    if (rc < 0) {
        save_give_up(s);
        err_context(e, "the state of %s", h->domain->name);
    }
    return rc;
}

/* The file is whole, on stable storage, and has its name. */
static int save_finish(struct hot_save *s, struct err *e)
{
    struct disk *d = s->ledger->world->disk;
    int rc = d->sync(s->file, e);
    d->close(s->file);
    s->file = NULL;
    if (rc < 0)
        rc = err_set(e, ERR_IO, "syncing %s failed", s->tmp);
    if (rc == 0)
        rc = d->rename(d, s->tmp, s->path, e);
    if (rc == 0)
        rc = d->sync_dir(d, s->dir, e);
    if (rc < 0)
        save_give_up(s);
    return rc;
}

/* ---- recording it ---- */

static uint64_t lowest_position(const struct ledger *l)
{
    uint64_t low = UINT64_MAX;
    for (size_t i = 0; i < l->hots_count; i++)
        low = l->hots[i].position < low ? l->hots[i].position : low;
    return low;
}

static int record_rows(struct ledger *l, const struct hot *h, struct err *e)
{
    struct hot_row row = {.seq = h->position, .at = h->at, .saved = h->saved};
    int rc = store_hot_put(l->db, h->domain->name, &row, e);
    if (rc == 0)
        rc = store_hot_skips_purge(l->db, lowest_position(l), e);
    if (rc == 0) /* no start finds a state that is ahead of the database */
        rc = record_put(l, e);
    return rc == 0 ? db_commit(l->db, e) : rc;
}

static int save_record(struct ledger *l, struct err *e)
{
    const struct hot_save *s = &l->hot_save;
    struct hot *h = s->hot, before = *h;
    int rc = db_begin(l->db, e);
    if (rc < 0)
        return rc;
    h->position = s->index;
    h->at = s->at;
    h->saved = true;
    h->settled = false;
    rc = record_rows(l, h, e);
    if (rc < 0) {
        db_rollback(l->db);
        *h = before;
        return rc;
    }
    record_done(l);
    h->bytes = s->bytes;
    h->behind = 0;
    h->ops -= s->ops;
    h->written = l->log->written;
    log_debug("ledger", "saved domain=%s seq=%llu bytes=%llu", h->domain->name,
              (unsigned long long)s->index, (unsigned long long)s->bytes);
    return 0;
}

/* ---- when ---- */

static bool save_is_due(const struct ledger *l, const struct hot *h)
{
    uint64_t since = l->log->written - h->written + h->behind;
    return atomic_load(&l->applied) > h->position && since >= HOT_STRETCH * h->bytes;
}

void hot_count(struct ledger *l, const struct domain *d)
{
    for (size_t i = 0; i < l->hots_count; i++) {
        if (l->hots[i].domain == d)
            l->hots[i].ops++;
    }
}

bool hot_is_behind(const struct ledger *l)
{
    if (l->log->written - l->checkpoint_bytes < HOT_PACE)
        return false;
    for (size_t i = 0; i < l->hots_count; i++) {
        if (l->hots[i].ops >= HOT_BEHIND && save_is_due(l, &l->hots[i]))
            return true;
    }
    return false;
}

/* False: the process ends. */
static bool save_failed(struct ledger *l, int rc, const struct err *e)
{
    if (ledger_may_retry(rc)) {
        log_warn("ledger", "a state is saved later: %s", e->text);
        return true;
    }
    ledger_die(l, "a state cannot be saved", e);
    return false;
}

static void save_work(struct offload *o)
{
    struct hot_save *s = LIST_OF(o, struct hot_save, off);
    err_clear(&s->err);
    s->err.code = save_finish(s, &s->err);
}

static void save_done(struct offload *o)
{
    struct hot_save *s = LIST_OF(o, struct hot_save, off);
    struct ledger *l = s->ledger;
    s->running = false;
    if (l->dead)
        return;
    int rc = s->err.code;
    if (rc == 0)
        rc = save_record(l, &s->err);
    if (rc < 0 && !save_failed(l, rc, &s->err))
        return;
    hot_save_due(l);
    ledger_run(l);
}

void hot_save_due(struct ledger *l)
{
    struct hot_save *s = &l->hot_save;
    while (s->next < l->hots_count) {
        struct err e = ERR_INIT;
        struct hot *h = &l->hots[s->next++];
        if (!save_is_due(l, h))
            continue;
        int rc = save_write(l, h, &e);
        if (rc == 0) {
            s->running = true;
            s->off.work = save_work;
            s->off.done = save_done;
            l->world->offload(l->world, &s->off);
            return;
        }
        if (!save_failed(l, rc, &e))
            return;
    }
    s->next = 0;
    snapshot_go_on(l);
}

int hot_save_now(struct ledger *l, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < l->hots_count && rc == 0; i++) {
        struct hot *h = &l->hots[i];
        if (atomic_load(&l->applied) == h->position)
            continue;
        rc = save_write(l, h, e);
        if (rc == 0)
            rc = save_finish(&l->hot_save, e);
        if (rc == 0)
            rc = save_record(l, e);
    }
    return rc;
}

/* ---- old files ---- */

struct old_files {
    const struct hot *hot;
    char names[HOT_GONE_MAX][64];
    size_t count;
    bool more;
};

/* DOMAIN-SEQ, but not the one that is recorded. */
static int old_file(void *arg, const char *name)
{
    struct old_files *o = arg;
    const char *domain = o->hot->domain->name;
    size_t n = strlen(name), skip = strlen(domain) + 1;
    uint64_t seq;
    if (n <= skip || !str_starts(name, domain) || name[skip - 1] != '-' ||
        !str_to_u64(name + skip, n - skip, &seq) || seq == o->hot->position || n >= 64)
        return 0;
    o->more = o->count == HOT_GONE_MAX;
    if (!o->more)
        memcpy(o->names[o->count++], name, n + 1);
    return 0;
}

static void settle_files(struct ledger *l, struct hot *h)
{
    struct disk *d = l->world->disk;
    struct err e = ERR_INIT;
    struct old_files o = {.hot = h};
    AUTO(mem_freep) char *dir = mem_printf("%s/state", l->dir);
    int rc = d->list(d, dir, old_file, &o, &e);
    for (size_t i = 0; i < o.count && rc == 0; i++) {
        AUTO(mem_freep) char *path = mem_printf("%s/%s", dir, o.names[i]);
        rc = d->unlink(d, path, &e);
    }
    if (rc < 0)
        log_warn("ledger", "an old state is removed later: %s", e.text);
    h->settled = rc == 0 && !o.more;
}

void hot_settle(struct ledger *l)
{
    for (size_t i = 0; i < l->hots_count; i++) {
        if (!l->hots[i].settled)
            settle_files(l, &l->hots[i]);
    }
}
