/* A parked arrival goes on: what was stored of it becomes a job again. */
#include <string.h>

#include "base/mem.h"
#include "canon/pipeline_priv.h"
#include "canon/state_priv.h"
#include "canon/store_priv.h"
#include "db/db.h"
#include "entity/patch.h"

static json_t *col_json(struct db_stmt *s, int at, struct err *e)
{
    size_t n;
    const char *p = db_col_text(s, at, &n);
    return p ? json_read(p, n, e) : NULL;
}

static int resume_fill(struct canon_job *j, struct db_stmt *s, struct err *e)
{
    struct engine_request *er = j->request;
    struct canon_arrival *a = j->arrival;
    er->origin = mem_strdup(db_col_text(s, 0, NULL));
    er->source_id = mem_strdup(db_col_text(s, 1, NULL));
    a->origin = er->origin;
    mem_free(j->source_id);
    j->source_id = mem_strdup(er->source_id);
    a->observed_at = j->observed_at = db_col_int(s, 2);
    j->phase = (enum canon_phase)db_col_int(s, 3);
    json_t *data = col_json(s, j->phase == PHASE_INTAKE ? 4 : 5, e);
    if (data == NULL)
        return err_set(e, ERR_GONE, "the parked document was erased");
    if (j->call.tags == NULL) /* those that it was parked with, unless others are given */
        j->call.tags = col_json(s, 6, NULL);
    AUTO(json_unref) json_t *fix = TAKE(a->data);
    int rc = fix ? patch_merge(&data, fix, e) : 0;
    if (j->phase == PHASE_INTAKE) {
        a->data = data;
        return rc;
    }
    j->data = data;
    j->body = mem_strdup(db_col_text(s, 4, NULL) ? db_col_text(s, 4, NULL) : "{}");
    j->body_len = strlen(j->body);
    j->state = j->phase == PHASE_VALIDATE ? JOB_VALIDATE : JOB_AGGREGATE;
    return rc;
}

int resume_load(struct canon_job *j, struct err *e)
{
    const char *id = j->arrival->source_id;
    AUTO(db_stmt_donep)
    struct db_stmt *s =
        db_stmt_get(j->engine->reader,
                    "SELECT origin, source_id, observed_at, phase, body, work, tags FROM "
                    "canon_arrival WHERE id = ?1 AND tenant = ?2 AND model = ?3 "
                    "AND outcome = ?4",
                    e);
    if (s == NULL)
        return e->code;
    db_bind_str(s, 1, id);
    db_bind_str(s, 2, j->working->tenant);
    db_bind_str(s, 3, j->working->model->name);
    db_bind_int(s, 4, STORED_PARKED);
    int rc = id == NULL ? 0 : db_step(s, e);
    if (rc < 0)
        return rc;
    if (rc == 0 || strlen(id) >= sizeof j->resumes)
        return err_set(e, ERR_NOT_FOUND, "no parked arrival '%s'", id ? id : "");
    memcpy(j->resumes, id, strlen(id) + 1);
    rc = store_wait_tries(j->engine->reader, id, &j->waits_tries, e);
    if (rc == 0)
        rc = store_memo_get(j->engine->reader, id, &j->call.memo, e);
    return rc != 0 ? rc : resume_fill(j, s, e);
}
