/* One run of the job `koan-operate`, from its grant to its settle: queue_work.c says how. */
#include <string.h>

#include "api/canon_many_priv.h"
#include "api/queue_work_priv.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum {
    WORK_TURN_MS = 2000,
    WORK_AGAIN_MS = 1000, /* until what is refused for now is tried again */
    WORK_SETTLE_TRIES = 20,
    WORK_ERROR_BYTES = 200, /* of the first error, in the progress */
};

struct work_item {
    struct unit unit;               /* first */
    struct canon_resuming resuming; /* of a resume, instead of the unit */
    struct work_run *run;
    size_t at; /* of the run's shown */
    bool open;
};

struct work_run {
    struct queue_looking look; /* first */
    struct queue_reading reading;
    struct api_job job;
    struct unit unit;
    struct world_timer again;
    struct queue_work *work;
    struct core_effect grant;
    struct uuid id;
    json_t *args, *told; /* told: the progress of the turn before; NULL: none */
    struct operate_spec spec;
    const char *by;      /* of the args */
    struct envelope env; /* of what is done with each */
    char *correlation;   /* of the record */
    uint64_t after;
    int64_t looked_at, matched, done, asked, failed;
    char first_error[WORK_ERROR_BYTES + 1], first_id[UUID_TEXT];
    struct work_item *items;
    size_t items_count, left;
    size_t cut; /* items of the chunk from here on come again; their count: none */
    uint64_t begun_ns;
    int settle_tries;
    struct err err;
    bool lost, cancelled, passing, ends, unit_open;
};

static void run_turn(struct work_run *r);
static void run_settle(struct work_run *r);

static void run_free(struct work_run *r)
{
    struct queue_work *w = r->work;
    work_world(w)->timer_stop(work_world(w), &r->again);
    if (r->unit_open)
        unit_fini(&r->unit);
    queue_shown_free(r->look.shown, r->look.count);
    mem_free(r->items);
    mem_free(r->correlation);
    json_decref(r->args);
    json_decref(r->told);
    mem_free(r);
    w->run = NULL;
    if (w->has_next && !w->closing) {
        w->has_next = false;
        queue_work_run(w, &w->next);
    }
    queue_work_tick(w);
}

/* ---- how far it is ---- */

/* What is neither done nor refused: it executes still, or has parked again. */
static const char *run_asked(const struct work_run *r)
{
    return r->spec.verb == OPERATE_RESUME ? "parked" : "asked";
}

static void run_print(const struct work_run *r, struct buf *out)
{
    int64_t matched = r->spec.dry_run ? r->matched : r->done + r->asked + r->failed;
    buf_addf(out, "{\"looked_at\":%lld,\"matched\":%lld", (long long)r->looked_at,
             (long long)matched);
    if (!r->spec.dry_run)
        buf_addf(out, ",\"%s\":%lld,\"failed\":%lld", operate_done[r->spec.verb],
                 (long long)r->done, (long long)r->failed);
    if (r->asked > 0)
        buf_addf(out, ",\"%s\":%lld", run_asked(r), (long long)r->asked);
    if (r->first_error[0] != '\0') {
        buf_addf(out, ",\"first_failed\":{\"id\":\"%s\",\"detail\":", r->first_id);
        json_print_string(out, r->first_error, strlen(r->first_error));
        buf_addc(out, '}');
    }
    if (!r->ends)
        buf_addf(out, ",\"after\":%llu", (unsigned long long)r->after);
    buf_addc(out, '}');
}

static int64_t told_number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static int run_tell(struct work_run *r, struct err *e)
{
    const json_t *after = json_object_get(r->told, "after");
    const json_t *first = json_object_get(r->told, "first_failed");
    if (r->told == NULL)
        return 0;
    if (!json_is_integer(after) || json_integer_value(after) < 0)
        return err_set(e, ERR_INVALID, "its progress is not that of this job");
    r->after = (uint64_t)json_integer_value(after);
    r->looked_at = told_number(r->told, "looked_at");
    r->matched = told_number(r->told, "matched");
    r->done = told_number(r->told, operate_done[r->spec.verb]);
    r->failed = told_number(r->told, "failed");
    r->asked = told_number(r->told, run_asked(r));
    str_copy(r->first_error, sizeof r->first_error,
             json_string_value(json_object_get(first, "detail")));
    str_copy(r->first_id, sizeof r->first_id, json_string_value(json_object_get(first, "id")));
    return 0;
}

/* ---- reading what is to be done, on the pool ---- */

