/* koan deploy: a folder of scripts into the ledger of a running server, or an older set again. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "http/client.h"

#define CMD_DEPLOY_PATH "/api/cluster/scripts"

enum {
    CMD_DEPLOY_ASK_MS = 500,    /* between two questions, from a tenth of it on */
    CMD_DEPLOY_LOST_MS = 10000, /* without an answer: it is given up */
};

static volatile sig_atomic_t cmd_deploy_left;

static void cmd_deploy_signal(int number)
{
    cmd_deploy_left = number;
}

static json_t *cmd_deploy_body(const struct scripts *s, const char *name)
{
    json_t *files = json_object(), *body = json_object();
    for (size_t i = 0; i < s->count; i++)
        if (!str_ends(s->files[i].name, "_test.lua"))
            json_object_set_new(files, s->files[i].name,
                                json_stringn(s->files[i].text, s->files[i].len));
    json_object_set_new(body, "files", files);
    if (name != NULL)
        json_object_set_new(body, "name", json_string(name));
    return body;
}

static int cmd_deploy_show(struct cli *c, const json_t *answer)
{
    size_t entities = json_array_size(json_object_get(answer, "entities")),
           canons = json_array_size(json_object_get(answer, "canons"));
    if (c->json)
        cli_print_json(c, (json_t *)answer);
    else
        printf("live: %s (%s), %zu %s, %zu canon model%s\n",
               json_string_value(json_object_get(answer, "name")),
               json_string_value(json_object_get(answer, "hash")), entities,
               entities == 1 ? "entity" : "entities", canons, canons == 1 ? "" : "s");
    return CLI_OK;
}

/* ---- following ---- */

static void cmd_deploy_progress(const struct cli *c, const json_t *answer, bool over)
{
    const char *entity = json_string_value(json_object_get(answer, "entity"));
    if (c->json || isatty(STDERR_FILENO) != 1)
        return;
    if (over)
        fputs("\r\033[K", stderr);
    else if (entity != NULL)
        fprintf(stderr, "\r\033[Kmigrating %s: %lld %% of the records", entity,
                (long long)json_integer_value(json_object_get(answer, "percent")));
    fflush(stderr);
}

static int cmd_deploy_leave(const char *id)
{
    fprintf(stderr,
            "koan: the deploy goes on at the server; `koan deploy --follow %s` shows how far it "
            "is\n",
            id);
    return CLI_TIMEOUT;
}

static bool cmd_deploy_is_lost(const struct err *e, unsigned lost_ms)
{
    bool silent = e->code == ERR_UNAVAILABLE || e->code == ERR_TIMEOUT || e->code == ERR_CANCELED;
    return !silent || lost_ms > CMD_DEPLOY_LOST_MS;
}

/* Until it is over: there or refused. It does not end with this command. */
static int cmd_deploy_follow(struct cli *c, const char *id)
{
    struct err e = ERR_INIT;
    AUTO(remote_closep) struct http_client *h = NULL;
    AUTO(mem_freep) char *path = mem_printf("/api/cluster/deploys/%s", id);
    struct http_client_request q = {.method = "GET", .path = path};
    unsigned wait = CMD_DEPLOY_ASK_MS / 10, lost = 0;
    struct sigaction leave = {.sa_handler = cmd_deploy_signal}, before;
    if (remote_open(c, &h, &e) != 0)
        return cli_fail(c, &e);
    sigaction(SIGINT, &leave, &before);
    while (cmd_deploy_left == 0) {
        AUTO(json_unref) json_t *answer = NULL;
        int rc = remote_call(h, &q, &answer, &e);
        bool on = rc == 0 && json_object_get(answer, "deploy") != NULL;
        cmd_deploy_progress(c, answer, !on);
        if (rc == 0 && !on)
            return cmd_deploy_show(c, answer);
        if (rc != 0 && cmd_deploy_is_lost(&e, lost))
            return cli_fail(c, &e);
        lost = rc == 0 ? 0 : lost + wait;
        usleep(wait * 1000);
        wait = wait * 2 < CMD_DEPLOY_ASK_MS ? wait * 2 : CMD_DEPLOY_ASK_MS;
    }
    sigaction(SIGINT, &before, NULL);
    cmd_deploy_progress(c, NULL, true);
    return cmd_deploy_leave(id);
}

