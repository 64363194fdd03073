/* Repl - Lua that somebody types, a line at a time, wherever it is run.
 *
 * A line is a script of its own beside the set; an expression shows its value. Where it runs is the
 * place's: a server over HTTP (cmd_repl.c), or a data directory in this process (repl_data.c). */
#ifndef KOAN_APP_REPL_H
#define KOAN_APP_REPL_H

#include "base/json.h"

struct cli;
struct err;

enum { REPL_TEXT_MAX = 256 << 10 };

struct repl_place {
    const char *name; /* "http://127.0.0.1:8090" */
    /* Runs a text to its end. 0 and a new reference: {"ok", "output", "result" or "error": {"code",
     * "detail"}}; `args` may be NULL. An error is one of the place, and ends the session. */
    int (*ask)(struct repl_place *p, const char *text, const json_t *args, json_t **out,
               struct err *e);
};

/* Until the input ends; an exit code. */
int repl_run(struct cli *c, struct repl_place *place);

/* On the data directory that the settings name, with the scripts there: repl_data.c. */
int repl_on_data(struct cli *c);

#endif