static int run_read_body(struct work_run *r, struct db *db, struct buf *op, struct err *e)
{
    AUTO(mem_freep) struct queue_stored *s = mem_new(sizeof *s);
    struct ledger *l = r->job.api->o.ledger;
    const struct core_effect *g = &r->grant;
    int rc = queue_place_read(l, db, g->place, op, e);
    if (rc == 0)
        rc = queue_message_read(op->data, op->len, 0, s, e);
    if (rc != 0)
        return rc;
    r->id = s->id;
    if (s->correlation != NULL)
        r->correlation = mem_strdup(s->correlation);
    const void *body = s->body;
    size_t n = s->body_len;
    if (g->body != g->place) {
        buf_reset(op);
        rc = queue_place_read(l, db, g->body, op, e);
        if (rc == 0 && g->edited)
            rc = queue_body_read(op->data, op->len, 0, QUEUE_PLACE_EDIT, &body, &n, e);
        else if (rc == 0 && (rc = queue_message_read(op->data, op->len, 0, s, e)) == 0) {
            body = s->body;
            n = s->body_len;
        }
    }
    if (rc == 0 && (r->args = json_read(body, n, e)) == NULL)
        rc = e->code;
    return rc;
}

static void run_read(struct api_job *j, struct db *db)
{
    struct work_run *r = LIST_OF(j, struct work_run, job);
    AUTO(buf_fini) struct buf op = BUF_INIT(LEDGER_READ_MAX);
    const void *text;
    size_t n;
    if (run_read_body(r, db, &op, &r->err) != 0 || r->grant.result == 0)
        return;
    buf_reset(&op);
    if (queue_place_read(j->api->o.ledger, db, r->grant.result, &op, &r->err) == 0 &&
        queue_body_read(op.data, op.len, 0, QUEUE_PLACE_SETTLE, &text, &n, &r->err) == 0)
        r->told = json_read(text, n, &r->err);
}

static void run_was_read(struct api_job *j);

static void run_read_start(struct work_run *r)
{
    r->job = (struct api_job){.run = run_read, .done = run_was_read};
    api_job_begin(&r->job, r->work->thread);
}

static void run_read_again(struct world_timer *t)
{
    run_read_start(LIST_OF(t, struct work_run, again));
}

static void run_read_later(struct work_run *r)
{
    struct world *world = work_world(r->work);
    if (r->work->closing || r->lost) {
        run_free(r);
        return;
    }
    r->again.fire = run_read_again;
    world->timer_start(world, &r->again, WORK_AGAIN_MS);
}

/* What was not read is read again: without the record's id nothing can be said of the run. */
static void run_read_anew(struct work_run *r)
{
    mem_free(TAKE(r->correlation));
    json_decref(TAKE(r->args));
    json_decref(TAKE(r->told));
    err_clear(&r->err);
    run_read_later(r);
}

static void run_was_read(struct api_job *j)
{
    struct work_run *r = LIST_OF(j, struct work_run, job);
    if (j->err.code != 0 || (r->err.code != 0 && r->err.code != ERR_INVALID)) {
        run_read_anew(r);
        return;
    }
    if (r->err.code == 0)
        operate_spec_read(r->args, &r->spec, &r->err);
    if (r->err.code == 0)
        run_tell(r, &r->err);
    r->by = json_string_value(json_object_get(r->args, "by"));
    run_turn(r);
}

void queue_work_run(struct queue_work *w, const struct core_effect *f)
{
    struct work_run *r = w->run = mem_new(sizeof *r);
    r->work = w;
    r->grant = *f;
    r->begun_ns = work_world(w)->mono_ns(work_world(w));
    run_read_start(r);
}

/* ---- one chunk ---- */

static void run_chunk_end(struct work_run *r)
{
    queue_shown_free(r->look.shown, r->look.count);
    r->look.shown = NULL;
    r->look.count = 0;
    mem_free(TAKE(r->items));
    run_turn(r);
}

bool queue_work_is_passing(int code)
{
    return err_info(code)->retry == ERR_RETRY_AFTER || err_info(code)->retry == ERR_RETRY_SAME;
}

static void run_note_failed(struct work_run *r, const struct queue_shown *s, const struct err *e)
{
    r->failed++;
    if (r->first_error[0] != '\0')
        return;
    uuid_format(&s->id, r->first_id);
    str_copy(r->first_error, sizeof r->first_error, e->text);
    r->first_error[str_utf8_valid(r->first_error, strlen(r->first_error))] = '\0';
}

static void item_failed(struct work_run *r, const struct work_item *it, const struct err *e)
{
    if (e->code == ERR_FENCED) { /* somebody else has the run now */
        r->lost = true;
        return;
    }
    if (queue_work_is_passing(e->code)) {
        r->passing = true;
        r->cut = it->at < r->cut ? it->at : r->cut;
        return;
    }
    run_note_failed(r, &r->look.shown[it->at], e);
}

