/* koan import: a file into an entity or a canon model, over HTTP, with several requests under way.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/import.h"
#include "app/remote.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/time.h"
#include "http/client.h"

enum {
    CMD_IMPORT_TRIES = 8,
    CMD_IMPORT_BACKOFF_MS = 100,
    CMD_IMPORT_PROGRESS_MS = 100,
    CMD_IMPORT_BAR = 24,
    CMD_IMPORT_PATH_MAX = 1024,
};

/* Workers take batches and answer them under `lock`; only HTTP happens outside. */
struct cmd_import {
    struct cli *cli;
    struct import im;
    pthread_mutex_t lock;
    struct err err; /* the first failure ends it for all */
    bool over;      /* nothing more to send */
    int busy;
    uint64_t began_ms;
    char path[CMD_IMPORT_PATH_MAX];
    char *headers;
};

static atomic_bool cmd_import_stop; /* set by the signal handler, read by every worker */

static void cmd_import_signal(int signum)
{
    (void)signum;
    atomic_store(&cmd_import_stop, true);
}

static uint64_t cmd_import_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- workers ---- */

/* What may be sent again: it was surely not done, or doing it twice is the same. */
static bool cmd_import_again(const void *arg, int code)
{
    const struct cmd_import *ci = arg;
    if (code == ERR_OVERLOADED || code == ERR_RATE_LIMITED || code == ERR_NO_LEADER ||
        code == ERR_DRAINING || code == ERR_UNAVAILABLE)
        return true;
    return ci->im.o.canon != NULL && (code == ERR_TIMEOUT || code == ERR_CANCELED);
}

static void cmd_import_wait(int tries)
{
    struct timespec wait = {0, (long)CMD_IMPORT_BACKOFF_MS * tries * 1000000};
    nanosleep(&wait, NULL);
}

static int cmd_import_post(struct cmd_import *ci, struct http_client *h, const struct buf *body,
                           json_t **out, struct err *e)
{
    struct http_client_request q = {.method = "POST",
                                    .path = ci->path,
                                    .type = ci->im.o.canon != NULL ? "application/x-ndjson"
                                                                   : "application/json",
                                    .headers = ci->headers,
                                    .body = body->data,
                                    .body_n = body->len};
    for (int i = 1;; i++) {
        err_clear(e);
        int rc = remote_call(h, &q, out, e);
        if (rc == 0 || i == CMD_IMPORT_TRIES || !cmd_import_again(ci, rc) || cmd_import_stop)
            return rc;
        cmd_import_wait(i);
    }
}

/* The batch, then again and again what of it was refused only for now. */
static int cmd_import_send(struct cmd_import *ci, struct http_client *h,
                           const struct import_batch *b, json_t **out, struct err *e)
{
    int rc = cmd_import_post(ci, h, &b->body, out, e);
    for (int i = 1; rc == 0 && i < CMD_IMPORT_TRIES && !cmd_import_stop; i++) {
        AUTO(import_resend_fini) struct import_resend r;
        AUTO(json_unref) json_t *second = NULL;
        if (import_resend(&ci->im, b, *out, cmd_import_again, ci, &r) == 0)
            break;
        cmd_import_wait(i);
        rc = cmd_import_post(ci, h, &r.body, &second, e);
        if (rc == 0)
            rc = import_resend_merge(*out, &r, second, e);
    }
    return rc;
}

static bool cmd_import_next(struct cmd_import *ci, struct import_batch **b)
{
    pthread_mutex_lock(&ci->lock);
    *b = NULL;
    if (ci->err.code == 0 && !ci->over && !cmd_import_stop)
        import_next(&ci->im, b, &ci->err);
    if (*b == NULL)
        ci->over = true;
    pthread_mutex_unlock(&ci->lock);
    return *b != NULL;
}

static void *cmd_import_work(void *arg)
{
    struct cmd_import *ci = arg;
    struct err e = ERR_INIT;
    AUTO(remote_closep) struct http_client *h = NULL;
    struct import_batch *b = NULL;
    int rc = remote_open(ci->cli, &h, &e);
    while (rc == 0 && cmd_import_next(ci, &b)) {
        json_t *answer = NULL;
        rc = cmd_import_send(ci, h, b, &answer, &e);
        pthread_mutex_lock(&ci->lock);
        if (rc == 0)
            rc = import_answered(&ci->im, b, answer, &e);
        json_decref(answer);
        pthread_mutex_unlock(&ci->lock);
    }
    pthread_mutex_lock(&ci->lock);
    if (rc != 0 && ci->err.code == 0)
        ci->err = e;
    ci->over = ci->over || rc != 0;
    ci->busy--;
    pthread_mutex_unlock(&ci->lock);
    return NULL;
}

/* ---- progress and summary ---- */

static void cmd_import_grouped(uint64_t n, char *out, size_t cap)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < cap; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

static const char *cmd_import_name(const struct cmd_import *ci)
{
    const char *slash = strrchr(ci->im.o.path, '/');
    return slash != NULL ? slash + 1 : ci->im.o.path;
}

