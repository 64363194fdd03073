/* What is not meant in the scripts that are live now. `koan dev` tells what `koan check` would,
 * with the line; elsewhere there is no folder to mend, and only what keeps webhooks from working is
 * told.
 *
 *     deployed --> names of the library's globals (a text that scripts run) --> judged, told
 *
 * A deploy that comes in between has a look of its own. */
#include <string.h>

#include "app/check.h"
#include "app/node_priv.h"
#include "base/log.h"
#include "base/mem.h"

enum { LOOK_MS = 1000 };

static void look_tell(struct node *n, const struct check *k)
{
    size_t i;
    json_t *p;
    json_array_foreach(k->problems, i, p)
    {
        const char *file = json_string_value(json_object_get(p, "file"));
        const char *words = json_string_value(json_object_get(p, "text"));
        int line = (int)json_integer_value(json_object_get(p, "line"));
        int column = (int)json_integer_value(json_object_get(p, "column"));
        bool fatal = strcmp(json_string_value(json_object_get(p, "severity")), "error") == 0;
        AUTO(mem_freep)
        char *text = *file == '\0' ? mem_strdup(words)
                     : column > 0  ? mem_printf("%s:%d:%d: %s", file, line, column, words)
                                   : mem_printf("%s:%d: %s", file, line, words);
        node_tell_script_problem(&n->live, fatal ? LOG_ERROR : LOG_WARN, text);
    }
}

static void look_judge(struct node *n, const json_t *library)
{
    AUTO(json_unref) json_t *status = bind_status(n->bind);
    AUTO(json_unref) json_t *webhooks = bind_webhooks_unset(n->bind);
    struct check k = {.scripts = n->live, .problems = json_array()};
    check_judge(&k, library, status, webhooks);
    look_tell(n, &k);
    if (k.errors > 0)
        log_warn("scripts", "live, though `koan check` would refuse them: see above");
    json_decref(k.problems); /* the files stay the node's */
}

static void look_done(struct bind_text *t)
{
    struct node *n = LIST_OF(t, struct node, look);
    AUTO(json_unref) json_t *library = TAKE(t->result);
    n->looking = false;
    if (t->err.code == 0 && !n->deploying && !n->draining)
        look_judge(n, library);
}

void node_look_webhooks(struct node *n)
{
    node_health_webhooks(n);
    AUTO(json_unref) json_t *list = bind_webhooks_unset(n->bind);
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
        log_warn("scripts", "%s:%lld: %s", json_string_value(json_object_get(one, "file")),
                 (long long)json_integer_value(json_object_get(one, "line")),
                 json_string_value(json_object_get(one, "text")));
}

void node_look(struct node *n)
{
    static const char globals[] = CHECK_GLOBALS;
    if (n->work != NULL || n->looking)
        return;
    if (!n->dev) {
        node_look_webhooks(n);
        return;
    }
    node_health_webhooks(n);
    n->looking = true;
    n->look = (struct bind_text){.name = "globals.lua",
                                 .text = globals,
                                 .len = sizeof globals - 1,
                                 .limit_ms = LOOK_MS,
                                 .kind = BIND_TEXT_SCRIPT,
                                 .home = loop_runner(n->control),
                                 .done = look_done};
    bind_run_text(n->bind, &n->look);
}
