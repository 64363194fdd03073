/* koan lease: who holds what, and taking it away. */
#include <string.h>

#include "app/cli.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/url.h"

enum { LEASE_PATH_MAX = 4096 };

static void lease_path(struct buf *out, const char *name, const char *rest)
{
    buf_adds(out, "/api/leases/");
    url_encode(name, strlen(name), out);
    buf_adds(out, rest);
}

static void lease_row(struct cli_table *t, const json_t *lease, const json_t *claim, bool holds)
{
    const json_t *token = json_object_get(claim, "token"), *mode = json_object_get(claim, "mode");
    cli_table_json(t, json_object_get(lease, "name"));
    cli_table_json(t, mode != NULL ? mode : json_object_get(lease, "form"));
    cli_table_cell(t, "%s", holds ? "holds" : "waits");
    cli_table_json(t, json_object_get(claim, "owner"));
    if (token != NULL)
        cli_table_cell(t, "%lld", (long long)json_integer_value(token));
    else
        cli_table_cell(t, "-");
    cli_table_json(t, json_object_get(claim, "since"));
    cli_table_json(t, json_object_get(claim, holds ? "expires" : "until"));
    cli_table_cell(t, "%lld", (long long)json_integer_value(json_object_get(lease, "waiting")));
}

static void lease_rows(struct cli_table *t, const json_t *lease)
{
    size_t i;
    json_t *claim;
    json_array_foreach(json_object_get(lease, "holders"), i, claim)
    {
        lease_row(t, lease, claim, true);
    }
    json_array_foreach(json_object_get(lease, "waiters"), i, claim)
    {
        lease_row(t, lease, claim, false);
    }
}

static int cmd_lease_ls(struct cli *c)
{
    static const char *const heads[] = {"NAME",  "FORM",  "STATE",   "OWNER",
                                        "TOKEN", "SINCE", "EXPIRES", "WAITING"};
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(buf_fini) struct buf path = BUF_INIT(LEASE_PATH_MAX);
    if (c->places_count > 0)
        lease_path(&path, c->places[0], "");
    else
        buf_adds(&path, "/api/leases");
    if (cli_flag(c, "prefix") != NULL && c->places_count == 0) {
        buf_adds(&path, "?prefix=");
        url_encode(cli_flag(c, "prefix"), strlen(cli_flag(c, "prefix")), &path);
    }
    int rc = remote_show(c, buf_str(&path), &answer);
    if (answer == NULL)
        return rc;
    struct cli_table t;
    size_t i;
    json_t *lease;
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    if (c->places_count > 0)
        lease_rows(&t, answer);
    json_array_foreach(json_object_get(answer, "items"), i, lease)
    {
        lease_rows(&t, lease);
    }
    cli_table_print(c, &t, 1 << 4 | 1 << 7);
    if (json_object_get(answer, "next") != NULL)
        fputs("koan: there are more than are shown; --prefix shows some of them\n", stderr);
    return CLI_OK;
}

static int cmd_lease_break(struct cli *c)
{
    const char *name = c->places[0], *confirm = cli_flag(c, "confirm");
    AUTO(buf_fini) struct buf path = BUF_INIT(LEASE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    bool dry = cli_flag(c, "dry-run") != NULL;
    if (!dry && (confirm == NULL || strcmp(confirm, name) != 0))
        return cli_usage(c, "whoever holds '%s' loses it; say --confirm %s", name, name);
    lease_path(&path, name, dry ? "/break?dry_run=true" : "/break?confirm=");
    if (!dry)
        url_encode(name, strlen(name), &path);
    int rc = remote_once(c, "POST", buf_str(&path), NULL, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    if (answer != NULL || c->json) {
        json_t *shown = answer != NULL ? json_incref(answer) : json_pack("{s:s}", "broken", name);
        cli_print_json(c, shown);
        json_decref(shown);
    } else {
        printf("nobody holds %s any more who held it before\n", name);
    }
    return CLI_OK;
}

static const struct cli_flag lease_ls_flags[] = {
    CLI_WATCH_FLAG,
    {"prefix", "TEXT", "only names that begin so"},
};
static const struct cli_flag lease_break_flags[] = {
    {"confirm", "NAME", "the name once more"},
    {"dry-run", NULL, "only show who would lose it"},
};

const struct cli_command cli_lease_commands[] = {
    {.name = "lease ls",
     .args = "[NAME]",
     .summary = "who holds leases, semaphores and locks; of one name also who waits",
     .max = 1,
     .remote = true,
     .flags = lease_ls_flags,
     .flags_count = ARRAY_LEN(lease_ls_flags),
     .run = cmd_lease_ls},
    {.name = "lease break",
     .args = "NAME",
     .summary = "take a lease away from whoever holds it",
     .min = 1,
     .max = 1,
     .remote = true,
     .flags = lease_break_flags,
     .flags_count = ARRAY_LEN(lease_break_flags),
     .run = cmd_lease_break},
    {0},
};
