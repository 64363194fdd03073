/* koan entity: records, one request each. */
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"

enum { CMD_ENTITY_PATH_MAX = 64 << 10, CMD_ENTITY_FILE_MAX = 16 << 20, CMD_ENTITY_COLUMNS = 8 };

/* "/api/order-line/ID" */
static void cmd_entity_path(struct cli *c, struct buf *path, bool id)
{
    char kebab[2 * CLI_ARGS_MAX];
    buf_adds(path, "/api/");
    if (strlen(c->places[0]) < CLI_ARGS_MAX) {
        str_kebab(c->places[0], kebab, sizeof kebab);
        url_encode(kebab, strlen(kebab), path);
    } else {
        url_encode(c->places[0], strlen(c->places[0]), path);
    }
    if (id) {
        buf_addc(path, '/');
        url_encode(c->places[1], strlen(c->places[1]), path);
    }
}

static void cmd_entity_query(struct cli *c, struct buf *path)
{
    static const char *const flags[] = {"filter", "sort", "page", "page-size",
                                        "fields", "q",    "with"};
    static const char *const names[] = {"filter", "sort", "page", "pageSize",
                                        "fields", "q",    "with"};
    if (cli_flag(c, "removed") != NULL)
        buf_adds(path, "?removed=only");
    remote_query(c, path, flags, names, ARRAY_LEN(flags));
}

static json_t *cmd_entity_rows(json_t *answer)
{
    return json_is_array(answer) ? answer : json_object_get(answer, "items");
}

/* Columns are the keys of the first row. */
static void cmd_entity_table(struct cli *c, json_t *rows)
{
    const char *names[CMD_ENTITY_COLUMNS], *key;
    size_t columns = 0, i;
    json_t *row, *v;
    if (json_array_size(rows) == 0) {
        puts("no records");
        return;
    }
    json_object_foreach(json_array_get(rows, 0), key, v)
    {
        if (columns < CMD_ENTITY_COLUMNS)
            names[columns++] = key;
    }
    struct cli_table t;
    cli_table_head(&t, names, columns);
    json_array_foreach(rows, i, row) cli_table_members(&t, row, names, columns);
    cli_table_print(c, &t, 0);
}

static int cmd_entity_show(struct cli *c, json_t *answer, bool table)
{
    if (answer == NULL)
        return CLI_OK;
    json_t *rows = cmd_entity_rows(answer);
    if (table && !c->json && json_is_array(rows))
        cmd_entity_table(c, rows);
    else
        cli_print_json(c, answer);
    return CLI_OK;
}

static int cmd_entity_send(struct cli *c, const char *method, bool id, const char *body,
                           const char *suffix)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_ENTITY_PATH_MAX);
    AUTO(json_unref) json_t *sent = NULL;
    AUTO(json_unref) json_t *answer = NULL;
    if (body != NULL && (sent = cli_json(body, CMD_ENTITY_FILE_MAX, &e)) == NULL)
        return cli_fail(c, &e);
    cmd_entity_path(c, &path, id);
    buf_adds(&path, suffix);
    if (strcmp(method, "GET") == 0 && !id)
        cmd_entity_query(c, &path);
    if (buf_check(&path, "path", &e) != 0)
        return cli_fail(c, &e);
    const char *match = cli_flag(c, "if-version");
    AUTO(mem_freep)
    char *headers = match != NULL ? mem_printf("If-Match: \"%s\"\r\n", match) : NULL;
    int rc = remote_once(c, method, buf_str(&path), sent, headers, &answer);
    return rc == CLI_OK ? cmd_entity_show(c, answer, !id) : rc;
}

static int cmd_entity_ls(struct cli *c)
{
    return cmd_entity_send(c, "GET", false, NULL, "");
}

static int cmd_entity_get(struct cli *c)
{
    return cmd_entity_send(c, "GET", true, NULL, "");
}

