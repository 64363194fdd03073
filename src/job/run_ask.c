/* Runs: what is asked, as operations. */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "job/run_priv.h"
#include "ledger/txn.h"

static void id_add(struct buf *b, const struct uuid *id)
{
    buf_add(b, id->b, sizeof id->b);
}

static const char *text_or_none(const char *text)
{
    return text != NULL ? text : "";
}

/* A correlation is for people: too long a one is cut, not refused. */
static void correlation_add(struct buf *b, const char *text)
{
    size_t n = strlen(text_or_none(text));
    if (n > RUN_CORRELATION_BYTES)
        n = str_utf8_valid(text, RUN_CORRELATION_BYTES);
    buf_add_bytes(b, text_or_none(text), n);
}

/* ---- submit ---- */

static void header_time(json_t *headers, const char *name, int64_t ms)
{
    char text[TIME_TEXT];
    time_format(ms, text);
    json_object_set_new(headers, name, json_string(text));
}

/* Those of the message, and when the run was due and what it covers. */
static int headers_print(const struct job_submit *s, struct buf *out, struct err *e)
{
    const char *given = s->message->headers;
    AUTO(json_unref)
    json_t *headers = given != NULL ? json_read(given, strlen(given), e) : json_object();
    if (headers == NULL)
        return e->code;
    header_time(headers, "scheduled-at", s->scheduled_at);
    header_time(headers, "window-from", s->from);
    header_time(headers, "window-to", s->to);
    return json_print(headers, out, e);
}

/* {"next": [..], "goes_on": true, "gates": [..]}: what the end of the run goes by. */
static int chain_print(const struct queue_message *m, const struct run_chain *chain,
                       struct buf *out, struct err *e)
{
    AUTO(json_unref) json_t *o = json_object();
    json_object_set_new(o, "next", json_deep_copy(chain->next));
    if (chain->goes_on)
        json_object_set_new(o, "goes_on", json_true());
    json_t *gates = json_array();
    for (uint8_t i = 0; i < m->send.gates_count; i++)
        json_array_append_new(gates, json_string(m->send.gates[i]));
    if (json_array_size(gates) > 0)
        json_object_set(o, "gates", gates);
    json_decref(gates);
    int rc = json_print(o, out, e);
    return rc != 0 || buf_failed(out)
               ? err_field(e, ERR_TOO_LARGE, "chain", "a chain has at most %d KiB as JSON",
                           RUN_CHAIN_BYTES >> 10)
               : 0;
}

static void run_add(struct txn *t, const struct job_submit *s, const struct buf *chain)
{
    const struct queue_message *m = s->message;
    bool args = chain->len > 0;
    struct buf *b = txn_begin(t, JOB_OP_RUN, 1);
    id_add(b, &m->send.id);
    buf_add_text(b, s->def->name);
    buf_add_text(b, text_or_none(s->schedule));
    buf_add_u8(b, (uint8_t)s->kind);
    buf_add_u8(b, (uint8_t)((s->has_window ? RUN_HAS_WINDOW : 0) |
                            (s->fan != NULL ? RUN_HAS_FAN : 0) | (args ? RUN_HAS_ARGS : 0)));
    buf_add_u64(b, (uint64_t)s->from);
    buf_add_u64(b, (uint64_t)s->to);
    buf_add_u64(b, (uint64_t)s->scheduled_at);
    if (s->fan != NULL)
        id_add(b, s->fan);
    buf_add_bytes(b, buf_str(chain), chain->len);
    correlation_add(b, m->correlation);
    if (args)
        buf_add_bytes(b, m->body, m->body_len);
    txn_end(t);
}

int run_submit(struct txn *t, const struct job_submit *s, const struct run_chain *chain,
               struct err *e)
{
    AUTO(buf_fini) struct buf headers = BUF_INIT(QUEUE_HEADERS_BYTES + 1);
    AUTO(buf_fini) struct buf text = BUF_INIT(RUN_CHAIN_BYTES + 1);
    struct queue_message m = *s->message;
    if (s->fan != NULL && (m.send.unique != NULL || m.send.dedup != NULL))
        return err_field(e, ERR_INVALID, m.send.unique != NULL ? "unique" : "dedup",
                         "the runs of a fan-out are counted: none of them can be another's repeat");
    m.send.queue = s->def->queue;
    int rc = s->has_window ? headers_print(s, &headers, e) : 0;
    if (s->has_window)
        m.headers = buf_str(&headers);
    if (rc == 0 && json_array_size(chain->next) > 0)
        rc = chain_print(&m, chain, &text, e);
    if (rc == 0)
        rc = queue_txn_send(t, &m, e);
    if (rc == 0 &&
        (s->row || s->schedule != NULL || s->fan != NULL || s->def->critical || text.len > 0))
        run_add(t, s, &text);
    return rc;
}

int job_txn_submit(struct txn *t, const struct job_submit *s, struct err *e)
{
    struct err own = ERR_INIT;
    struct run_chain chain = {.next = s->chain != NULL ? s->chain : s->def->chain,
                              .goes_on = s->def->goes_on || (s->chain != NULL && s->goes_on)};
    return run_submit(t, s, &chain, e != NULL ? e : &own);
}

/* ---- fan-out ---- */

