/* koan canon: what became of arrivals, and why a golden record says what it says. */
#include <string.h>

#include "app/cli.h"
#include "app/operate.h"
#include "app/remote.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/url.h"

enum { CMD_CANON_PATH_MAX = 8 << 10 };

static void cmd_canon_text(struct cli_table *t, const json_t *o, const char *name)
{
    cli_table_json(t, json_object_get(o, name));
}

static void cmd_canon_number(struct cli_table *t, const json_t *o, const char *name)
{
    cli_table_cell(t, "%lld", (long long)json_integer_value(json_object_get(o, name)));
}

/* "a 17, b 3" */
static void cmd_canon_counts(struct cli_table *t, const json_t *counts)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(CMD_CANON_PATH_MAX);
    const char *name;
    json_t *n;
    json_object_foreach((json_t *)counts, name, n)
    {
        buf_addf(&b, "%s%s %lld", b.len > 0 ? ", " : "", name, (long long)json_integer_value(n));
    }
    cli_table_cell(t, "%s", b.len > 0 ? buf_str(&b) : "-");
}

/* ---- how answers are shown ---- */

static void cmd_canon_show_summary(struct cli *c, const json_t *o)
{
    static const char *const columns[] = {"arrivals", "canonized", "noop", "parked", "failed"};
    struct cli_table t;
    const char *name;
    json_t *v;
    cli_table_init(&t, 2 + ARRAY_LEN(columns));
    cli_table_cell(&t, "SOURCE");
    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        cli_table_cell(&t, "%s", columns[i]);
    cli_table_cell(&t, "reasons");
    json_object_foreach(json_object_get(o, "sources"), name, v)
    {
        cli_table_cell(&t, "%s", name);
        for (size_t i = 0; i < ARRAY_LEN(columns); i++)
            cmd_canon_number(&t, v, columns[i]);
        cmd_canon_counts(&t, json_object_get(v, "reasons"));
    }
    cli_table_print(c, &t, 0x3e);
    printf("\n%lld golden records, %lld merged into others, %lld withdrawn\n",
           (long long)json_integer_value(json_object_get(o, "golden")),
           (long long)json_integer_value(json_object_get(o, "merged")),
           (long long)json_integer_value(json_object_get(o, "withdrawn")));
    cli_table_init(&t, 2);
    cli_table_cell(&t, "SOURCES EACH");
    cli_table_cell(&t, "golden records");
    json_object_foreach(json_object_get(o, "sources_per_golden"), name, v)
    {
        cli_table_cell(&t, "%s", name);
        cli_table_cell(&t, "%lld", (long long)json_integer_value(v));
    }
    putchar('\n');
    cli_table_print(c, &t, 3);
    cli_table_init(&t, 3);
    cli_table_cell(&t, "FIELD");
    cli_table_cell(&t, "conflicts");
    cli_table_cell(&t, "who won");
    json_object_foreach(json_object_get(o, "fields"), name, v)
    {
        cli_table_cell(&t, "%s", name);
        cmd_canon_number(&t, v, "conflicts");
        cmd_canon_counts(&t, json_object_get(v, "won"));
    }
    putchar('\n');
    cli_table_print(c, &t, 2);
}

/* "KMUC (openflights), ..." */
static void cmd_canon_beat(struct cli_table *t, const json_t *beat)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(64 << 10);
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)beat, i, one)
    {
        const char *origin = json_string_value(json_object_get(one, "origin"));
        json_t *value = json_object_get(one, "value");
        buf_adds(&b, i > 0 ? ", " : "");
        if (json_is_string(value))
            buf_adds(&b, json_string_value(value));
        else if (value != NULL)
            json_print(value, &b, NULL);
        buf_addf(&b, " (%s)", origin != NULL ? origin : "?");
    }
    AUTO(json_unref) json_t *text = json_string(b.len > 0 ? buf_str(&b) : "-");
    cli_table_json(t, text);
}