static void cmd_import_progress(const struct cmd_import *ci, uint64_t answered_before)
{
    const struct import *im = &ci->im;
    uint64_t ms = cmd_import_now() - ci->began_ms + 1;
    uint64_t rate = (im->answered - answered_before) * 1000 / ms;
    char count[32], per_second[32];
    cmd_import_grouped(im->answered, count, sizeof count);
    cmd_import_grouped(rate, per_second, sizeof per_second);
    fprintf(stderr, "\r\033[K%s ", cmd_import_name(ci));
    if (im->size > 0) {
        int share = (int)(im->acked * 100 / im->size), filled = share * CMD_IMPORT_BAR / 100;
        fputc('[', stderr);
        for (int i = 0; i < CMD_IMPORT_BAR; i++)
            fputc(i < filled ? '=' : i == filled ? '>' : ' ', stderr);
        fprintf(stderr, "] %3d%%  ", share);
    }
    fprintf(stderr, "%s  %s/s", count, per_second);
    if (im->size > 0 && im->acked > im->skipped_to) {
        char eta[32];
        uint64_t left = (im->size - im->acked) * ms / (im->acked - im->skipped_to);
        duration_format((int64_t)(left + 999) / 1000 * 1000, eta, sizeof eta);
        fprintf(stderr, "  ETA %s", eta);
    }
    fflush(stderr);
}

static json_t *cmd_import_json(const struct cmd_import *ci, double seconds, uint64_t now)
{
    const struct import *im = &ci->im;
    return json_pack("{s:s, s:I, s:I, s:O, s:O, s:f, s:f, s:b}", "file", im->o.path, "records",
                     (json_int_t)im->answered, "rejected", (json_int_t)im->rejected, "outcomes",
                     im->outcomes, "reasons", im->reasons, "seconds", seconds, "rate",
                     (double)now / seconds, "complete", ci->err.code == 0 && !cmd_import_stop);
}

static void cmd_import_summary(const struct cmd_import *ci, uint64_t answered_before)
{
    const struct import *im = &ci->im;
    double seconds = (double)(cmd_import_now() - ci->began_ms + 1) / 1000;
    uint64_t now = im->answered - answered_before;
    if (ci->cli->json) {
        AUTO(json_unref) json_t *all = cmd_import_json(ci, seconds, now);
        cli_print_json(ci->cli, all);
        return;
    }
    char count[32], rate[32];
    cmd_import_grouped(im->answered, count, sizeof count);
    cmd_import_grouped((uint64_t)((double)now / seconds), rate, sizeof rate);
    printf("%s: %s records in %.1f s (%s/s):", cmd_import_name(ci), count, seconds, rate);
    const char *name;
    json_t *n;
    const char *before = " ";
    json_object_foreach(im->outcomes, name, n)
    {
        cmd_import_grouped((uint64_t)json_integer_value(n), count, sizeof count);
        printf("%s%s %s", before, count, name);
        before = ", ";
    }
    putchar('\n');
    json_object_foreach(im->reasons, name, n)
    {
        cmd_import_grouped((uint64_t)json_integer_value(n), count, sizeof count);
        printf("  %8s %s\n", count, name);
    }
}

/* ---- the command ---- */

static int cmd_import_target(struct cmd_import *ci)
{
    struct import_options *o = &ci->im.o;
    if ((o->entity == NULL) == (o->canon == NULL))
        return cli_usage(ci->cli, "say where to: --entity NAME or --canon MODEL");
    if (o->canon == NULL && (o->origin != NULL || o->source_id != NULL || o->observed_at != NULL))
        return cli_usage(ci->cli, "--origin, --source-id and --observed-at belong to --canon");
    const char *name = o->canon != NULL ? o->canon : o->entity;
    struct err e = ERR_INIT;
    if (str_check_name(name, o->canon != NULL ? "canon model" : "entity", &e) != 0)
        return cli_usage(ci->cli, "%s", e.text);
    if (o->origin != NULL && str_check_name(o->origin, "origin", &e) != 0)
        return cli_usage(ci->cli, "%s", e.text);
    char kebab[256];
    str_kebab(name, kebab, sizeof kebab);
    const char *mode = cli_flag(ci->cli, "mode");
    if (mode != NULL &&
        (o->canon == NULL || (strcmp(mode, "queue") != 0 && strcmp(mode, "stage") != 0)))
        return cli_usage(ci->cli, "--mode is queue or stage, and belongs to --canon");
    if (o->canon != NULL) {
        snprintf(ci->path, sizeof ci->path, "/api/canon/%s/bulk%s%s", name,
                 mode != NULL ? "?mode=" : "", mode != NULL ? mode : "");
        ci->headers =
            mem_printf("X-Canon-Origin: %s\r\n", o->origin != NULL ? o->origin : "direct");
    } else {
        snprintf(ci->path, sizeof ci->path, "/api/%s/bulk?atomic=false", kebab);
    }
    return CLI_OK;
}

