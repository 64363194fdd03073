/* Options of a definition that say how long something is kept: soft_remove, ttl, history. */
#include "base/err.h"
#include "base/mem.h"
#include "base/time.h"
#include "entity/def_priv.h"

static const char *const history_keys[] = {"keep", "versions"};

/* true, false, a duration as text, or seconds. */
static int read_keep(const char *key, const json_t *v, int64_t when_true, int64_t *out,
                     struct err *e)
{
    int rc = 0;
    *out = 0;
    if (v == NULL || json_is_null(v) || json_is_false(v))
        return 0;
    if (json_is_true(v)) {
        *out = when_true;
        return 0;
    }
    if (json_is_string(v))
        rc = duration_parse(json_string_value(v), out, e);
    else if (json_is_integer(v) && json_integer_value(v) <= ENTITY_KEEP_MS_MAX / 1000)
        *out = json_integer_value(v) * 1000;
    else
        rc = err_set(e, ERR_INVALID, "wants true, false or a duration like \"30d\"");
    if (rc == 0 && (*out < 1 || *out > ENTITY_KEEP_MS_MAX))
        rc = err_set(e, ERR_INVALID, "is 1ms to %lldd", ENTITY_KEEP_MS_MAX / 86400000);
    return rc < 0 ? err_context(e, "option '%s'", key) : 0;
}

static int parse_history(struct entity_def *d, const json_t *v, struct err *e)
{
    int64_t versions = ENTITY_HISTORY_VERSIONS;
    const json_t *keep = v;
    if (json_is_object(v)) {
        int rc = json_only_keys(v, "history", history_keys, ARRAY_LEN(history_keys), e);
        if (rc == 0 && (rc = json_get_int(v, "versions", &versions, e)) == ERR_NOT_FOUND)
            rc = 0;
        if (rc < 0)
            return rc;
        keep = json_object_get(v, "keep");
        if (keep == NULL)
            keep = json_true();
    }
    if (versions < 1 || versions > ENTITY_HISTORY_VERSIONS_MAX)
        return err_set(e, ERR_INVALID, "option 'history': versions is 1 to %d",
                       ENTITY_HISTORY_VERSIONS_MAX);
    d->history_versions = versions;
    return read_keep("history", keep, ENTITY_KEEP_MS, &d->history_ms, e);
}

int entity_keeping_parse(struct entity_def *d, const json_t *j, struct err *e)
{
    const json_t *ttl = json_object_get(j, "ttl");
    int rc = parse_history(d, json_object_get(j, "history"), e);
    if (rc < 0 ||
        (rc = read_keep("soft_remove", json_object_get(j, "soft_remove"), ENTITY_KEEP_MS,
                        &d->soft_remove_ms, e)) < 0 ||
        (rc = read_keep("ttl", ttl, 0, &d->ttl_ms, e)) < 0)
        return rc;
    d->ttl = d->ttl_ms > 0 || json_is_true(ttl);
    bool feed = true;
    rc = json_get_bool(j, "feed", &feed, e);
    d->no_feed = !feed;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static json_t *keep_json(int64_t ms)
{
    return json_sprintf("%lldms", (long long)ms);
}

void entity_keeping_print(const struct entity_def *d, json_t *o)
{
    if (d->soft_remove_ms > 0)
        json_object_set_new(o, "soft_remove", keep_json(d->soft_remove_ms));
    if (d->no_feed)
        json_object_set_new(o, "feed", json_false());
    if (d->ttl)
        json_object_set_new(o, "ttl", d->ttl_ms > 0 ? keep_json(d->ttl_ms) : json_true());
    if (d->history_ms > 0)
        json_object_set_new(o, "history",
                            json_pack("{s:o,s:I}", "keep", keep_json(d->history_ms), "versions",
                                      (json_int_t)d->history_versions));
}
