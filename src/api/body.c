/* What came: entity, query keys, content type, body. Whatever is not understood is refused here. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/api_priv.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"

struct entity_def *api_entity(struct http_request *req)
{
    struct api *a = api_thread_of(req)->api;
    const char *path = http_param(req, "entity");
    struct entity_def *d = entities_find_path(a->o.entities, path);
    if (d != NULL)
        return d;
    struct err e = ERR_INIT;
    AUTO(entity_def_unrefp) struct entity_def *named = entities_find(a->o.entities, path);
    if (named != NULL)
        err_set(&e, ERR_NOT_FOUND, "entity '%s' is at /api/%s", path, named->path);
    else
        entities_unknown(a->o.entities, path, &e);
    http_problem(req, &e);
    return NULL;
}

/* ---- query ---- */

/* False, with the key as the field at fault. */
__attribute__((format(printf, 3, 4))) static bool
refuse_key(struct http_request *req, const char *key, const char *format, ...)
{
    char words[400];
    struct err e = ERR_INIT;
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    err_field(&e, ERR_INVALID, key, "%s", words);
    http_problem(req, &e);
    return false;
}

bool api_query_only(struct http_request *req, const char *const *names, size_t count)
{
    size_t n;
    const struct http_pair *pairs = http_query_all(req, &n);
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t k = 0; k < count && !known; k++)
            known = strcmp(pairs[i].name, names[k]) == 0;
        for (size_t k = 0; k < i && known; k++)
            if (strcmp(pairs[k].name, pairs[i].name) == 0) {
                return refuse_key(req, pairs[i].name, "query key '%.64s' stands there twice",
                                  pairs[i].name);
            }
        struct err e = ERR_INIT;
        bool is_partition = known && strcmp(pairs[i].name, "partition") == 0;
        if (is_partition && str_check_name(pairs[i].value, "partition", &e) != 0) {
            http_problem(req, &e);
            return false;
        }
        if (known)
            continue;
        const char *nearest = str_nearest(pairs[i].name, names, count);
        return refuse_key(req, pairs[i].name, "there is no query key '%.64s' here%s%s%s",
                          pairs[i].name, nearest != NULL ? "; did you mean '" : "",
                          nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
    }
    return true;
}

const char *api_partition(const struct http_request *req)
{
    const char *part = http_query(req, "partition");
    return part != NULL ? part : "";
}

const char *api_scope(struct http_request *req)
{
    const char *part = http_query(req, "partition");
    if (part == NULL)
        return API_TENANT;
    size_t n = strlen(part) + 1;
    char *text = arena_new(http_arena(req), sizeof API_TENANT + n);
    memcpy(text, API_TENANT "/", sizeof API_TENANT);
    memcpy(text + sizeof API_TENANT, part, n);
    return text;
}

bool api_query_bool(struct http_request *req, const char *name, bool absent, bool *out)
{
    const char *text = http_query(req, name);
    *out = absent;
    if (text == NULL)
        return true;
    *out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (*out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        return true;
    return refuse_key(req, name, "query key '%s': '%.40s' is neither true nor false", name, text);
}

bool api_query_int(struct http_request *req, const char *name, int64_t least, int64_t most,
                   int64_t absent, int64_t *out)
{
    const char *text = http_query(req, name);
    *out = absent;
    if (text == NULL)
        return true;
    if (str_to_i64(text, strlen(text), out) && *out >= least && *out <= most)
        return true;
    return refuse_key(req, name, "query key '%s': '%.40s' is not a number of %lld to %lld", name,
                      text, (long long)least, (long long)most);
}

/* ---- content types ---- */

static bool api_media_is(const char *value, size_t n, const char *type)
{
    return strlen(type) == n && strncasecmp(value, type, n) == 0;
}

enum api_media api_media(const struct http_request *req)
{
    const char *value = http_header_in(req, "Content-Type");
    if (value == NULL)
        return API_MEDIA_NONE;
    size_t n = strcspn(value, "; \t");
    if (api_media_is(value, n, API_JSON))
        return API_MEDIA_JSON;
    if (api_media_is(value, n, "application/merge-patch+json"))
        return API_MEDIA_MERGE_PATCH;
    if (api_media_is(value, n, "application/json-patch+json"))
        return API_MEDIA_JSON_PATCH;
    if (api_media_is(value, n, API_NDJSON))
        return API_MEDIA_NDJSON;
    return API_MEDIA_OTHER;
}

bool api_accepts(const struct http_request *req, const char *type)
{
    const char *accept = http_header_in(req, "Accept");
    return accept != NULL && strcasestr(accept, type) != NULL;
}

static bool api_media_refuse(struct http_request *req, const char *right)
{
    const char *value = http_header_in(req, "Content-Type");
    http_refuse(req, ERR_MEDIA_TYPE, "Content-Type: '%.80s' is not taken here; send %s",
                value != NULL ? value : "", right);
    return false;
}

bool api_media_json(struct http_request *req)
{
    enum api_media m = api_media(req);
    return m == API_MEDIA_JSON || m == API_MEDIA_NONE || api_media_refuse(req, API_JSON);
}

/* ---- body ---- */

json_t *api_body(struct http_request *req)
{
    struct str body = http_body(req);
    struct err e = ERR_INIT;
    if (body.n == 0) {
        http_refuse(req, ERR_INVALID, "the body is empty; it must be JSON");
        return NULL;
    }
    json_t *v = json_read(body.p, body.n, &e);
    if (v == NULL) {
        err_context(&e, "body");
        http_problem(req, &e);
    }
    return v;
}

json_t *api_body_object(struct http_request *req)
{
    if (!api_media_json(req))
        return NULL;
    json_t *v = api_body(req);
    if (v == NULL || json_is_object(v))
        return v;
    http_refuse(req, ERR_INVALID, "the body is %s, not an object", json_type_name(v));
    json_decref(v);
    return NULL;
}

static int api_too_many(size_t max, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "more than %zu items in one request; send several requests",
                   max);
}

