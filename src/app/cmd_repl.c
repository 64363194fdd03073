/* koan repl: on a running server, or on the data directory of a stopped one. */
#include "app/cli.h"
#include "app/remote.h"
#include "app/repl.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "http/client.h"

struct remote_place {
    struct repl_place place;
    struct http_client *http;
};

static int remote_place_ask(struct repl_place *p, const char *text, const json_t *args,
                            json_t **out, struct err *e)
{
    struct remote_place *r = LIST_OF(p, struct remote_place, place);
    AUTO(buf_fini) struct buf body = BUF_INIT(4 * REPL_TEXT_MAX);
    AUTO(json_unref)
    json_t *q = json_pack("{s:s, s:s, s:O*}", "text", text, "name", "repl.lua", "args", args);
    if (q == NULL)
        return err_set(e, ERR_INVALID, "the line is not UTF-8");
    if (json_print(q, &body, e) != 0)
        return e->code;
    struct http_client_request h = {.method = "POST",
                                    .path = "/api/cluster/run",
                                    .type = "application/json",
                                    .body = body.data,
                                    .body_n = body.len};
    return remote_call(r->http, &h, out, e);
}

static int cmd_repl(struct cli *c)
{
    struct err e = ERR_INIT;
    struct remote_place r = {.place = {.name = remote_url(c), .ask = remote_place_ask}};
    if (c->settings_count > 0 || c->config_file != NULL) {
        if (cli_flag(c, "url") != NULL)
            return cli_usage(c, "--url is a running server, settings like --data are for a "
                                "stopped one; give one of them");
        return repl_on_data(c);
    }
    if (remote_open(c, &r.http, &e) != 0)
        return cli_fail(c, &e);
    int rc = repl_run(c, &r.place);
    http_client_free(r.http);
    return rc;
}

const struct cli_command cli_repl_commands[] = {
    {.name = "repl",
     .args = "",
     .summary = "type Lua that a running server runs; with --data DIR, on a stopped one's data",
     .settings = CLI_SETTINGS_TAKES,
     .remote = true,
     .run = cmd_repl},
    {0},
};
