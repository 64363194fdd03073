/* koan check --recent: what the hooks of these scripts would say to the records that were changed
 * last. The records come from a running server; the hooks run here, and nothing is saved anywhere.
 */
#include <stdio.h>
#include <string.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"
#include "http/client.h"

enum { RECENT_MAX = 200, RECENT_TEXT_MAX = 16 << 20, RECENT_NAME_MAX = 160 };

static int recent_get(struct http_client *h, const char *path, json_t **out, struct err *e)
{
    struct http_client_request q = {.method = "GET", .path = path};
    return remote_call(h, &q, out, e);
}

/* The version before, where the server has kept it; else the record itself, as if it were saved
 * once more. A first version has none. */
static json_t *recent_prior(struct http_client *h, const char *kebab, json_t *record)
{
    int64_t version = json_integer_value(json_object_get(record, "version"));
    const char *id = json_string_value(json_object_get(record, "id"));
    AUTO(buf_fini) struct buf path = BUF_INIT(4096);
    json_t *prior = NULL;
    if (version <= 1 || id == NULL)
        return NULL;
    buf_addf(&path, "/api/%s/", kebab);
    url_encode(id, strlen(id), &path);
    buf_addf(&path, "/history/%lld", (long long)version - 1);
    if (recent_get(h, buf_str(&path), &prior, NULL) == 0 && json_is_object(prior))
        return prior;
    json_decref(prior);
    return json_incref(record);
}

static int recent_items(struct http_client *h, const char *entity, int64_t count, json_t **out,
                        struct err *e)
{
    char kebab[RECENT_NAME_MAX];
    str_kebab(entity, kebab, sizeof kebab);
    AUTO(mem_freep)
    char *path =
        mem_printf("/api/%s?sort=-updated_at&count=none&pageSize=%lld", kebab, (long long)count);
    AUTO(json_unref) json_t *rows = NULL;
    AUTO(json_unref) json_t *items = json_array();
    if (recent_get(h, path, &rows, e) != 0)
        return err_context(e, "%s", entity);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        AUTO(buf_fini) struct buf text = BUF_INIT(RECENT_TEXT_MAX);
        json_print(row, &text, NULL);
        json_array_append_new(items,
                              json_pack("{s:O, s:s, s:o*}", "record", row, "text", buf_str(&text),
                                        "prior", recent_prior(h, kebab, row)));
    }
    *out = TAKE(items);
    return 0;
}

static void recent_show(struct check *k, const char *entity, json_t *results)
{
    size_t i, n, refused = 0, changed = 0;
    json_t *one, *name;
    json_array_foreach(results, i, one)
    {
        const char *error = json_string_value(json_object_get(one, "error"));
        json_t *fields = json_object_get(one, "changed");
        json_object_set_new(one, "entity", json_string(entity));
        json_array_append(k->recent, one);
        refused += error != NULL;
        changed += json_array_size(fields) > 0;
        if (k->cli->json || (error == NULL && json_array_size(fields) == 0))
            continue;
        printf("%s  %s %s: ", error != NULL ? "REFUSED" : "changed", entity,
               json_string_value(json_object_get(one, "id")));
        if (error != NULL)
            printf("%s", error);
        json_array_foreach(fields, n, name)
            printf("%s%s", n > 0 ? ", " : "", json_string_value(name));
        putchar('\n');
    }
    k->failed += refused;
    if (!k->cli->json)
        printf("%s: the last %zu records: %zu refused, %zu changed\n", entity,
               json_array_size(results), refused, changed);
}

static int recent_entity(struct check *k, struct http_client *h, const char *entity, int64_t count,
                         struct err *e)
{
    AUTO(json_unref) json_t *items = NULL;
    AUTO(json_unref) json_t *results = NULL;
    if (recent_items(h, entity, count, &items, e) != 0)
        return e->code;
    if (json_array_size(items) > 0 && check_dry(k, entity, items, &results, e) != 0)
        return e->code;
    recent_show(k, entity, results);
    return 0;
}

int check_recent(struct check *k)
{
    struct err e = ERR_INIT;
    int64_t count = 0;
    AUTO(json_unref) json_t *names = NULL;
    AUTO(remote_closep) struct http_client *h = NULL;
    int rc = cli_flag_int(k->cli, "recent", 0, 1, RECENT_MAX, &count);
    if (rc != CLI_OK)
        return rc;
    k->recent = json_array();
    if (remote_open(k->cli, &h, &e) != 0 || check_hooked(k, &names, &e) != 0)
        return cli_fail(k->cli, &e);
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        if (recent_entity(k, h, json_string_value(name), count, &e) == 0)
            continue;
        if (e.code != ERR_NOT_FOUND) /* an entity that the server does not have yet is fine */
            return cli_fail(k->cli, &e);
        err_clear(&e);
    }
    return CLI_OK;
}