static void cmd_canon_show_why(struct cli *c, const json_t *o)
{
    static const char *const heads[] = {"FIELD", "value", "from", "policy", "beat"};
    struct cli_table t;
    const char *name;
    json_t *v;
    printf("%s, %s\n", json_string_value(json_object_get(o, "id")),
           json_string_value(json_object_get(o, "lifecycle")));
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_object_foreach(json_object_get(o, "fields"), name, v)
    {
        cli_table_cell(&t, "%s", name);
        cmd_canon_text(&t, v, "value");
        cmd_canon_text(&t, v, "origin");
        cmd_canon_text(&t, v, "policy");
        cmd_canon_beat(&t, json_object_get(v, "beat"));
    }
    cli_table_print(c, &t, 0);
}

/* Rows of arrivals: lineage and parked. */
static void cmd_canon_show_arrivals(struct cli *c, const json_t *rows)
{
    static const char *const columns[] = {"id", "origin", "source_id", "at", "outcome", "reason"};
    struct cli_table t;
    size_t i;
    json_t *row;
    if (json_is_object(rows))
        rows = json_object_get(rows, "items");
    if (json_array_size(rows) == 0) {
        puts("none");
        return;
    }
    cli_table_head(&t, columns, ARRAY_LEN(columns));
    json_array_foreach((json_t *)rows, i, row)
    {
        for (size_t k = 0; k < ARRAY_LEN(columns); k++)
            cmd_canon_text(&t, row, columns[k]);
    }
    cli_table_print(c, &t, 0);
}

/* Of records that wait for a person: what the source says comes last, and may be cut. */
static void cmd_canon_show_staged(struct cli *c, const json_t *o)
{
    static const char *const heads[] = {"RECORD", "origin", "source_id", "since", "says"};
    struct cli_table t;
    size_t i;
    json_t *row;
    const json_t *rows = json_object_get(o, "items");
    if (json_array_size(rows) == 0) {
        puts("none");
        return;
    }
    cli_table_head(&t, heads, ARRAY_LEN(heads));
    json_array_foreach((json_t *)rows, i, row)
    {
        const json_t *body = json_object_get(row, "body");
        cmd_canon_text(&t, row, "id");
        cmd_canon_text(&t, body, "origin");
        cmd_canon_text(&t, body, "source_id");
        cmd_canon_text(&t, body, "arrived_at");
        cmd_canon_text(&t, body, "data");
    }
    cli_table_print(c, &t, 0);
}

static void cmd_canon_show_outcome(struct cli *c, const json_t *o)
{
    (void)c;
    printf("%s %s\n", json_string_value(json_object_get(o, "record")),
           json_string_value(json_object_get(o, "outcome")));
}

static void cmd_canon_show_json(struct cli *c, const json_t *o)
{
    cli_print_json(c, o);
}

static void cmd_canon_show_names(struct cli *c, const json_t *names)
{
    size_t i;
    json_t *name;
    (void)c;
    json_array_foreach((json_t *)names, i, name) puts(json_string_value(name));
}

/* ---- commands ---- */

/* "/api/canon/MODEL" and further segments: a literal, or NULL for the next place. */
static int cmd_canon_ask(struct cli *c, const char *method, const char *const *segments,
                         const char *query, const json_t *body,
                         void (*show)(struct cli *, const json_t *))
{
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_CANON_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    int place = 0;
    buf_adds(&path, "/api/canon");
    for (const char *const *s = segments; **s != '\0'; s++) {
        const char *text = strcmp(*s, "?") == 0 ? c->places[place++] : *s;
        buf_addc(&path, '/');
        url_encode(text, strlen(text), &path);
    }
    buf_adds(&path, query);
    int rc = remote_once(c, method, buf_str(&path), body, NULL, &answer);
    if (rc == CLI_OK && c->json)
        cli_print_json(c, answer);
    else if (rc == CLI_OK)
        show(c, answer);
    return rc;
}

