/* What is parked waits for people in the queue canon.MODEL.parked. The operations of queue are in
 * the unit that changes what is parked, and cannot refuse, so both always say the same. */
#include "canon/parked_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "canon/apply_priv.h"
#include "canon/canon_priv.h"
#include "canon/engine_priv.h"
#include "canon/gather_priv.h"
#include "canon/ops_priv.h"
#include "canon/pipeline_priv.h"
#include "canon/read_priv.h"
#include "canon/state_priv.h"
#include "canon/store_priv.h"
#include "ledger/domain.h"
#include "ledger/ledger.h"
#include "queue/queue.h"

enum {
    PARKED_RESULT_MAX = 16 << 10,
    PARKED_FORGET_MAX = 400000, /* records of one source that go in one unit */
};

/* ---- the record ---- */

static void print_text(struct buf *out, const char *name, const char *text)
{
    if (text == NULL || *text == '\0')
        return;
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, text, strlen(text));
}

static void print_json(struct buf *out, const char *name, const char *json)
{
    if (json != NULL)
        buf_addf(out, ",\"%s\":", name);
    if (json != NULL)
        buf_adds(out, json);
}

static void parked_print(const struct parked_said *s, bool whole, struct buf *out)
{
    char at[TIME_TEXT];
    time_format(s->observed_at, at);
    buf_addf(out, "{\"arrival\":\"%s\"", s->arrival);
    print_text(out, "origin", s->origin);
    print_text(out, "source_id", s->source_id);
    print_text(out, "observed_at", at);
    print_text(out, "phase", canon_phase_name(s->phase));
    print_text(out, "reason", s->reason);
    print_text(out, "detail", s->detail);
    if (whole) {
        print_json(out, "evidence", s->evidence);
        print_json(out, "tags", s->tags);
        print_json(out, "data", s->data);
    }
    buf_addc(out, '}');
}

static int arrival_uuid(const char *arrival, struct uuid *out, struct err *e)
{
    if (uuid_parse(arrival, strlen(arrival), out))
        return 0;
    return err_set(e, ERR_INVALID, "'%.40s' is no id of an arrival", arrival);
}

int parked_txn_send(struct txn *t, const char *model, const struct parked_said *s,
                    const char *follows, struct err *e)
{
    char queue[CANON_QUEUE_NAME_MAX];
    struct uuid id, before;
    AUTO(buf_fini) struct buf body = BUF_INIT(CORE_BODY_MAX);
    int rc = arrival_uuid(s->arrival, &id, e);
    if (rc == 0 && follows != NULL)
        rc = arrival_uuid(follows, &before, e);
    if (rc != 0)
        return rc;
    parked_print(s, true, &body);
    if (buf_failed(&body)) { /* canon has it all, and shows it */
        buf_reset(&body);
        parked_print(s, false, &body);
    }
    canon_parked_name(model, queue);
    struct queue_message m = {
        .send = {.queue = queue, .id = id, .priority = CORE_PRIORITY, .bytes = (uint32_t)body.len},
        .body = body.data,
        .body_len = body.len};
    rc = buf_check(&body, "a parked arrival", e);
    return rc != 0 ? rc
                   : queue_txn_send_manual(t, &m, CANON_PARKED_DUE_MS,
                                           follows != NULL ? &before : NULL, e);
}

/* ---- in the unit of an arrival ---- */

static int compose_worked(struct canon_job *j, struct txn *t, struct err *e)
{
    struct core_worked w = {.cancelled = false};
    struct canon_ending end = {.outcome = job_shown_outcome(j),
                               .reason = j->arrival->reason,
                               .arrival_id = j->arrival->arrival_id,
                               .golden_id = j->plan.id,
                               .detail = j->arrival->err.text,
                               .field = "",
                               .merged = (uint32_t)j->plan.losers_count};
    AUTO(buf_fini) struct buf text = BUF_INIT(PARKED_RESULT_MAX);
    int rc = arrival_uuid(j->resumes, &w.id, e);
    canon_ending_print(&end, &text);
    if (rc == 0)
        rc = buf_check(&text, "the outcome of an arrival", e);
    return rc == 0 ? queue_txn_worked(t, &w, text.data, text.len, e) : rc;
}

static int forget_one(void *arg, const char *arrival, struct err *e)
{
    struct uuid id;
    int rc = arrival_uuid(arrival, &id, e);
    if (rc == 0)
        buf_add(arg, &id, sizeof id);
    return rc;
}

/* Records of what is parked, and of what was: they have the documents too. What is on its way for
 * the same source is in nobody's snapshot; the engine looks again when it has come. None is parked
 * later than that: it would change the source record, which is a condition. */
static int forget_all(struct canon_job *j, struct txn *t, struct err *e)
{
    if (j->plan.source->touched > j->working->completed)
        return err_set(e, ERR_VERSION_MISMATCH, "source record %s/%s is about to change",
                       j->arrival->origin, job_source_id(j));
    AUTO(buf_fini) struct buf ids = BUF_INIT(PARKED_FORGET_MAX * sizeof(struct uuid));
    int rc = store_parked_of(j->engine->reader, j->working->tenant, j->working->model->name,
                             j->arrival->origin, job_source_id(j), forget_one, &ids, e);
    if (rc == 0)
        rc = buf_check(&ids, "the parked arrivals of a source", e);
    if (rc == 0 && ids.len > 0)
        queue_txn_forget(t, (const struct uuid *)ids.data, ids.len / sizeof(struct uuid));
    return rc;
}

int job_compose_parked(struct canon_job *j, struct txn *t, const struct parked_said *s,
                       struct err *e)
{
    const char *before = j->resumes[0] != '\0' ? j->resumes : NULL;
    int rc = 0;
    if (j->outcome == STORED_PARKED)
        rc = parked_txn_send(t, j->working->model->name, s, before, e);
    if (rc == 0 && before != NULL)
        rc = compose_worked(j, t, e);
    return rc == 0 && j->erase ? forget_all(j, t, e) : rc;
}

/* ---- rejecting ---- */

int canon_txn_reject(struct txn *t, const char *arrival, const char *reason, const char *by,
                     struct err *e)
{
    struct core_worked w = {.cancelled = true};
    AUTO(buf_fini) struct buf text = BUF_INIT(PARKED_RESULT_MAX);
    int rc = arrival_uuid(arrival, &w.id, e);
    if (rc != 0)
        return rc;
    buf_adds(&text, "{\"outcome\":\"rejected\"");
    print_text(&text, "reason", reason);
    print_text(&text, "by", by);
    buf_addc(&text, '}');
    rc = buf_check(&text, "a rejection", e);
    if (rc != 0)
        return rc;
    canon_op_if_parked(t, arrival);
    canon_op_reject(t, arrival, buf_str(&text));
    return queue_txn_worked(t, &w, text.data, text.len, e);
}

int canon_apply_reject(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                       struct buf *result, struct err *e)
{
    (void)version, (void)result;
    AUTO(canon_small_fini) struct canon_small p;
    int rc = canon_small_decode(c, "canon.reject", 2, 2, 0, &p, e);
    if (rc == 0)
        rc = gather_flush(canon_gather(self), a, e);
    if (rc == 0)
        rc = store_arrival_reject(a->db, p.text[0], p.text[1], e);
    if (rc == 0)
        rc = store_wait_drop(a->db, p.text[0], e);
    return rc == 0 ? store_memo_drop(a->db, p.text[0], e) : rc;
}
