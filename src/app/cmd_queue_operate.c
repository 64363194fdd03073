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

enum { OPERATE_PATH_MAX = 4096 };

static const char *operate_verb(const struct cli *c)
{
    return c->command->name + sizeof "queue " - 1;
}

/* ---- the request ---- */

static int queue_operate(struct cli *c, int first, json_t *body)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(OPERATE_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *held = body;
    int rc = operate_which(c, first, body);
    if (rc != CLI_OK)
        return rc;
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