static int cmd_canon_models(struct cli *c)
{
    return cmd_canon_ask(c, "GET", (const char *[]){"models", ""}, "", NULL, cmd_canon_show_names);
}

static int cmd_canon_summary(struct cli *c)
{
    return cmd_canon_ask(c, "GET", (const char *[]){"?", "summary", ""}, "", NULL,
                         cmd_canon_show_summary);
}

static int cmd_canon_why(struct cli *c)
{
    AUTO(buf_fini) struct buf query = BUF_INIT(CMD_CANON_PATH_MAX);
    const char *with = cli_flag(c, "with");
    if (with != NULL) {
        buf_adds(&query, "?with=");
        url_encode(with, strlen(with), &query);
    }
    return cmd_canon_ask(c, "GET", (const char *[]){"?", "?", "why", ""}, buf_str(&query), NULL,
                         with != NULL ? cmd_canon_show_json : cmd_canon_show_why);
}

static int cmd_canon_lineage(struct cli *c)
{
    return cmd_canon_ask(c, "GET", (const char *[]){"?", "?", "lineage", ""}, "", NULL,
                         cmd_canon_show_arrivals);
}

static int cmd_canon_parked(struct cli *c)
{
    return cmd_canon_ask(c, "GET", (const char *[]){"?", "parked", ""}, "", NULL,
                         cmd_canon_show_arrivals);
}

/* Many: POST /api/canon/MODEL/parked/VERB. */
static int cmd_canon_many(struct cli *c, const char *verb, json_t *body)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_CANON_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    AUTO(json_unref) json_t *held = body;
    int rc = operate_which(c, 1, body);
    if (rc != CLI_OK)
        return rc;
    buf_adds(&path, "/api/canon/");
    url_encode(c->places[0], strlen(c->places[0]), &path);
    buf_addf(&path, "/parked/%s", verb);
    rc = remote_once(c, "POST", buf_str(&path), body, NULL, &answer);
    return rc != CLI_OK ? rc : operate_told(c, answer);
}

static int cmd_canon_patch(struct cli *c, const char *text, json_t **out)
{
    struct err e = ERR_INIT;
    *out = json_read(text, strlen(text), &e);
    if (*out != NULL)
        return CLI_OK;
    err_context(&e, "the patch");
    return cli_fail(c, &e);
}

static int cmd_canon_resume_many(struct cli *c)
{
    json_t *patch = NULL, *body = json_object();
    const char *text = cli_flag(c, "patch");
    int rc = text != NULL ? cmd_canon_patch(c, text, &patch) : CLI_OK;
    if (patch != NULL)
        json_object_set_new(body, "patch", patch);
    if (rc == CLI_OK)
        return cmd_canon_many(c, "resume", body);
    json_decref(body);
    return rc;
}

static int cmd_canon_resume(struct cli *c)
{
    AUTO(json_unref) json_t *patch = NULL;
    if (c->places_count == 1)
        return cmd_canon_resume_many(c);
    for (size_t i = 0; i < c->command->flags_count; i++)
        if (cli_flag(c, c->command->flags[i].name) != NULL)
            return cli_usage(c, "--%s goes with --state; one arrival and its patch say it all",
                             c->command->flags[i].name);
    if (c->places_count == 3 && cmd_canon_patch(c, c->places[2], &patch) != CLI_OK)
        return CLI_ERROR;
    return cmd_canon_ask(c, "POST", (const char *[]){"?", "parked", "?", "resume", ""}, "", patch,
                         cmd_canon_show_json);
}

static int cmd_canon_staged(struct cli *c)
{
    AUTO(buf_fini) struct buf path = BUF_INIT(CMD_CANON_PATH_MAX);
    AUTO(json_unref) json_t *answer = NULL;
    buf_adds(&path, "/api/queues/%2F/canon.");
    url_encode(c->places[0], strlen(c->places[0]), &path);
    buf_adds(&path, ".staged/messages?state=available&limit=100");
    int rc = remote_once(c, "GET", buf_str(&path), NULL, NULL, &answer);
    if (rc == CLI_OK && c->json)
        cli_print_json(c, answer);
    else if (rc == CLI_OK)
        cmd_canon_show_staged(c, answer);
    return rc;
}