static int cmd_entity_put(struct cli *c)
{
    if (c->places_count == 2)
        return cmd_entity_send(c, "POST", false, c->places[1], "");
    return cmd_entity_send(c, "PUT", true, c->places[2], "");
}

static int cmd_entity_patch(struct cli *c)
{
    return cmd_entity_send(c, "PATCH", true, c->places[2], "");
}

static int cmd_entity_rm(struct cli *c)
{
    return cmd_entity_send(c, "DELETE", true, NULL, "");
}

static int cmd_entity_find(struct cli *c)
{
    return cmd_entity_send(c, "POST", false, c->places[1], "/query");
}

/* One line for an index: "email, name   unique   building". */
static void cmd_entity_index(struct cli_table *t, const json_t *ix)
{
    char fields[CLI_ARGS_MAX * 4] = "";
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(ix, "fields"), i, v)
    {
        size_t n = strlen(fields);
        snprintf(fields + n, sizeof fields - n, "%s%s", i > 0 ? ", " : "", json_string_value(v));
    }
    cli_table_cell(t, "%s", fields);
    cli_table_cell(t, "%s", json_is_true(json_object_get(ix, "unique")) ? "unique" : "");
    cli_table_cell(t, "%s", json_string_value(json_object_get(ix, "state")));
}

static void cmd_entity_violations(struct cli *c, const json_t *build)
{
    struct cli_table t;
    size_t i;
    json_t *v;
    json_t *list = json_object_get(build, "list");
    if (json_array_size(list) == 0)
        return;
    printf("\n%lld%s records have a value that another one has; change or remove them:\n",
           (long long)json_integer_value(json_object_get(build, "violations")),
           json_is_true(json_object_get(build, "violations_more")) ? " and more" : "");
    cli_table_init(&t, 2);
    json_array_foreach(list, i, v)
    {
        cli_table_cell(&t, "%s", json_string_value(json_object_get(v, "id")));
        cli_table_json(&t, json_object_get(v, "values"));
    }
    cli_table_print(c, &t, 0);
}

/* true: the last one was given up. */
static bool cmd_entity_migration(struct cli *c, const json_t *answer)
{
    const json_t *now = json_object_get(answer, "migration");
    json_t *halted = json_object_get(answer, "halted");
    struct cli_table t;
    size_t i;
    json_t *v;
    if (now != NULL)
        printf("migrating: %lld %% of the records\n",
               (long long)json_integer_value(json_object_get(now, "percent")));
    if (json_array_size(halted) == 0)
        return false;
    puts("\nmigrate failed for these, and the definition stayed as it was:");
    cli_table_init(&t, 2);
    json_array_foreach(halted, i, v)
    {
        const char *id = json_string_value(json_object_get(v, "id"));
        cli_table_cell(&t, "%s", id != NULL ? id : "-");
        cli_table_cell(&t, "%s", json_string_value(json_object_get(v, "error")));
    }
    cli_table_print(c, &t, 0);
    return true;
}

static int cmd_entity_kept_table(struct cli *c, json_t *list)
{
    static const char *const columns[] = {"entity", "field", "kind", "removed_at", "until"};
    struct cli_table t;
    size_t i, k;
    json_t *row;
    cli_table_init(&t, ARRAY_LEN(columns));
    for (k = 0; k < ARRAY_LEN(columns); k++)
        cli_table_cell(&t, "%s", columns[k]);
    json_array_foreach(list, i, row)
    {
        for (k = 0; k < ARRAY_LEN(columns); k++) {
            const char *text = json_string_value(json_object_get(row, columns[k]));
            cli_table_cell(&t, "%s", text != NULL ? text : k == 1 ? "(all of it)" : "");
        }
    }
    cli_table_print(c, &t, 1);
    return CLI_OK;
}