static int cmd_import_options(struct cmd_import *ci, struct import_options *o, int64_t *parallel)
{
    struct cli *c = ci->cli;
    int64_t batch = 0, at = 0;
    *o = (struct import_options){.path = c->places[0],
                                 .url = remote_url(c),
                                 .entity = cli_flag(c, "entity"),
                                 .canon = cli_flag(c, "canon"),
                                 .origin = cli_flag(c, "origin"),
                                 .source_id = cli_flag(c, "source-id"),
                                 .observed_at = cli_flag(c, "observed-at"),
                                 .observed_field = cli_flag(c, "observed-field"),
                                 .format = cli_flag(c, "format"),
                                 .rejects = cli_flag(c, "rejects"),
                                 .resume = cli_flag(c, "resume") != NULL};
    ci->im.o = *o;
    int rc = cli_flag_int(c, "batch", IMPORT_BATCH_MAX, 1, IMPORT_BATCH_MAX, &batch);
    if (rc == CLI_OK)
        rc = cli_flag_int(c, "parallel", 3, 1, IMPORT_PARALLEL_MAX, parallel);
    if (rc == CLI_OK && o->observed_at != NULL &&
        !time_parse(o->observed_at, strlen(o->observed_at), &at))
        rc = cli_usage(c, "--observed-at: '%s' is no time; write 2026-11-22T00:00:00Z",
                       o->observed_at);
    o->batch = (int)batch;
    return rc == CLI_OK ? cmd_import_target(ci) : rc;
}

static void cmd_import_run(struct cmd_import *ci, int parallel, bool progress)
{
    uint64_t before = ci->im.answered;
    pthread_t threads[IMPORT_PARALLEL_MAX];
    struct sigaction on_stop = {.sa_handler = cmd_import_signal};
    sigaction(SIGINT, &on_stop, NULL);
    sigaction(SIGTERM, &on_stop, NULL);
    ci->began_ms = cmd_import_now();
    ci->busy = parallel;
    for (int i = 0; i < parallel; i++)
        if (pthread_create(&threads[i], NULL, cmd_import_work, ci) != 0)
            PANIC("no thread for a connection");
    for (bool busy = progress; busy;) {
        struct timespec wait = {0, CMD_IMPORT_PROGRESS_MS * 1000000L};
        nanosleep(&wait, NULL);
        pthread_mutex_lock(&ci->lock);
        busy = ci->busy > 0;
        cmd_import_progress(ci, before);
        pthread_mutex_unlock(&ci->lock);
    }
    for (int i = 0; i < parallel; i++)
        pthread_join(threads[i], NULL);
    if (progress)
        fputs("\r\033[K", stderr);
    cmd_import_summary(ci, before);
}

static int cmd_import(struct cli *c)
{
    struct cmd_import ci = {.cli = c, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct import_options o;
    int64_t parallel = 0;
    int rc = cmd_import_options(&ci, &o, &parallel);
    if (rc != CLI_OK)
        return rc;
    if (import_open(&o, &ci.im, &ci.err) == 0) {
        cmd_import_run(&ci, (int)parallel, isatty(STDERR_FILENO) == 1 && !c->json);
        struct err ignored = ERR_INIT;
        if (ci.err.code == 0 && !cmd_import_stop)
            import_finish(&ci.im);
        else
            import_save(&ci.im, true, &ignored);
    }
    if (ci.err.code != 0) {
        if (ci.im.saved > 0)
            err_context(&ci.err, "stopped at byte %llu (go on with --resume)",
                        (unsigned long long)ci.im.saved);
        rc = cli_fail(c, &ci.err);
    } else if (cmd_import_stop) {
        fprintf(stderr, "koan: stopped; go on with --resume\n");
        rc = CLI_ERROR;
    } else if (ci.im.rejected > 0 && !c->json) {
        fprintf(stderr, "koan: %llu records were refused, the first at %s; %s%s\n",
                (unsigned long long)ci.im.rejected, ci.im.first.text,
                o.rejects != NULL ? "see " : "--rejects FILE keeps all with their reasons",
                o.rejects != NULL ? o.rejects : "");
    }
    import_close(&ci.im);
    mem_free(ci.headers);
    return rc;
}

static const struct cli_flag cmd_import_flags[] = {
    {"entity", "NAME", "records of this entity"},
    {"canon", "MODEL", "arrivals for this canon model"},
    {"origin", "NAME", "canon: which source says it (direct)"},
    {"source-id", "FIELD", "canon: the field with the source's own id"},
    {"observed-at", "TIME", "canon: when the source saw it, the same for all"},
    {"observed-field", "FIELD", "canon: the field with that time"},
    {"mode", "queue|stage", "canon: worked later, or when a person has let them in"},
    {"format", "FORMAT", "ndjson, json or csv (by name and content)"},
    {"rejects", "FILE", "refused records, with line and reason, as NDJSON"},
    {"resume", NULL, "go on where an import of this file stopped"},
    {"batch", "N", "records in a request (1000)"},
    {"parallel", "N", "requests under way (3)"},
};

const struct cli_command cli_import_commands[] = {
    {.name = "import",
     .args = "FILE",
     .summary = "stream NDJSON, CSV or a JSON array into an entity or a canon model",
     .min = 1,
     .max = 1,
     .remote = true,
     .flags = cmd_import_flags,
     .flags_count = ARRAY_LEN(cmd_import_flags),
     .run = cmd_import},
    {0},
};