static int cmd_canon_approve(struct cli *c)
{
    return cmd_canon_ask(c, "POST", (const char *[]){"?", "staged", "?", "approve", ""}, "", NULL,
                         cmd_canon_show_outcome);
}

static int cmd_canon_reject_many(struct cli *c)
{
    bool said = cli_flag(c, "reason") != NULL || cli_flag(c, "dry-run") != NULL;
    if (cli_flag(c, "parked") == NULL || !said || c->places_count > 1)
        return cli_usage(c,
                         "say MODEL RECORD REASON, or MODEL --parked --state STATE --reason TEXT");
    return cmd_canon_many(c, "reject", json_object());
}

static int cmd_canon_reject(struct cli *c)
{
    if (c->places_count < 3 || cli_flag(c, "state") != NULL)
        return cmd_canon_reject_many(c);
    AUTO(json_unref) json_t *body = json_pack("{s:s}", "reason", c->places[2]);
    const char *where = cli_flag(c, "parked") != NULL ? "parked" : "staged";
    return cmd_canon_ask(c, "POST", (const char *[]){"?", where, "?", "reject", ""}, "", body,
                         cmd_canon_show_outcome);
}

static const struct cli_flag cmd_canon_why_flags[] = {
    {"with", "ID", "and what it shares with this one"},
};

static const struct cli_flag cmd_canon_reject_flags[] = {
    OPERATE_FLAGS("all in this state: available, or scheduled"),
    {"parked", NULL, "a parked arrival, not a staged one"},
};

static const struct cli_flag cmd_canon_resume_flags[] = {
    OPERATE_FLAGS("all in this state: available, or scheduled"),
    {"patch", "JSON", "a merge-patch for the document of each"},
};

#define CANON(name_, args_, summary_, min_, max_, run_, flags_, count_)                            \
    {                                                                                              \
        .name = "canon " name_, .args = args_, .summary = summary_, .min = min_, .max = max_,      \
        .remote = true, .run = run_, .flags = flags_, .flags_count = count_                        \
    }
const struct cli_command cli_canon_commands[] = {
    CANON("models", "", "models that are declared", 0, 0, cmd_canon_models, NULL, 0),
    CANON("summary", "MODEL", "arrivals by source, merges, conflicts and who won", 1, 1,
          cmd_canon_summary, NULL, 0),
    CANON("why", "MODEL ID", "who said each field, and why it won", 2, 2, cmd_canon_why,
          cmd_canon_why_flags, ARRAY_LEN(cmd_canon_why_flags)),
    CANON("lineage", "MODEL ID", "the arrivals behind a golden record", 2, 2, cmd_canon_lineage,
          NULL, 0),
    CANON("parked", "MODEL", "arrivals that wait for somebody", 1, 1, cmd_canon_parked, NULL, 0),
    CANON("staged", "MODEL", "arrivals that a person lets in first", 1, 1, cmd_canon_staged, NULL,
          0),
    CANON("approve", "MODEL RECORD", "let a staged arrival in", 2, 2, cmd_canon_approve, NULL, 0),
    CANON("reject", "MODEL [RECORD REASON]", "end a staged arrival, or parked ones", 1, 3,
          cmd_canon_reject, cmd_canon_reject_flags, ARRAY_LEN(cmd_canon_reject_flags)),
    CANON("resume", "MODEL [ARRIVAL [PATCH]]", "go on with a parked arrival, or many", 1, 3,
          cmd_canon_resume, cmd_canon_resume_flags, ARRAY_LEN(cmd_canon_resume_flags)),
    {0},
};