static int api_list_lines(struct str body, size_t max, json_t *list, struct json_note *notes,
                          struct err *e)
{
    struct json_place at = {.line = 1, .column = 1, .offset = 0};
    for (const char *p = body.p, *end = body.p + body.n; p < end; at.line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop != NULL ? stop : end) - p);
        at.offset = (uint64_t)(p - body.p);
        if (strspn(p, " \t\r") < n) {
            if (json_array_size(list) == max)
                return api_too_many(max, e);
            struct json_note *note = notes != NULL ? &notes[json_array_size(list)] : NULL;
            json_t *v = json_read_noting(p, n, &at, note, e);
            if (v == NULL)
                return err_context(e, "body");
            json_array_append_new(list, v);
        }
        p += n + 1;
    }
    return 0;
}

static int api_list_array(struct str body, size_t max, json_t **list, struct err *e)
{
    json_t *v = json_read(body.p, body.n, e);
    if (v == NULL)
        return err_context(e, "body");
    json_decref(*list);
    *list = v;
    if (!json_is_array(v))
        return err_set(e, ERR_INVALID, "the body is %s, not an array", json_type_name(v));
    return json_array_size(v) > max ? api_too_many(max, e) : 0;
}

json_t *api_body_list(struct http_request *req, size_t max)
{
    return api_body_noted(req, max, NULL);
}

json_t *api_body_noted(struct http_request *req, size_t max, struct json_note *notes)
{
    enum api_media m = api_media(req);
    if (m != API_MEDIA_NDJSON && m != API_MEDIA_JSON && m != API_MEDIA_NONE) {
        api_media_refuse(req, API_JSON " or " API_NDJSON);
        return NULL;
    }
    AUTO(json_unref) json_t *list = json_array();
    struct str body = http_body(req);
    struct err e = ERR_INIT;
    int rc = m == API_MEDIA_NDJSON ? api_list_lines(body, max, list, notes, &e)
                                   : api_list_array(body, max, &list, &e);
    if (rc == 0 && json_array_size(list) == 0)
        rc = err_set(&e, ERR_INVALID, "the body has no items");
    if (rc != 0) {
        http_problem(req, &e);
        return NULL;
    }
    return TAKE(list);
}

bool api_body_none(struct http_request *req)
{
    if (http_body(req).n == 0)
        return true;
    http_refuse(req, ERR_INVALID, "there is a body, and this request takes none");
    return false;
}

/* ---- answers ---- */

void api_location(struct http_request *req, const struct entity_def *d, const char *id)
{
    struct buf url = BUF_INIT(4 * ENTITY_ID_MAX + 3 * ENTITY_NAME_MAX + 32);
    buf_adds(&url, "/api/");
    buf_adds(&url, d->path);
    buf_addc(&url, '/');
    url_encode(id, strlen(id), &url);
    if (*api_partition(req) != '\0')
        buf_addf(&url, "?partition=%s", api_partition(req));
    http_header(req, "Location", buf_str(&url));
    buf_fini(&url);
}

void api_problem(struct http_request *req, const struct err *e, const json_t *errors,
                 const char *more)
{
    if (json_array_size(errors) == 0) {
        http_problem_more(req, e, more);
        return;
    }
    struct err plain = *e;
    plain.field[0] = '\0'; /* it is among the errors */
    struct buf b = BUF_INIT(256 * 1024);
    buf_adds(&b, "\"errors\":");
    json_print(errors, &b, NULL);
    if (more != NULL)
        buf_addf(&b, ",%s", more);
    http_problem_more(req, &plain, buf_str(&b));
    buf_fini(&b);
}

void api_print_problem(struct buf *out, const struct err *e, const json_t *errors)
{
    const struct err_info *info = err_info(e->code);
    buf_addf(out, "{\"code\":\"%s\",\"status\":%d,\"retry\":\"%s\",\"detail\":", info->name,
             info->http_status, err_retry_name(info->retry));
    json_print_string(out, e->text, strlen(e->text));
    if (json_array_size(errors) > 0) {
        buf_adds(out, ",\"errors\":");
        json_print(errors, out, NULL);
    } else if (e->field[0] != '\0') {
        buf_adds(out, ",\"errors\":[{\"field\":");
        json_print_string(out, e->field, strlen(e->field));
        buf_adds(out, ",\"detail\":");
        json_print_string(out, e->text, strlen(e->text));
        buf_adds(out, "}]");
    }
    buf_addc(out, '}');
}

void api_answer_json(struct http_request *req, int status, json_t *v)
{
    struct buf b = BUF_INIT(API_ANSWER_MAX);
    struct err e = ERR_INIT;
    int rc = json_print(v, &b, &e);
    json_decref(v);
    if (rc == 0) {
        http_respond_buf(req, status, API_JSON, &b);
        return;
    }
    buf_fini(&b);
    http_problem(req, &e);
}
