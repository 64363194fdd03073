/* koan queue retry, cancel, move, purge: what people do with messages; of many a run does it, which
 * is waited for. */
#include <string.h>

#include "app/cli.h"
#include "app/operate.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/url.h"

enum { OPERATE_PATH_MAX = 4096, OPERATE_FIND_MAX = 64 << 10 };

static const char *operate_verb(const struct cli *c)
{
    return c->command->name + sizeof "queue " - 1;
}

/* ---- the request ---- */

/* Ids that are places from `first` on, or all in a state that have what is to be found. */
static int operate_which(struct cli *c, int first, json_t *body)
{
    struct err e = ERR_INIT;
    const char *state = cli_flag(c, "state"), *find = cli_flag(c, "find");
    if ((state != NULL) == (c->places_count > first))
        return cli_usage(c, "say which: ids, or --state STATE%s",
                         strcmp(operate_verb(c), "purge") == 0
                             ? "; --state all is all that waits or "
                               "has ended"
                             : "");
    if (find != NULL && state == NULL)
        return cli_usage(c, "--find goes with --state; ids say it all");
    if (find != NULL) {
        json_t *what = cli_json(find, OPERATE_FIND_MAX, &e);
        if (what == NULL)
            return cli_fail(c, &e);
        json_object_set_new(body, "find", what);
    }
    if (state != NULL) {
        json_object_set_new(body, "state", json_string(state));
        return CLI_OK;
    }
    json_t *ids = json_array();
    for (int i = first; i < c->places_count; i++)
        json_array_append_new(ids, json_string(c->places[i]));
    json_object_set_new(body, "ids", ids);
    return CLI_OK;
}

static int queue_operate(struct cli *c, int first, json_t *body)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(OPERATE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *held = body;
    int rc = operate_which(c, first, body);
    if (rc != CLI_OK)
        return rc;
    if (cli_flag(c, "dry-run") != NULL)
        json_object_set_new(body, "dry_run", json_true());
    if (cli_flag(c, "reason") != NULL)
        json_object_set_new(body, "reason", json_string(cli_flag(c, "reason")));
    buf_adds(&path, "/api/queues/%2F/");
    url_encode(c->places[0], strlen(c->places[0]), &path);
    buf_addf(&path, "/%s", operate_verb(c));
    rc = remote_once(c, "POST", buf_str(&path), body, NULL, &answer);
    return rc != CLI_OK ? rc : operate_told(c, answer);
}

static int cmd_queue_retry(struct cli *c)
{
    return queue_operate(c, 1, json_object());
}

static int cmd_queue_move(struct cli *c)
{
    return queue_operate(c, 2, json_pack("{s:s}", "to", c->places[1]));
}

static int cmd_queue_purge(struct cli *c)
{
    const char *confirm = cli_flag(c, "confirm");
    if (cli_flag(c, "dry-run") == NULL && (confirm == NULL || strcmp(confirm, c->places[0]) != 0))
        return cli_usage(
            c,
            "what is purged is gone: say which (ids, --state STATE, or --state all) and "
            "--confirm %s, or --dry-run",
            c->places[0]);
    return queue_operate(c, 1,
                         confirm != NULL ? json_pack("{s:s}", "confirm", confirm) : json_object());
}

#define OPERATE_FLAGS(state_)                                                                      \
    {"state", "STATE", state_},                                                                    \
        {"find", "JSON", "of these only messages with such values: {\"body.to\": \"ann\"}"},       \
        {"reason", "TEXT", "why; kept in the history of each"},                                    \
        {"dry-run", NULL, "only show which, or how many"},                                         \
    {                                                                                              \
        "background", NULL, "do not wait for the run that does it to more than a thousand"         \
    }
static const struct cli_flag which_flags[] = {OPERATE_FLAGS("all in this state")};
static const struct cli_flag purge_flags[] = {
    OPERATE_FLAGS("all in this state; all: but what executes"),
    {"confirm", "QUEUE", "its name once more"}};

#define QUEUE(name_, args_, summary_, min_, run_, flags_)                                          \
    {                                                                                              \
        .name = "queue " name_, .args = args_, .summary = summary_, .min = min_, .max = -1,        \
        .remote = true, .run = run_, .flags = flags_, .flags_count = ARRAY_LEN(flags_)             \
    }
const struct cli_command cli_queue_operate_commands[] = {
    QUEUE("retry", "QUEUE [ID]..", "available again, with all attempts", 1, cmd_queue_retry,
          which_flags),
    QUEUE("cancel", "QUEUE [ID]..", "cancel messages", 1, cmd_queue_retry, which_flags),
    QUEUE("move", "QUEUE TO [ID]..", "to another queue", 2, cmd_queue_move, which_flags),
    QUEUE("purge", "QUEUE [ID]..", "forget messages", 1, cmd_queue_purge, purge_flags),
    {.name = NULL},
};
