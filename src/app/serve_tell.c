/* What a node says about its scripts: why they do not load, with the line, and what has changed in
 * them. On a terminal as people read it, in a log as members of its lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/node_priv.h"
#include "app/script_diff.h"
#include "app/source_view.h"
#include "base/log.h"
#include "base/mem.h"

enum { TELL_TEXT_MAX = 256 << 10 };

static bool tell_color(void)
{
    const char *no = getenv("NO_COLOR");
    return isatty(STDERR_FILENO) == 1 && (no == NULL || *no == '\0');
}

void node_tell_script_problem(const struct scripts *of, enum log_level level, const char *text)
{
    struct source_place p;
    AUTO(buf_fini) struct buf view = BUF_INIT(TELL_TEXT_MAX);
    if (!source_place(text, &p)) {
        log_line(level, "scripts", "%s", text);
        return;
    }
    source_view(of->files, of->count, &p, log_is_readable() && tell_color(), &view);
    if (log_is_readable()) {
        log_line(level, "scripts", "%s", text);
        fputs(buf_str(&view), stderr);
        return;
    }
    AUTO(json_unref)
    json_t *fields = json_pack("{s:s, s:i, s:i, s:s}", "file", p.file, "line", p.line, "column",
                               p.column, "source", buf_str(&view));
    log_fields(level, "scripts", fields, text);
}

void node_tell_script_error(const struct node *n, const struct err *e)
{
    if (n->dev)
        node_tell_script_problem(&n->scripts, LOG_ERROR, e->text);
    else
        log_error("scripts", "%s", e->text);
}

void node_tell_script_changes(struct node *n)
{
    if (!n->dev)
        return;
    AUTO(buf_fini) struct buf text = BUF_INIT(TELL_TEXT_MAX);
    bool readable = log_is_readable();
    AUTO(json_unref)
    json_t *list =
        script_diff(&n->live, &n->scripts, readable && tell_color(), readable ? &text : NULL);
    bool first = n->live.files == NULL;
    scripts_fini(&n->live);
    n->live = n->scripts;
    n->scripts = (struct scripts){0};
    if (first || json_array_size(list) == 0)
        return;
    AUTO(json_unref) json_t *fields = readable ? NULL : json_pack("{s:O}", "files", list);
    log_fields(LOG_INFO, "scripts", fields, "changed");
    fputs(buf_str(&text), stderr);
}
