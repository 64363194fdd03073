/* koan repl --data DIR: lines run in this process, on the data of a server that is stopped.
 *
 * The node works as for `koan run`: no sockets, and its control loop is ours. It stands while we
 * wait for a line or for its end; ledger and scripts have threads of their own. */
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/node.h"
#include "app/repl.h"
#include "app/script_calls.h"
#include "app/settings.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "bind/bind.h"
#include "io/world.h"

/* A runner for whoever stands still: the task is run by the thread that waits. */
struct repl_home {
    struct runner runner;
    struct task *task;
    sem_t there;
};

struct data_place {
    struct repl_place place;
    struct cli *cli;
    struct node *node;
    struct repl_home home;
    struct bind_text text;
    struct buf output;
};

static void repl_home_post(struct runner *r, struct task *t)
{
    struct repl_home *h = LIST_OF(r, struct repl_home, runner);
    h->task = t; /* one text at a time, so one task */
    sem_post(&h->there);
}

static void repl_home_wait(struct repl_home *h)
{
    while (sem_wait(&h->there) != 0)
        continue; /* a signal */
    h->task->run(h->task);
}

/* On the script thread. */
static void data_print(struct bind_text *t, const char *line)
{
    struct data_place *d = LIST_OF(t, struct data_place, text);
    buf_addf(&d->output, "%s\n", line);
}

static void data_done(struct bind_text *t)
{
    (void)t;
}

static int data_ask(struct repl_place *p, const char *text, const json_t *args, json_t **out,
                    struct err *e)
{
    struct data_place *d = LIST_OF(p, struct data_place, place);
    (void)e;
    buf_init(&d->output, SCRIPT_OUTPUT_MAX);
    d->text = (struct bind_text){.name = "repl.lua",
                                 .text = text,
                                 .len = strlen(text),
                                 .principal = "local",
                                 .args = json_deep_copy(args), /* it goes to another thread */
                                 .limit_ms = SCRIPT_RUN_MS,
                                 .print = data_print,
                                 .home = &d->home.runner,
                                 .done = data_done};
    bind_run_text(node_bind(d->node), &d->text);
    repl_home_wait(&d->home);
    *out = script_answer(&d->text, &d->output);
    buf_fini(&d->output);
    return 0;
}

static void data_work(struct node *n, void *arg)
{
    struct data_place *d = arg;
    d->node = n;
    node_stop(n, repl_run(d->cli, &d->place));
}

int repl_on_data(struct cli *c)
{
    struct config *config = NULL;
    struct config_sources unused = {.file = NULL};
    struct node *node = NULL;
    struct err e = ERR_INIT;
    struct data_place d = {
        .cli = c, .place = {.ask = data_ask}, .home = {.runner = {repl_home_post}}};
    int rc = cli_config(c, false, &config);
    if (rc != CLI_OK)
        return rc;
    log_setup(LOG_WARN, isatty(STDERR_FILENO) != 1, STDERR_FILENO);
    AUTO(mem_freep) char *name = mem_strdup(config_text(config, SET_DATA));
    d.place.name = name;
    sem_init(&d.home.there, 0, 0);
    struct node_options options = {
        .config = config, .sources = &unused, .work = data_work, .arg = &d};
    if (node_open(&options, &node, &e) == 0) {
        rc = node_run(node);
        node_close(node);
    } else if (e.code == ERR_CONFLICT) {
        struct err why = e;
        err_set(&e, why.code, "%s; `koan repl` without --data types into the running server",
                why.text);
    }
    sem_destroy(&d.home.there);
    return e.code != 0 ? cli_fail(c, &e) : rc;
}
