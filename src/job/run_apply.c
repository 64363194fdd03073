/* Operations on runs, applied: each a compare-and-set on rows, which looks at all of them before it
 * writes. */
#include <string.h>

#include "base/mem.h"
#include "db/db.h"
#include "job/run_priv.h"

static int run_exec(struct db *db, const char *sql, const struct uuid *id, struct err *e)
{
    struct db_stmt *s = run_stmt(db, sql, id, e);
    return s == NULL ? e->code : db_run(s, e);
}

/* ---- job.run ---- */

static int run_decode(struct cursor *c, struct run_new *n, struct err *e)
{
    size_t len = 0;
    memset(n, 0, sizeof *n);
    uuid_read(c, &n->id);
    n->job = job_text(c, 1, JOB_NAME_MAX);
    n->schedule = job_text(c, 0, JOB_NAME_MAX);
    uint8_t kind = cursor_u8(c), flags = cursor_u8(c);
    n->kind = (enum job_kind)kind;
    n->has_window = flags & RUN_HAS_WINDOW;
    n->has_fan = flags & RUN_HAS_FAN;
    n->has_args = flags & RUN_HAS_ARGS;
    n->from = (int64_t)cursor_u64(c);
    n->to = (int64_t)cursor_u64(c);
    n->scheduled_at = (int64_t)cursor_u64(c);
    if (n->has_fan)
        uuid_read(c, &n->fan);
    n->chain = job_text(c, 0, RUN_CHAIN_BYTES);
    n->correlation = job_text(c, 0, RUN_CORRELATION_BYTES);
    if (n->has_args)
        n->args = cursor_bytes(c, &len);
    n->args_len = len;
    if (kind > JOB_STARTED || (flags & ~RUN_KNOWN) != 0 || len > RUN_ARGS_BYTES ||
        (n->has_args && n->args == NULL))
        c->bad = true;
    return cursor_whole(c, "job.run", e);
}

JOB_APPLY(run_apply_run)
{
    struct run_new n;
    struct run_row r;
    struct run_fan f = {.total = 0};
    (void)self, (void)version, (void)result;
    int rc = run_decode(c, &n, e);
    if (rc == 0)
        rc = run_load(a->db, &n.id, false, &r, e);
    if (rc > 0)
        return err_set(e, ERR_CONFLICT, "there is a run with this id");
    if (rc == 0 && n.has_fan)
        rc = run_fan_load(a->db, &n.fan, false, &f, e);
    if (rc < 0)
        return rc;
    if (n.has_fan && (rc == 0 || f.done))
        return err_set(e, ERR_CONFLICT, "the fan-out of the run is not there");
    n.tenant = a->env->tenant;
    n.at = a->at;
    return run_insert(a->db, &n, e);
}

/* ---- job.end ---- */

struct end_op {
    struct uuid id, undo;
    uint64_t revision;
    enum job_outcome outcome;
    uint8_t flags;
};

static int end_decode(struct cursor *c, struct end_op *o, struct err *e)
{
    memset(o, 0, sizeof *o);
    uuid_read(c, &o->id);
    o->revision = cursor_u64(c);
    uint8_t outcome = cursor_u8(c);
    o->flags = cursor_u8(c);
    if ((o->flags & END_UNDOES) != 0)
        uuid_read(c, &o->undo);
    if (outcome < JOB_COMPLETED || outcome > JOB_CANCELLED || (o->flags & ~END_KNOWN) != 0)
        c->bad = true;
    o->outcome = (enum job_outcome)outcome;
    return cursor_whole(c, "job.end", e);
}

static int end_check(const struct end_op *o, const struct run_row *r, struct err *e)
{
    if (r->run.state != JOB_RUN_OPEN)
        return err_set(e, ERR_CONFLICT, "the run has ended already");
    if (r->run.revision != o->revision)
        return err_set(e, ERR_CONFLICT, "the run has changed meanwhile");
    return 0;
}

