#include "job/args.h"

#include "base/err.h"
#include "base/mem.h"
#include "entity/def.h"
#include "entity/doc.h"
#include "job/def.h"

int job_args_read(const struct job_def *d, struct entity_def **out, struct err *e)
{
    *out = NULL;
    if (d->args == NULL)
        return 0;
    AUTO(json_unref)
    json_t *def = json_pack("{s:s, s:O}", "name", "Args", "fields", (json_t *)d->args);
    return def == NULL || entity_def_parse(def, out, e) != 0 ? err_context(e, "args") : 0;
}

json_t *job_args_check(const struct entity_def *def, const json_t *args, json_t **errors,
                       struct err *e)
{
    if (errors != NULL)
        *errors = NULL;
    if (def == NULL)
        return json_incref((json_t *)args);
    if (!json_is_object(args)) {
        err_field(e, ERR_INVALID, "args",
                  "args are an object with the fields that the job declares");
        return NULL;
    }
    json_t *checked = entity_doc_check(def, args, 0, errors, e);
    if (checked == NULL)
        err_context(e, "args");
    return checked;
}

int job_args_scheduled(const struct job_def *d, struct buf *out, struct err *e)
{
    struct entity_def *def = NULL;
    AUTO(json_unref)
    json_t *given = d->scheduled_args != NULL ? json_incref((json_t *)(uintptr_t)d->scheduled_args)
                                              : json_object();
    int rc = job_args_read(d, &def, e);
    AUTO(json_unref) json_t *args = rc == 0 ? job_args_check(def, given, NULL, e) : NULL;
    entity_def_unref(def);
    if (rc == 0 && args == NULL)
        rc = ERR_INVALID;
    int printed = json_print(args != NULL ? args : given, out, rc == 0 ? e : NULL);
    return rc != 0 ? rc : printed;
}