/* The server answers at once, and is asked how far it is. */
static int cmd_deploy_send(struct cli *c, const char *path, json_t *body)
{
    AUTO(json_unref) json_t *answer = NULL;
    json_object_set_new(body, "wait", json_false());
    int rc = remote_once(c, "POST", path, body, NULL, &answer);
    if (rc != CLI_OK)
        return rc;
    const char *id = json_string_value(json_object_get(answer, "deploy"));
    return id != NULL ? cmd_deploy_follow(c, id) : cmd_deploy_show(c, answer);
}

static int cmd_deploy_list(struct cli *c)
{
    static const char *const columns[] = {"seq", "name", "hash", "kind", "by", "at"};
    AUTO(json_unref) json_t *answer = NULL;
    int rc = remote_show(c, CMD_DEPLOY_PATH, &answer);
    if (answer == NULL)
        return rc;
    size_t i;
    json_t *row;
    struct cli_table t;
    cli_table_head(&t, columns, ARRAY_LEN(columns));
    json_array_foreach(json_object_get(answer, "history"), i, row)
        cli_table_members(&t, row, columns, ARRAY_LEN(columns));
    cli_table_print(c, &t, 1);
    json_array_foreach(json_object_get(answer, "drift"), i, row) printf(
        "drift: %s is %s in the server's folder\n", json_string_value(json_object_get(row, "file")),
        json_string_value(json_object_get(row, "change")));
    return CLI_OK;
}

static int cmd_deploy_rollback(struct cli *c, const char *to)
{
    AUTO(json_unref)
    json_t *body = json_pack("{s:s}", "to", strcmp(to, "previous") == 0 ? "" : to);
    return cmd_deploy_send(c, CMD_DEPLOY_PATH "/rollback", body);
}

static int cmd_deploy(struct cli *c)
{
    AUTO(mem_freep) char *path = NULL;
    AUTO(scripts_fini) struct scripts set = {0};
    struct err e = ERR_INIT;
    if (cli_flag(c, "list") != NULL)
        return cmd_deploy_list(c);
    if (cli_flag(c, "follow") != NULL)
        return cmd_deploy_follow(c, cli_flag(c, "follow"));
    if (cli_flag(c, "rollback") != NULL)
        return cmd_deploy_rollback(c, cli_flag(c, "rollback"));
    int rc = check_folder(c, &path);
    if (rc == CLI_OK && cli_flag(c, "no-check") == NULL)
        rc = check_print(c, path, true, true);
    if (rc != CLI_OK)
        return rc;
    if (scripts_read(path, &set, &e) != 0)
        return cli_fail(c, &e);
    AUTO(json_unref) json_t *body = cmd_deploy_body(&set, cli_flag(c, "name"));
    return cmd_deploy_send(c, CMD_DEPLOY_PATH, body);
}

static const struct cli_flag cmd_deploy_flags[] = {
    {"name", "NAME", "what to call the set (else the time)"},
    {"rollback", "NAME", "bring back a set by its name, the beginning of its hash, or `previous`"},
    {"follow", "ID", "ask after a deploy that goes on at the server; `last`: the last one there"},
    {"list", NULL, "what was deployed, and whether the server's folder differs"},
    {"no-check", NULL, "without `koan check` before"},
};

const struct cli_command cli_deploy_commands[] = {
    {.name = "deploy",
     .args = "[DIR]",
     .summary = "check scripts and bring them into force on a running server",
     .max = 1,
     .remote = true,
     .flags = cmd_deploy_flags,
     .flags_count = ARRAY_LEN(cmd_deploy_flags),
     .run = cmd_deploy},
    {0},
};