static void chunk_over(struct work_run *r)
{
    for (size_t i = 0; i < r->items_count; i++)
        if (r->items[i].open)
            unit_fini(&r->items[i].unit);
    if (r->cut > 0)
        r->after = r->look.shown[r->cut - 1].listed;
    r->looked_at += (int64_t)r->cut;
    run_chunk_end(r);
}

static void item_done(struct unit *u)
{
    struct work_item *it = (struct work_item *)u;
    struct work_run *r = it->run;
    struct cursor c;
    if (u->err.code != 0)
        item_failed(r, it, &u->err);
    else if (r->spec.verb == OPERATE_CANCEL && unit_result(u, 1, &c) && queue_cancel_asked(&c))
        r->asked++;
    else
        r->done++;
    if (--r->left == 0)
        chunk_over(r);
}

static void item_resumed(struct canon_resuming *x)
{
    struct work_item *it = LIST_OF(x, struct work_item, resuming);
    struct work_run *r = it->run;
    /* A script's own word, say that a host is not there, is of this arrival: the others go on. */
    if (x->err.code == ERR_UNAVAILABLE && !r->work->closing)
        run_note_failed(r, &r->look.shown[it->at], &x->err);
    else if (x->err.code != 0)
        item_failed(r, it, &x->err);
    else if (x->one.outcome == CANON_PARKED)
        r->asked++;
    else
        r->done++;
    if (--r->left == 0)
        chunk_over(r);
}

static bool item_resume(struct work_run *r, struct work_item *it, struct err *e)
{
    struct api_thread *t = r->work->thread;
    struct canon_resuming *x = &it->resuming;
    *x = (struct canon_resuming){.id = r->look.shown[it->at].id,
                                 .patch = r->spec.patch,
                                 .env = &r->env,
                                 .run = &r->id,
                                 .token = r->grant.token,
                                 .done = item_resumed};
    int rc = r->work->closing ? err_set(e, ERR_UNAVAILABLE, "the node leaves")
                              : canon_resume_begin(x, t, r->spec.queue, e);
    if (rc != 0)
        item_failed(r, it, e);
    return rc == 0;
}

static bool item_propose(struct work_run *r, struct work_item *it)
{
    struct queue_shown *s = &r->look.shown[it->at];
    struct err e = ERR_INIT;
    r->env = (struct envelope){.tenant = API_TENANT,
                               .principal = r->by,
                               .correlation = r->correlation,
                               .reason = r->spec.reason};
    if (r->spec.verb == OPERATE_RESUME)
        return item_resume(r, it, &e);
    unit_init(&it->unit, loop_runner(r->work->thread->loop), item_done);
    it->open = true;
    it->unit.txn.grows = r->spec.verb == OPERATE_RETRY || r->spec.verb == OPERATE_MOVE;
    txn_envelope(&it->unit.txn, &r->env);
    queue_txn_if_delivery(&it->unit.txn, &r->id, r->grant.token);
    if (operate_spec_add(&r->spec, &it->unit.txn, s, &e) == 0 &&
        ledger_propose(r->work->thread->api->o.ledger, &it->unit, &e) == 0)
        return true;
    item_failed(r, it, &e);
    return false;
}

/* Is it what was asked for, as it stands now? One that is gone, or elsewhere, is not. */
static bool is_meant(struct work_run *r, const struct queue_shown *s)
{
    if (s->err.code != 0 && s->err.code != ERR_GONE && s->err.code != ERR_NOT_FOUND)
        run_note_failed(r, s, &s->err);
    bool is = r->spec.all ? s->view.state != REC_EXECUTING : s->view.state == r->spec.state;
    return s->err.code == 0 && s->has_view && !s->unwanted && is;
}

static void run_looked(struct queue_looking *l)
{
    struct work_run *r = (struct work_run *)l;
    r->cut = r->reading.read;
    r->items = mem_new_array(r->cut + 1, sizeof *r->items);
    r->items_count = 0;
    for (size_t i = 0; i < r->cut; i++)
        if (is_meant(r, &l->shown[i]))
            r->items[r->items_count++] = (struct work_item){.run = r, .at = i};
    r->matched += (int64_t)r->items_count;
    r->left = 1; /* itself */
    for (size_t i = 0; i < r->items_count && !r->spec.dry_run; i++)
        r->left += item_propose(r, &r->items[i]);
    if (--r->left == 0)
        chunk_over(r);
}

static void run_chunk_read(struct queue_reading *reading)
{
    struct work_run *r = LIST_OF(reading, struct work_run, reading);
    for (size_t i = 0; i < r->look.count; i++) /* what was found is not needed any more */
        mem_free(TAKE(r->look.shown[i].texts));
    if (reading->job.err.code != 0 || reading->read == 0) {
        r->passing = true;
        r->cut = 0;
        run_chunk_end(r);
        return;
    }
    r->look.done = run_looked;
    queue_look_begin(&r->look, r->work->thread);
}

