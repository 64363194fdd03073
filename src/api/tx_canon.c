/* canon.arrive in POST /api/tx: an arrival that is stored with the rest of the unit, and worked
 * later. One without a mode is worked at once: tx_direct.c.
 *
 *   {"op": "canon.arrive", "model": "Customer", "mode": "queue", "origin": "crm",
 *    "source_id": "C-17", "data": {..}} */
#include <string.h>

#include "api/canon_priv.h"
#include "api/tx_priv.h"
#include "base/mem.h"
#include "base/str.h"

static int arrive_mode(const json_t *op, enum canon_mode *mode, struct err *e)
{
    const char *text = NULL;
    int rc = json_get_string(op, "mode", &text, e);
    *mode = CANON_MODE_NOW; /* tx_direct.c */
    if (rc != ERR_NOT_FOUND)
        return rc == 0 ? canon_mode_read(text, mode, e) : rc;
    err_clear(e);
    return 0;
}

int tx_arrive_read(const json_t *op, json_t **held, struct canon_arrival *out,
                   struct canon_sending *s, enum canon_mode *mode, struct err *e)
{
    static const char *const ours[] = {"op", "model", "mode", "skip_distribution"};
    *out = (struct canon_arrival){.observed_at = INT64_MIN};
    int rc = arrive_mode(op, mode, e);
    if (rc == 0)
        rc = json_get_bool(op, "skip_distribution", &s->skip_distribution, e);
    if (rc != 0 && rc != ERR_NOT_FOUND)
        return rc;
    err_clear(e);
    *held = json_copy((json_t *)op);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        json_object_del(*held, ours[i]);
    return canon_item(*held, false, out, e);
}

void tx_arrive_fini(struct canon_arrival *a)
{
    json_decref(a->data);
    json_decref(a->tags);
}

static struct canon_model *arrive_model(const json_t *op, struct canon *c,
                                        struct entities *entities, struct err *e)
{
    const char *name = NULL;
    int rc = json_get_string(op, "model", &name, e);
    if (rc == ERR_NOT_FOUND)
        err_field(e, ERR_INVALID, "model", "canon.arrive names no model");
    if (rc != 0)
        return NULL;
    AUTO(entity_def_unrefp) struct entity_def *d = entities_find_path(entities, name);
    struct canon_model *m = canon_find(c, d != NULL ? d->name : name);
    if (m == NULL)
        canon_unknown(c, name, e);
    return m;
}

int tx_arrive_check(const json_t *op, struct canon *c, struct entities *entities,
                    struct tx_queue *q, struct err *e)
{
    if (c == NULL)
        return err_field(e, ERR_UNSUPPORTED, "op", "canon is not running here");
    struct canon_arrival a;
    struct canon_sending s = {.now = q->now};
    enum canon_mode mode;
    AUTO(json_unref) json_t *held = NULL;
    AUTO(api_model_unrefp) struct canon_model *m = arrive_model(op, c, entities, e);
    if (m == NULL)
        return e->code;
    str_copy(q->model, sizeof q->model, canon_model_name(m));
    int rc = tx_arrive_read(op, &held, &a, &s, &mode, e);
    if (rc == 0)
        rc = canon_arrival_check(m, &a, e);
    tx_arrive_fini(&a);
    return rc;
}

int tx_arrive_add(const json_t *op, const struct tx_queue *q, struct txn *t, struct err *e)
{
    struct canon_arrival a;
    enum canon_mode mode;
    AUTO(json_unref) json_t *held = NULL;
    struct canon_sending s = {
        .now = q->now, .correlation = q->correlation, .traceparent = q->traceparent};
    int rc = tx_arrive_read(op, &held, &a, &s, &mode, e);
    if (rc == 0)
        rc = canon_queue_send(t, q->model, mode, &a, &q->id, &s, e);
    tx_arrive_fini(&a);
    return rc;
}

void tx_arrive_print(const json_t *op, const struct tx_queue *q, struct buf *out)
{
    char id[UUID_TEXT];
    enum canon_mode mode = CANON_MODE_NOW;
    arrive_mode(op, &mode, NULL);
    uuid_format(&q->sent.id, id);
    buf_addf(out, ",\"record\":\"%s\",\"outcome\":\"%s\"", id, canon_mode_outcome(mode));
}
