/* Schedules, read for who decides and for people. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "db/db.h"
#include "job/job_priv.h"

enum { SPEC_BYTES = 4 << 10 };

void job_schedule_fini(struct job_schedule *s)
{
    job_def_fini(&s->def);
    mem_free(s->spec);
    mem_free(s->pause_by);
    mem_free(s->pause_reason);
    *s = (struct job_schedule){.revision = 0};
}

/* What due times come from, as text: equal for two declarations exactly when they are due alike. */
static int read_spec(const struct job_def *d, char **out, struct err *e)
{
    static const char *const keys[] = {"cron", "every", "after", "tz"};
    AUTO(json_unref) json_t *of = json_object();
    AUTO(buf_fini) struct buf text = BUF_INIT(SPEC_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        json_t *v = json_object_get(d->json, keys[i]);
        if (v != NULL && !json_is_null(v))
            json_object_set(of, keys[i], v);
    }
    int rc = json_print_sorted(of, &text, e);
    if (rc == 0 && (rc = buf_check(&text, "a schedule", e)) == 0)
        *out = buf_take(&text);
    return rc;
}

/* By another time than before: that begins with the declaration. */
static void begin_anew(struct schedule_state *st, int64_t declared_at)
{
    if (st->decided < declared_at)
        st->decided = declared_at;
    st->deferred = SCHEDULE_NEVER;
}

static int read_row(struct db *db, struct job_schedule *s, int64_t declared_at, struct err *e)
{
    struct job_row row;
    int rc = job_row_get(db, (struct text){s->def.name, strlen(s->def.name)}, &row, e);
    if (rc < 0)
        return rc;
    s->revision = row.revision;
    s->tick = row.tick;
    s->state = row.state;
    s->paused_at = row.paused_at;
    s->pause_by = row.pause_by != NULL ? TAKE(row.pause_by) : mem_strdup("");
    s->pause_reason = row.pause_reason != NULL ? TAKE(row.pause_reason) : mem_strdup("");
    if (rc == 0)
        schedule_state_init(&s->state, declared_at);
    else if (strcmp(row.spec, s->spec) != 0)
        begin_anew(&s->state, declared_at);
    job_row_fini(&row);
    return 0;
}

int job_schedule_get(struct db *db, const char *name, struct job_schedule *out, struct err *e)
{
    struct err own = ERR_INIT;
    struct job_schedule s = {.revision = 0};
    int64_t at;
    e = e != NULL ? e : &own;
    int rc = job_def_row(db, name, &s.def, &at, e);
    if (rc == 0 && !s.def.has_schedule)
        rc = err_set(e, ERR_NOT_FOUND,
                     "job '%s' has no schedule: its declaration has no cron, every or after", name);
    if (rc == 0)
        rc = read_spec(&s.def, &s.spec, e);
    if (rc == 0)
        rc = read_row(db, &s, at, e);
    if (rc != 0) {
        job_schedule_fini(&s);
        return rc;
    }
    *out = s;
    return 0;
}

int job_schedule_left(struct db *db, const char *name, struct job_schedule *out, struct err *e)
{
    struct job_row row;
    int rc = job_row_get(db, (struct text){name, strlen(name)}, &row, e);
    if (rc <= 0)
        return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "job '%s' has no schedule", name);
    *out = (struct job_schedule){.revision = row.revision,
                                 .tick = row.tick,
                                 .state = row.state,
                                 .paused_at = row.paused_at,
                                 .spec = TAKE(row.spec),
                                 .pause_by = TAKE(row.pause_by),
                                 .pause_reason = TAKE(row.pause_reason)};
    snprintf(out->def.name, sizeof out->def.name, "%s", name);
    job_row_fini(&row);
    return 0;
}
