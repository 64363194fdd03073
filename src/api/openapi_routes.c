/* Routes of scripts in /openapi.json: their paths and who may ask. What they take and give is code,
 * so it is any JSON here. */
#include <ctype.h>
#include <string.h>

#include "api/openapi_priv.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { OPENAPI_NAME_MAX = 512 };

/* "GET /hello/{name}" is getHelloName. Two that come out alike are told apart by a number. */
static void openapi_id(json_t *ids, const char *method, const char *path, struct buf *out)
{
    for (const char *p = method; *p != '\0'; p++)
        buf_addc(out, (char)tolower((unsigned char)*p));
    bool upper = true;
    for (const char *p = path; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p)) {
            upper = true;
            continue;
        }
        buf_addc(out, upper ? (char)toupper((unsigned char)*p) : *p);
        upper = false;
    }
    buf_adds(out, "Route");
    size_t n = out->len;
    for (int i = 2; json_object_get(ids, buf_str(out)) != NULL; i++) {
        out->len = n;
        buf_addf(out, "%d", i);
    }
    json_object_set_new(ids, buf_str(out), json_true());
}

/* "/files/{rest...}" is "/files/{rest}": the standard has no word for the rest of a path. */
static json_t *openapi_path(const char *path, struct buf *key)
{
    json_t *list = json_array();
    for (const char *p = path; *p != '\0'; p++) {
        if (*p != '{') {
            buf_addc(key, *p);
            continue;
        }
        size_t n = strcspn(p, "}"), len = n - 1;
        bool rest = n > 4 && strncmp(p + n - 3, "...", 3) == 0;
        if (rest)
            len -= 3;
        buf_addf(key, "{%.*s}", (int)len, p + 1);
        json_t *one = json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", p + 1, len, "in", "path",
                                "required", 1, "schema", "type", "string");
        if (rest)
            json_object_set_new(one, "description", json_string("All that follows, with its /."));
        json_array_append_new(list, one);
        p += n;
    }
    return list;
}

static bool openapi_has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static json_t *openapi_operation(json_t *ids, const json_t *route, const char *method,
                                 const char *path, json_t *parameters)
{
    struct buf id = BUF_INIT(OPENAPI_NAME_MAX);
    openapi_id(ids, method, path, &id);
    const char *summary = json_string_value(json_object_get(route, "summary"));
    json_t *op =
        json_pack("{s:s, s:[s], s:s, s:o, s:{s:{s:s, s:{s:{s:{}}}}, s:{s:s}, s:{s:s}}}",
                  "operationId", buf_str(&id), "tags", "Routes", "summary",
                  summary != NULL ? summary : json_string_value(json_object_get(route, "name")),
                  "parameters", parameters, "responses", "2XX", "description",
                  "What the script answers.", "content", "*/*", "schema", "4XX", "$ref",
                  "#/components/responses/Refused", "5XX", "$ref", "#/components/responses/Failed");
    buf_fini(&id);
    if (openapi_has_body(method))
        json_object_set_new(op, "requestBody",
                            json_pack("{s:{s:{s:{}}}}", "content", "application/json", "schema"));
    if (json_is_true(json_object_get(route, "public")))
        json_object_set_new(op, "security", json_pack("[{}, {s:[]}]", "token"));
    return op;
}

void openapi_add_routes(json_t *paths, const json_t *routes)
{
    AUTO(json_unref) json_t *ids = json_object();
    json_t *route;
    size_t i;
    json_array_foreach((json_t *)routes, i, route)
    {
        const char *method = json_string_value(json_object_get(route, "method"));
        const char *path = json_string_value(json_object_get(route, "path"));
        struct buf key = BUF_INIT(OPENAPI_NAME_MAX), verb = BUF_INIT(16);
        json_t *parameters = openapi_path(path, &key);
        json_t *item = json_object_get(paths, buf_str(&key));
        if (item == NULL) {
            item = json_object();
            json_object_set_new(paths, buf_str(&key), item);
        }
        for (const char *p = method; *p != '\0'; p++)
            buf_addc(&verb, (char)tolower((unsigned char)*p));
        json_object_set_new(item, buf_str(&verb),
                            openapi_operation(ids, route, method, path, parameters));
        buf_fini(&key);
        buf_fini(&verb);
    }
}