static void run_list(struct queue_ask *a, const struct core *c)
{
    struct work_run *r = (struct work_run *)a;
    uint64_t places[QUEUE_ITEMS_MAX];
    r->look.count = core_list(c, r->look.tenant, r->look.queue, r->spec.state, r->after, places,
                              QUEUE_ITEMS_MAX);
    /* What was sent since is not what was asked for, nor what parks again. */
    for (size_t i = 0; i < r->look.count; i++)
        if (places[i] > r->grant.place)
            r->look.count = i;
    for (size_t i = 0; i < r->look.count; i++)
        r->look.shown[i].place = r->look.shown[i].listed = places[i];
}

static void run_listed(struct queue_ask *a)
{
    struct work_run *r = (struct work_run *)a;
    if (r->look.count == 0) {
        r->ends = true;
        run_chunk_end(r);
        return;
    }
    r->reading = (struct queue_reading){.shown = r->look.shown,
                                        .count = r->look.count,
                                        .ids_only = r->spec.find == NULL,
                                        .find = r->spec.find,
                                        .find_max = SIZE_MAX,
                                        .done = run_chunk_read};
    queue_read_begin(&r->reading, r->work->thread);
}

/* The next chunk, or the end of the turn. */
static void run_turn(struct work_run *r)
{
    struct queue_work *w = r->work;
    bool over = r->ends || r->cancelled || r->passing || w->closing || r->err.code != 0 ||
                work_since_ms(w, r->begun_ns) >= WORK_TURN_MS;
    if (r->lost) {
        run_free(r);
        return;
    }
    if (over) {
        run_settle(r);
        return;
    }
    r->look.tenant = API_TENANT;
    r->look.queue = r->spec.queue;
    r->look.shown = mem_new_array(QUEUE_ITEMS_MAX, sizeof *r->look.shown);
    r->look.ask = (struct queue_ask){
        .home = loop_runner(w->thread->loop), .ask = run_list, .done = run_listed};
    queues_ask(w->thread->api->o.queues, &r->look.ask);
}

/* ---- its end, or that of a turn ---- */

static void run_settle_again(struct world_timer *t)
{
    run_settle(LIST_OF(t, struct work_run, again));
}

static void run_unsettled(struct work_run *r, const struct err *e)
{
    struct world *world = work_world(r->work);
    if (queue_work_is_passing(e->code) && ++r->settle_tries < WORK_SETTLE_TRIES &&
        !r->work->closing) {
        r->again.fire = run_settle_again;
        world->timer_start(world, &r->again, WORK_AGAIN_MS);
        return;
    }
    if (e->code != ERR_FENCED && e->code != ERR_NOT_FOUND)
        log_warn("queue", "the work of an operator waits for the end of its lease: %s", e->text);
    run_free(r);
}

static void run_settled(struct unit *u)
{
    struct work_run *r = LIST_OF(u, struct work_run, unit);
    if (u->err.code != 0)
        run_unsettled(r, &u->err);
    else
        run_free(r);
}

static void run_settle(struct work_run *r)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(QUEUE_ERROR_BYTES);
    struct api_thread *t = r->work->thread;
    struct envelope env = {.tenant = API_TENANT, .principal = r->by, .correlation = r->correlation};
    struct core_settle s = {.id = r->id, .token = r->grant.token, .delay_ms = -1};
    struct err e = ERR_INIT;
    if (r->err.code != 0) {
        s.outcome = SETTLE_REJECT;
        buf_adds(&text, r->err.text);
    } else {
        s.outcome = r->ends ? SETTLE_ACK : SETTLE_SNOOZE;
        s.until = api_now_ms(t) + (r->passing ? WORK_AGAIN_MS : 0);
        if (r->args != NULL)
            run_print(r, &text);
    }
    if (r->unit_open)
        unit_fini(&r->unit);
    unit_init(&r->unit, loop_runner(t->loop), run_settled);
    r->unit_open = true;
    r->unit.txn.urgent = true;
    r->unit.txn.grows = false;
    txn_envelope(&r->unit.txn, &env);
    if (queue_txn_settle(&r->unit.txn, &s, text.data, text.len, &e) != 0 ||
        ledger_propose(t->api->o.ledger, &r->unit, &e) != 0)
        run_unsettled(r, &e);
}

void queue_work_tell(struct queue_work *w, const struct core_effect *f)
{
    struct work_run *r = w->run;
    if (r == NULL || r->grant.id != f->id || r->grant.token != f->token)
        return;
    r->cancelled |= f->kind == EFFECT_CANCEL;
    r->lost |= f->kind == EFFECT_LOST;
}
