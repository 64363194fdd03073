/* A stage that misses a parent: ctx:park("PARENT_NOT_FOUND", { model = "Country", key = { code =
 * "PT" } }). `key` is what the parent would say of itself: its model's keys are made of it, and
 * each of them is enough. The same is how a script looks for a golden record (canon_find_key). */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "canon/engine_priv.h"
#include "canon/pipeline_priv.h"
#include "db/db.h"

static void add_key_names(const struct canon_model *m, struct buf *b)
{
    for (size_t i = 0; i < m->keys_count; i++)
        buf_addf(b, "%s%s", i > 0 ? ", " : "", m->keys[i].name);
}

/* All key values that `says` gives; at least one. */
static int keys_given(const struct canon_model *m, const json_t *says, struct canon_hooks *hooks,
                      json_t **keys, struct err *e)
{
    if (!json_is_object(says))
        return err_field(e, ERR_INVALID, "key",
                         "key is a table of fields of '%s', like { code = \"PT\" }", m->name);
    int rc = canon_keys_of(m, says, hooks, keys, e);
    if (rc != 0 || json_array_size(*keys) > 0)
        return rc;
    AUTO(buf_fini) struct buf names = BUF_INIT(4096);
    add_key_names(m, &names);
    return err_field(e, ERR_INVALID, "key", "key gives no key of canon '%s', which has: %s",
                     m->name, buf_str(&names));
}

int canon_find_key(struct canon *c, struct db *db, struct canon_hooks *hooks, const char *model,
                   const char *tenant, const json_t *says, char out[257], struct err *e)
{
    struct canon_model *m = canon_find(c, model);
    if (m == NULL)
        return canon_unknown(c, model, e);
    AUTO(json_unref) json_t *keys = NULL;
    int rc = keys_given(m, says, hooks, &keys, e);
    int found = ERR_NOT_FOUND;
    for (size_t i = 0; i < json_array_size(keys) && rc == 0 && found == ERR_NOT_FOUND; i++) {
        const char *key = json_string_value(json_array_get(keys, i));
        found = store_key_owner(db, tenant, m->name, key, out, e);
        if (found != 0 && found != ERR_NOT_FOUND)
            rc = found;
    }
    canon_model_unref(m);
    return rc != 0 ? rc : found;
}

int job_waits(struct canon_job *j, struct err *e)
{
    const json_t *evidence = j->call.evidence;
    const char *name = NULL;
    if (strcmp(j->call.reason, "PARENT_NOT_FOUND") != 0 || !json_is_object(evidence))
        return 0;
    int rc = json_get_string(evidence, "model", &name, e);
    if (rc == ERR_NOT_FOUND) /* for a person then */
        return 0;
    struct canon *c = engine_canon(j->engine);
    struct canon_model *m = rc == 0 ? canon_find(c, name) : NULL;
    if (m == NULL) {
        if (rc == 0)
            canon_unknown(c, name, e);
        return err_context(e, "park(\"PARENT_NOT_FOUND\")");
    }
    json_decref(j->waits);
    j->waits = NULL;
    rc = keys_given(m, json_object_get(evidence, "key"), j->hooks, &j->waits, e);
    str_copy(j->waits_model, sizeof j->waits_model, m->name);
    canon_model_unref(m);
    return rc == 0 ? 0 : err_context(e, "park(\"PARENT_NOT_FOUND\")");
}

int job_compose_wait(struct canon_job *j, struct txn *t, struct err *e)
{
    if (j->outcome != STORED_PARKED || j->waits == NULL)
        return 0;
    AUTO(buf_fini) struct buf keys = BUF_INIT(CANON_BODY_MAX);
    int rc = json_print(j->waits, &keys, e);
    if (rc != 0)
        return rc;
    struct canon_op_wait w = {.arrival = j->arrival->arrival_id,
                              .waiter = j->working->model->name,
                              .model = j->waits_model,
                              .keys = buf_str(&keys),
                              .tries = (uint8_t)j->waits_tries,
                              .take_up = j->waits_tries < CANON_WAIT_TRIES};
    canon_op_wait(t, &w);
    return 0;
}