/* 1: it is counted in *f. */
static int end_fan(struct db *db, const struct end_op *o, const struct run_row *r,
                   struct run_fan *f, struct err *e)
{
    int rc = 0;
    if (r->run.has_fan && (r->flags & RUN_COUNTED) == 0)
        rc = run_fan_load(db, &r->run.fan, false, f, e);
    if (rc < 0)
        return rc;
    if (rc > 0)
        f->ended[o->outcome]++;
    bool last = rc > 0 && run_fan_left(f) == 0;
    if ((rc > 0) != ((o->flags & END_COUNTS) != 0) || last != ((o->flags & END_LAST) != 0))
        return err_set(e, ERR_CONFLICT, "another run of the fan-out has ended meanwhile");
    return rc;
}

/* The counter of a run that is swept already is of no use once it is done. */
static int end_count(const struct apply *a, const struct end_op *o, const struct run_row *r,
                     const struct run_fan *f, struct err *e)
{
    static const char *const counts[] = {
        [JOB_COMPLETED] = "UPDATE job_fans SET completed = completed + 1 WHERE id = ?1",
        [JOB_DISCARDED] = "UPDATE job_fans SET discarded = discarded + 1 WHERE id = ?1",
        [JOB_CANCELLED] = "UPDATE job_fans SET cancelled = cancelled + 1 WHERE id = ?1",
    };
    int rc = run_exec(a->db, counts[o->outcome], &r->run.fan, e);
    if (rc != 0 || (o->flags & END_LAST) == 0)
        return rc;
    struct run_row parent = {.flags = 0};
    rc = f->has_parent ? run_load(a->db, &f->parent, false, &parent, e) : 0;
    if (rc < 0)
        return rc;
    if (rc == 0)
        return run_exec(a->db, "DELETE FROM job_fans WHERE id = ?1", &r->run.fan, e);
    struct db_stmt *s =
        run_stmt(a->db, "UPDATE job_fans SET done = ?2 WHERE id = ?1", &r->run.fan, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, a->at);
    return db_run(s, e);
}

static int end_write(const struct apply *a, const struct end_op *o, uint32_t flags, struct err *e)
{
    struct db_stmt *s = run_stmt(a->db,
                                 "UPDATE job_runs SET state = ?2, flags = ?3, undo = "
                                 "coalesce(?4, undo), ended = ?5, revision = revision + 1 WHERE "
                                 "id = ?1",
                                 &o->id, e);
    if (s == NULL)
        return e->code;
    db_bind_int(s, 2, o->outcome + 1);
    db_bind_int(s, 3, flags);
    if ((o->flags & END_UNDOES) != 0)
        db_bind_blob(s, 4, o->undo.b, sizeof o->undo.b);
    else
        db_bind_null(s, 4);
    db_bind_int(s, 5, a->at);
    return db_run(s, e);
}

_Static_assert(JOB_RUN_COMPLETED == JOB_COMPLETED + 1 && JOB_RUN_DISCARDED == JOB_DISCARDED + 1 &&
                   JOB_RUN_CANCELLED == JOB_CANCELLED + 1,
               "a run that has ended is in the state of its outcome");

JOB_APPLY(run_apply_end)
{
    struct end_op o;
    struct run_row r;
    struct run_fan f = {.total = 0};
    (void)version, (void)result;
    int rc = end_decode(c, &o, e), counts = 0;
    if (rc == 0)
        rc = run_load(a->db, &o.id, false, &r, e);
    if (rc == 0)
        rc = err_set(e, ERR_CONFLICT, "the run has no row");
    if (rc > 0)
        rc = end_check(&o, &r, e);
    if (rc == 0)
        rc = counts = end_fan(a->db, &o, &r, &f, e);
    if (rc < 0)
        return rc;
    uint32_t flags = r.flags | (counts > 0 ? RUN_COUNTED : 0u);
    flags |= (o.flags & END_CHAINS) != 0 ? RUN_CHAINED : 0u;
    flags |= (o.flags & END_TERMINATES) != 0 ? RUN_TERMINATED : 0u;
    rc = end_write(a, &o, flags, e);
    if (rc == 0 && counts > 0)
        rc = end_count(a, &o, &r, &f, e);
    if (rc != 0)
        return rc;
    return job_over(self, a,
                    &(struct job_over){.run = o.id, .job = r.run.job, .outcome = o.outcome}, e);
}