static int cmd_entity_kept(struct cli *c)
{
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_once(c, "GET", "/api/cluster/kept", NULL, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    if (c->json)
        cli_print_json(c, answer);
    else if (json_array_size(answer) == 0)
        puts("nothing is kept of fields and entities that are gone");
    else
        return cmd_entity_kept_table(c, answer);
    return CLI_OK;
}

static int cmd_entity_indexes(struct cli *c)
{
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_ENTITY_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    buf_adds(&path, "/api/cluster/entities/");
    url_encode(c->places[0], strlen(c->places[0]), &path);
    if (buf_check(&path, "path", &e) != 0)
        return cli_fail(c, &e);
    int rc = remote_show(c, buf_str(&path), &answer);
    if (answer == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *ix;
    cli_table_init(&t, 3);
    json_array_foreach(json_object_get(answer, "indexes"), i, ix) cmd_entity_index(&t, ix);
    if (json_object_get(answer, "search") != NULL) {
        cli_table_cell(&t, "search (q)");
        cli_table_cell(&t, "%s", "");
        cli_table_cell(&t, "%s", json_string_value(json_object_get(answer, "search")));
    }
    cli_table_print(c, &t, 0);
    const json_t *build = json_object_get(answer, "build");
    if (build != NULL)
        printf("%lld %% of the records looked at\n",
               (long long)json_integer_value(json_object_get(build, "percent")));
    cmd_entity_violations(c, build);
    bool halted = cmd_entity_migration(c, answer);
    if (json_object_get(answer, "kept") != NULL) {
        puts("\nkept of what was removed, out of sight:");
        cmd_entity_kept_table(c, json_object_get(answer, "kept"));
    }
    return halted || json_array_size(json_object_get(build, "list")) > 0 ? CLI_DEGRADED : CLI_OK;
}

static const struct cli_flag cmd_entity_ls_flags[] = {
    {"filter", "JSON", "only these: {\"done\": false}"},
    {"sort", "FIELDS", "by these, - for descending: -due,title"},
    {"q", "WORDS", "with all these words, the last perhaps cut off"},
    {"fields", "FIELDS", "only these"},
    {"with", "REFS", "and what these refer to, in _with"},
    {"removed", NULL, "what was removed and can be restored"},
    {"page", "N", "from 1"},
    {"page-size", "N", "records on a page"},
};
static const struct cli_flag cmd_entity_version_flags[] = {
    {"if-version", "N", "only if the record has this version"},
};

#define ENTITY(name_, args_, summary_, places_, run_, flags_, count_)                              \
    {                                                                                              \
        .name = "entity " name_, .args = args_, .summary = summary_, .min = places_,               \
        .max = places_, .remote = true, .run = run_, .flags = flags_, .flags_count = count_        \
    }
const struct cli_command cli_entity_commands[] = {
    ENTITY("ls", "NAME", "list records", 1, cmd_entity_ls, cmd_entity_ls_flags,
           ARRAY_LEN(cmd_entity_ls_flags)),
    ENTITY("get", "NAME ID", "show one", 2, cmd_entity_get, NULL, 0),
    {.name = "entity put",
     .args = "NAME [ID] JSON",
     .summary = "create or replace (JSON, @FILE or -)",
     .min = 2,
     .max = 3,
     .remote = true,
     .run = cmd_entity_put,
     .flags = cmd_entity_version_flags,
     .flags_count = ARRAY_LEN(cmd_entity_version_flags)},
    ENTITY("patch", "NAME ID JSON", "change some fields", 3, cmd_entity_patch,
           cmd_entity_version_flags, ARRAY_LEN(cmd_entity_version_flags)),
    ENTITY("rm", "NAME ID", "remove one", 2, cmd_entity_rm, cmd_entity_version_flags,
           ARRAY_LEN(cmd_entity_version_flags)),
    ENTITY("indexes", "NAME", "how far its indexes and search are, and what holds them up", 1,
           cmd_entity_indexes, NULL, 0),
    ENTITY("kept", "", "what deploys have taken away, and until when it can come back", 0,
           cmd_entity_kept, NULL, 0),
    ENTITY("query", "NAME JSON", "list by a query document", 2, cmd_entity_find, NULL, 0),
    {0},
};
