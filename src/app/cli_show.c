#include "app/cli_show.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { SHOW_TEXT_MAX = 16 << 20 };

/* ---- members ---- */

static bool show_is_left_out(const char *name, const json_t *v, const char *const *without,
                             size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(without[i], name) == 0)
            return true;
    return json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* What somebody sent is one value, however deep it is. */
static bool show_is_whole(const char *name)
{
    static const char *const whole[] = {"body", "args", "result", "headers", "find"};
    for (size_t i = 0; i < ARRAY_LEN(whole); i++)
        if (strcmp(whole[i], name) == 0)
            return true;
    return false;
}

static void show_line(const char *name, const json_t *v, size_t *width, bool measure)
{
    size_t n = str_utf8_len(name, strlen(name));
    if (measure) {
        *width = n > *width ? n : *width;
        return;
    }
    printf("%s%*s  ", name, (int)(*width - n), "");
    if (json_is_string(v)) {
        puts(json_string_value(v));
        return;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(SHOW_TEXT_MAX);
    json_print(v, &text, NULL);
    puts(buf_str(&text));
}

static void show_each(const json_t *o, const char *const *without, size_t n, size_t *width,
                      bool measure)
{
    const char *name, *inner;
    json_t *v, *w;
    json_object_foreach((json_t *)o, name, v)
    {
        if (show_is_left_out(name, v, without, n))
            continue;
        if (!json_is_object(v) || show_is_whole(name)) {
            show_line(name, v, width, measure);
            continue;
        }
        json_object_foreach(v, inner, w)
        {
            AUTO(mem_freep) char *both = mem_printf("%s.%s", name, inner);
            if (!show_is_left_out(both, w, without, n))
                show_line(both, w, width, measure);
        }
    }
}

void cli_show_members(const json_t *o, const char *const *without, size_t n)
{
    size_t width = 0;
    show_each(o, without, n, &width, true);
    show_each(o, without, n, &width, false);
}

/* ---- the past ---- */

static const char *show_text(const json_t *o, const char *name, const char *none)
{
    const char *text = json_string_value(json_object_get(o, name));
    return text != NULL ? text : none;
}

/* "  2027-01-31T08:00:00.120Z  attempt 1: error: no route  (node 01a2.., trace 4bf9..)" */
static void show_failed(const json_t *x)
{
    const char *words = show_text(x, "error", ""), *node = show_text(x, "node", NULL),
               *trace = show_text(x, "trace", NULL);
    const json_t *code = json_object_get(x, "code");
    printf("  %s  attempt %lld: %s", show_text(x, "at", "-"),
           (long long)json_integer_value(json_object_get(x, "attempt")),
           show_text(x, "reason", "error"));
    if (code != NULL)
        printf(" %lld", (long long)json_integer_value(code));
    if (*words != '\0')
        printf(": %s", words);
    if (node != NULL || trace != NULL)
        printf("  (%s%s%s%s%s)", node != NULL ? "node " : "", node != NULL ? node : "",
               node != NULL && trace != NULL ? ", " : "", trace != NULL ? "trace " : "",
               trace != NULL ? trace : "");
    putchar('\n');
}

static void show_moved(const json_t *y)
{
    const char *why = show_text(y, "reason", "");
    printf("  %s  %s by %s", show_text(y, "at", "-"), show_text(y, "what", "-"),
           show_text(y, "by", "the queue"));
    if (json_object_get(y, "to") != NULL)
        printf(", %s -> %s", show_text(y, "from", "-"), show_text(y, "to", "-"));
    printf("%s%s\n", *why != '\0' ? "  " : "", why);
}

void cli_show_history(const json_t *m)
{
    const json_t *errors = json_object_get(m, "errors"), *moves = json_object_get(m, "moves");
    size_t e = 0, k = 0;
    moves = moves != NULL ? moves : json_object_get(m, "history");
    size_t all = json_array_size(errors) + json_array_size(moves);
    while (e + k < all) {
        const json_t *x = json_array_get(errors, e), *y = json_array_get(moves, k);
        bool failed =
            y == NULL || (x != NULL && strcmp(show_text(x, "at", ""), show_text(y, "at", "")) <= 0);
        if (failed)
            show_failed(x);
        else
            show_moved(y);
        e += failed;
        k += !failed;
    }
}

/* ---- a message, a run ---- */

static void show_steps(const json_t *steps)
{
    size_t i;
    json_t *s;
    if (json_array_size(steps) > 0)
        puts("\nsteps:");
    json_array_foreach(steps, i, s)
    {
        AUTO(buf_fini) struct buf text = BUF_INIT(SHOW_TEXT_MAX);
        const json_t *result = json_object_get(s, "result");
        const char *undo = show_text(s, "undo", NULL);
        if (result != NULL)
            json_print(result, &text, NULL);
        printf("  %s  %s%s%s%s%s%s%s\n", show_text(s, "at", "-"),
               json_object_get(s, "kind") != NULL ? show_text(s, "kind", "") : "",
               json_object_get(s, "kind") != NULL ? " " : "", show_text(s, "name", "-"),
               undo != NULL ? "  undo " : "", undo != NULL ? undo : "", result != NULL ? "  " : "",
               result != NULL ? buf_str(&text) : "");
    }
}

void cli_show_record(const json_t *m)
{
    static const char *const without[] = {"errors", "errors_ever", "history", "history_ever",
                                          "moves",  "moves_ever",  "steps",   "log"};
    const json_t *log = json_object_get(m, "log");
    cli_show_members(m, without, ARRAY_LEN(without));
    show_steps(json_object_get(m, "steps"));
    if (json_array_size(json_object_get(m, "errors")) +
            json_array_size(json_object_get(m, "moves")) +
            json_array_size(json_object_get(m, "history")) >
        0)
        puts("\nhistory:");
    cli_show_history(m);
    if (json_string_length(log) > 0)
        printf("\nlog:\n%s", json_string_value(log));
}