/* ---- job.fan ---- */

struct fan_op {
    struct uuid id, parent;
    bool has_parent;
    uint32_t total;
    struct text on_done, args, correlation;
};

static int fan_decode(struct cursor *c, struct fan_op *o, struct err *e)
{
    memset(o, 0, sizeof *o);
    uuid_read(c, &o->id);
    uint8_t has_parent = cursor_u8(c);
    o->has_parent = has_parent == 1;
    if (o->has_parent)
        uuid_read(c, &o->parent);
    o->total = cursor_u32(c);
    o->on_done = job_text(c, 1, JOB_NAME_MAX);
    o->args = job_text(c, 2, RUN_FAN_ARGS_BYTES);
    o->correlation = job_text(c, 0, RUN_CORRELATION_BYTES);
    if (has_parent > 1 || o->total == 0 || o->total > JOB_FAN_MAX)
        c->bad = true;
    return cursor_whole(c, "job.fan", e);
}

static int fan_insert(const struct apply *a, const struct fan_op *o, struct err *e)
{
    struct db_stmt *s = run_stmt(
        a->db,
        "INSERT INTO job_fans(id, tenant, parent, total, completed, discarded, cancelled, on_done, "
        "args, correlation, opened, done) VALUES(?1, ?2, ?3, ?4, 0, 0, 0, ?5, ?6, ?7, ?8, NULL)",
        &o->id, e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 2, a->env->tenant);
    if (o->has_parent)
        db_bind_blob(s, 3, o->parent.b, sizeof o->parent.b);
    else
        db_bind_null(s, 3);
    db_bind_int(s, 4, o->total);
    db_bind_text(s, 5, o->on_done.p, o->on_done.n);
    db_bind_text(s, 6, o->args.p, o->args.n);
    db_bind_text(s, 7, o->correlation.n > 0 ? o->correlation.p : "", o->correlation.n);
    db_bind_int(s, 8, a->at);
    return db_run(s, e);
}

JOB_APPLY(run_apply_fan)
{
    struct fan_op o;
    struct run_fan f;
    (void)self, (void)version, (void)result;
    int rc = fan_decode(c, &o, e);
    if (rc == 0)
        rc = run_fan_load(a->db, &o.id, false, &f, e);
    if (rc > 0)
        return err_set(e, ERR_CONFLICT, "there is a fan-out with this id");
    return rc < 0 ? rc : fan_insert(a, &o, e);
}

/* ---- job.sweep ---- */

static int sweep_one(const struct apply *a, const struct uuid *id, bool open, struct err *e)
{
    static const char *const drops[] = {
        "DELETE FROM job_steps WHERE run = ?1",
        "DELETE FROM job_notes WHERE run = ?1",
        "DELETE FROM job_history WHERE run = ?1",
        "DELETE FROM job_fans WHERE parent = ?1 AND done IS NOT NULL",
        "DELETE FROM job_runs WHERE id = ?1",
    };
    struct run_row r;
    int rc = run_load(a->db, id, false, &r, e);
    if (rc <= 0 || (r.run.state == JOB_RUN_OPEN && !open))
        return rc < 0 ? rc : 0;
    rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(drops) && rc == 0; i++)
        rc = run_exec(a->db, drops[i], id, e);
    return rc;
}

JOB_APPLY(run_apply_sweep)
{
    (void)self, (void)version, (void)result;
    uint8_t open = cursor_u8(c);
    uint32_t count = cursor_u32(c);
    if (open > 1 || count > RUN_SWEEP_MAX || cursor_left(c) != count * sizeof(struct uuid))
        c->bad = true;
    int rc = c->bad ? cursor_whole(c, "job.sweep", e) : 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct uuid id;
        uuid_read(c, &id);
        rc = sweep_one(a, &id, open, e);
    }
    return rc;
}
