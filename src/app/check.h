/* Check - a set of scripts looked at without serving it: read, linted, loaded, tested.
 *
 * Loading and every test happen in a node of their own, without sockets, on a data directory that
 * is made for it and goes with it, under a clock that begins at CHECK_BEGINS and moves only when a
 * test says so. So tests neither see each other nor anything of this machine.
 *
 * Blocks; main thread; one at a time in a process (the clock is one). */
#ifndef KOAN_APP_CHECK_H
#define KOAN_APP_CHECK_H

#include "app/scripts.h"
#include "base/json.h"

struct cli;
struct err;
struct str;
struct vm_lint_note;
struct vm_source;

enum { CHECK_TEST_MS = 10 * 1000, CHECK_TIMEOUT_MAX_MS = 3600 * 1000, CHECK_OUTPUT_MAX = 64 << 10 };
#define CHECK_BEGINS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

struct check {
    struct cli *cli; /* its settings are in force, but for data, scripts and threads */
    struct scripts scripts;

    json_t *problems; /* [{file, line, column, severity: "error" | "warning", text}], by place */
    json_t *tests;    /* [{file, name, ok, ms, error?, output?}] */
    uint32_t
        timeout_ms; /* processor time of a test: CHECK_TEST_MS unless the caller says otherwise */
    size_t errors, warnings, passed, failed;
    json_t *recent; /* of --recent: [{entity, id, error?, changed?}]; NULL without */
};

/* Reads the scripts; then the two steps. `tested` is called after each test; may be NULL. ERR_*
 * only where the check itself could not be made. */
int check_open(struct check *k, struct cli *c, const char *path, struct err *e);
int check_lint(struct check *k, struct err *e);
/* The first step without a node of its own: what stands in the texts and is not meant, of a set
 * that has been loaded. `library`: names of the globals of CHECK_GLOBALS; `status`, `webhooks`: of
 * bind.
 */
void check_judge(struct check *k, const json_t *library, const json_t *status,
                 const json_t *webhooks);
#define CHECK_GLOBALS "local t = {} for k in pairs(_G) do t[#t + 1] = k end return t"
int check_tests(struct check *k, void (*tested)(struct check *k, const json_t *test),
                struct err *e);
/* Of what was loaded: topics that are published and that nobody listens to. `patterns`: those that
 * the set listens to, or declares. */
void check_topics(struct check *k, const json_t *patterns);
/* Entities, queues and jobs that are named and not declared, by what bind_status() says of the set.
 */
void check_names(struct check *k, const json_t *status);
/* `publish("order.placed", ..)`, `entity "Order"`: the text behind the name that stands at this
 * place, if it is one by itself. */
bool check_literal(const struct vm_source *s, const struct vm_lint_note *n, struct str *out);
void check_problem(struct check *k, const char *file, int line, int column, bool fatal,
                   const char *text);
/* The entities with a before_save, as names; a new reference. After check_lint(). */
int check_hooked(struct check *k, json_t **out, struct err *e);
/* before_save of the entity on each of [{record, text, prior?}]: `text` is the record as JSON.
 * [{id, error?, changed?}]. The ledger is empty, so what the hook reads of other records is not
 * there. */
int check_dry(struct check *k, const char *entity, const json_t *items, json_t **out,
              struct err *e);
/* For commands: the script folder of the project that place 0 names, or that place itself (free
 * it); all of a check, printed. Exit codes. `quiet`: only what is wrong. */
int check_folder(struct cli *c, char **out);
/* --recent N: asks the server for the records, prints what a hook would do to them now. An exit
 * code. */
int check_recent(struct check *k);
int check_print(struct cli *c, const char *path, bool tests, bool quiet);
void check_fini(struct check *k); /* also for AUTO */

#endif
