/* Arrivals of a request with a key (ledger/once.h): what their answer is made from, kept by the
 * unit that they are. The form: schema/canon.md. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/payload.h"
#include "base/str.h"
#include "canon/pipeline_priv.h"
#include "canon/state_priv.h"
#include "canon/whole_priv.h"
#include "entity/entity.h"
#include "ledger/once.h"

enum {
    KEPT_CHANGES_MAX = 64 << 10, /* bytes of an answer's changes; more are left out */
    KEPT_RECORD_MAX = 64 << 10,  /* of a golden record */
    KEPT_CODE_MAX = 255,         /* of an error */
};

/* ---- writing ---- */

static void put_error(struct buf *b, const struct err *e)
{
    buf_add_u32(b, (uint32_t)-e->code);
    buf_add_text(b, e->text);
    buf_add_text(b, e->field);
}

static void put_changes(struct buf *b, const json_t *changes)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(KEPT_CHANGES_MAX);
    bool fits = changes != NULL && json_print(changes, &text, NULL) == 0;
    buf_add_text(b, fits ? buf_str(&text) : NULL);
}

/* Of an arrival that is at its end without a unit. */
static void put_left(struct buf *b, const struct canon_arrival *a)
{
    buf_add_u8(b, (uint8_t)a->outcome);
    buf_add_text(b, a->reason);
    buf_add_text(b, "");
    buf_add_text(b, a->golden_id);
    buf_add_u32(b, 0);
    put_error(b, &a->err);
    buf_add_text(b, NULL);
    buf_add_u32(b, UINT32_MAX);
    buf_add_u32(b, UINT32_MAX);
}

static void put_job(struct buf *b, const struct canon_job *j)
{
    enum canon_outcome outcome = job_shown_outcome(j);
    bool changes = outcome == CANON_CANONIZED && j->request->r->count == 1;
    buf_add_u8(b, (uint8_t)outcome);
    buf_add_text(b, j->arrival->reason);
    buf_add_text(b, j->arrival->arrival_id);
    buf_add_text(b, j->plan.id);
    buf_add_u32(b, (uint32_t)j->plan.losers_count);
    put_error(b, &j->arrival->err);
    put_changes(b, changes ? j->plan.changes : NULL);
    buf_add_u32(b, j->save_at);
    buf_add_u32(b, j->show_at);
}

static int put_keep(struct txn *t, const struct ledger_once *once, uint32_t part,
                    const struct buf *context, struct err *e)
{
    int rc = buf_check(context, "what is kept of a request with a key", e);
    return rc < 0 ? rc : ledger_txn_keep(t, once, part, context->data, context->len, e);
}

int job_compose_keep(struct canon_job *j, struct txn *t, struct err *e)
{
    const struct canon_request *r = j->request->r;
    j->show_at = UINT32_MAX;
    if (r->once == NULL || j->whole != NULL)
        return 0;
    if (r->count == 1 && j->plan.id[0] != '\0') {
        j->show_at = t->ops;
        entity_txn_show(t, j->working->def, j->plan.id, KEPT_RECORD_MAX);
    }
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    buf_add_u32(&context, 1);
    put_job(&context, j);
    return put_keep(t, r->once, j->arrival->part, &context, e);
}

int whole_compose_keep(struct whole *h, struct engine_request *er, struct err *e)
{
    const struct canon_request *r = er->r;
    if (r->once == NULL)
        return 0;
    AUTO(buf_fini) struct buf context = BUF_INIT(LEDGER_ONCE_CONTEXT_MAX);
    AUTO(mem_freep) struct canon_job **jobs = mem_new_array(r->count, sizeof(struct canon_job *));
    LIST_EACH(it, &h->jobs)
    {
        struct canon_job *j = LIST_OF(it, struct canon_job, node);
        jobs[j->arrival - r->arrivals] = j;
    }
    buf_add_u32(&context, (uint32_t)r->count);
    for (size_t i = 0; i < r->count; i++)
        if (jobs[i] != NULL)
            put_job(&context, jobs[i]);
        else
            put_left(&context, &r->arrivals[i]);
    return put_keep(&h->unit.txn, r->once, 0, &context, e);
}

/* ---- reading ---- */

/* Result `at` of the unit. */
static bool take_result(const struct cursor *results, uint32_t at, struct cursor *out)
{
    struct cursor c = *results;
    size_t n = 0;
    const void *p = NULL;
    for (uint64_t i = 0; i <= at; i++)
        if ((p = cursor_bytes(&c, &n)) == NULL)
            return false;
    cursor_init(out, p, n);
    return true;
}

static void take_results(struct canon_arrival *a, const struct cursor *results, uint32_t save_at,
                         uint32_t show_at)
{
    struct cursor c;
    struct entity_result saved;
    a->version = 0;
    if (save_at != UINT32_MAX && take_result(results, save_at, &c) &&
        entity_result_parse(&c, &saved))
        a->version = saved.version;
    if (show_at != UINT32_MAX && take_result(results, show_at, &c) && cursor_left(&c) > 0)
        a->record = mem_printf("%.*s", (int)cursor_left(&c), (const char *)c.p);
}

static bool take_arrival(struct cursor *c, const struct cursor *results, struct canon_arrival *a)
{
    size_t n = 0;
    uint8_t outcome = cursor_u8(c);
    json_decref(TAKE(a->changes));
    mem_free(TAKE(a->record));
    err_clear(&a->err);
    bool good = outcome <= CANON_FAILED && cursor_text(c, a->reason, 0, sizeof a->reason - 1) &&
                cursor_text(c, a->arrival_id, 0, sizeof a->arrival_id - 1) &&
                cursor_text(c, a->golden_id, 0, sizeof a->golden_id - 1);
    a->outcome = (enum canon_outcome)outcome;
    a->merged = cursor_u32(c);
    uint32_t code = cursor_u32(c);
    good = good && code <= KEPT_CODE_MAX;
    a->err.code = code <= KEPT_CODE_MAX ? -(int)code : 0;
    good = good && cursor_text(c, a->err.text, 0, sizeof a->err.text - 1) &&
           cursor_text(c, a->err.field, 0, sizeof a->err.field - 1);
    const char *changes = cursor_bytes(c, &n);
    a->changes = changes != NULL ? json_read(changes, n, NULL) : NULL;
    uint32_t save_at = cursor_u32(c), show_at = cursor_u32(c);
    if (!good || c->bad)
        return false;
    take_results(a, results, save_at, show_at);
    return true;
}

size_t canon_kept_count(struct cursor context)
{
    uint32_t count = cursor_u32(&context);
    return context.bad || count > CANON_BULK_MAX ? 0 : count;
}

bool canon_kept_read(struct cursor context, struct cursor results, uint64_t seq,
                     struct canon_arrival *arrivals, size_t count)
{
    if (cursor_u32(&context) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!take_arrival(&context, &results, &arrivals[i]))
            return false;
        arrivals[i].seq = arrivals[i].arrival_id[0] != '\0' ? seq : 0;
    }
    return cursor_left(&context) == 0;
}