int job_txn_fan(struct txn *t, struct db *db, const struct job_fan *f, struct err *e)
{
    struct err own = ERR_INIT;
    AUTO(buf_fini) struct buf args = BUF_INIT(RUN_FAN_ARGS_BYTES + 1);
    e = e != NULL ? e : &own;
    int rc = job_name_check(f->on_done, e);
    if (rc != 0)
        return err_field(e, rc, "on_done", "on_done: %s", e->text);
    if (f->count > JOB_FAN_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu runs at once; at most %d are one fan-out", f->count,
                       JOB_FAN_MAX);
    if (f->args != NULL && !json_is_object(f->args))
        return err_field(e, ERR_INVALID, "on_done", "the args of on_done are an object");
    if (f->args == NULL)
        buf_adds(&args, "{}");
    else if (json_print(f->args, &args, e) != 0 || buf_failed(&args))
        return err_field(e, ERR_TOO_LARGE, "on_done", "the args of on_done have at most %d KiB",
                         RUN_FAN_ARGS_BYTES >> 10);
    if (f->count == 0)
        return run_fan_over(t, db, f, e);
    struct buf *b = txn_begin(t, JOB_OP_FAN, 1);
    id_add(b, &f->id);
    buf_add_u8(b, f->parent != NULL);
    if (f->parent != NULL)
        id_add(b, f->parent);
    buf_add_u32(b, (uint32_t)f->count);
    buf_add_text(b, f->on_done);
    buf_add_bytes(b, args.data, args.len);
    correlation_add(b, f->correlation);
    txn_end(t);
    return 0;
}

/* ---- under way ---- */

static int step_check(const struct job_step *s, struct err *e)
{
    size_t n = strlen(s->name);
    if (n == 0 || n > JOB_STEP_NAME_BYTES || !str_is_utf8(s->name, n))
        return err_field(e, ERR_INVALID, "name", "the name of a step is text of 1 to %d bytes",
                         JOB_STEP_NAME_BYTES);
    if (s->ordinal == 0 || s->ordinal > JOB_STEPS_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "a run has at most %d steps; let it submit another with the rest",
                       JOB_STEPS_MAX);
    if (s->result_len > JOB_RESULT_BYTES)
        return err_field(e, ERR_TOO_LARGE, "result",
                         "step '%s': a result has at most %d KiB; keep it elsewhere and give its "
                         "key",
                         s->name, JOB_RESULT_BYTES >> 10);
    return 0;
}

int job_txn_step(struct txn *t, const struct job_step *s, struct err *e)
{
    struct err own = ERR_INIT;
    int rc = step_check(s, e != NULL ? e : &own);
    if (rc != 0)
        return rc;
    bool args = s->undo && s->args != NULL;
    struct buf *b = txn_begin(t, JOB_OP_STEP, 1);
    id_add(b, &s->run);
    buf_add_text(b, s->job);
    buf_add_u32(b, s->ordinal);
    buf_add_text(b, s->name);
    buf_add_u8(b, (uint8_t)s->kind);
    buf_add_u8(b, (uint8_t)((s->undo ? STEP_UNDO : 0) | (args ? STEP_ARGS : 0)));
    buf_add_bytes(b, text_or_none(s->result), s->result_len);
    correlation_add(b, s->correlation);
    if (args)
        buf_add_bytes(b, s->args, s->args_len);
    txn_end(t);
    return 0;
}

int job_txn_undone(struct txn *t, const struct uuid *run, uint32_t ordinal, struct err *e)
{
    (void)e;
    struct buf *b = txn_begin(t, JOB_OP_UNDONE, 1);
    id_add(b, run);
    buf_add_u32(b, ordinal);
    txn_end(t);
    return 0;
}

int job_txn_progress(struct txn *t, const struct job_progress *p, struct err *e)
{
    size_t n = strlen(text_or_none(p->text)), cut = 0;
    if (n > JOB_TEXT_BYTES || !str_is_utf8(text_or_none(p->text), n))
        return err_field(e, ERR_TOO_LARGE, "text", "the text of progress has at most %d bytes",
                         JOB_TEXT_BYTES);
    if (isnan(p->fraction) || p->fraction > 1)
        return err_field(e, ERR_INVALID, "fraction", "fraction is a number of 0 to 1");
    if (p->log != NULL && !str_is_utf8(p->log, p->log_len))
        return err_field(e, ERR_INVALID, "log", "a log is UTF-8");
    if (p->log != NULL && p->log_len > JOB_LOG_BYTES)
        cut = p->log_len - JOB_LOG_BYTES;
    while (cut > 0 && ((unsigned char)p->log[cut] & 0xc0) == 0x80)
        cut++; /* between characters */
    struct buf *b = txn_begin(t, JOB_OP_PROGRESS, 1);
    id_add(b, &p->run);
    buf_add_text(b, p->job);
    buf_add_u32(b, p->fraction < 0 ? RUN_NO_FRACTION : (uint32_t)lround(p->fraction * 1e6));
    buf_add_text(b, p->text);
    buf_add_bytes(b, p->log != NULL ? p->log + cut : "", p->log != NULL ? p->log_len - cut : 0);
    txn_end(t);
    return 0;
}

/* ---- what is kept no longer ---- */

void run_txn_sweep(struct txn *t, const struct uuid *ids, size_t count, bool open)
{
    struct buf *b = txn_begin(t, JOB_OP_SWEEP, 1);
    buf_add_u8(b, open);
    buf_add_u32(b, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        id_add(b, &ids[i]);
    txn_end(t);
}
