#include "app/script_diff.h"

#include <string.h>

#include "app/scripts.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

struct diff_lines {
    struct str *at;
    int count;
};

struct diff {
    const char *file;
    struct diff_lines a, b;
    struct buf *text;
    bool color;
    int added, removed, shown;
};

static struct diff_lines diff_split(const struct vm_source *s)
{
    struct diff_lines l = {0};
    size_t n = s != NULL ? s->len : 0, count = 0;
    for (size_t i = 0; i < n; i++)
        count += s->text[i] == '\n';
    l.at = mem_new_array(count + 1, sizeof *l.at);
    for (const char *p = n > 0 ? s->text : "", *end = p + n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *to = nl != NULL ? nl : end;
        l.at[l.count++] = (struct str){p, (size_t)(to - p)};
        p = nl != NULL ? nl + 1 : end;
    }
    return l;
}

static bool diff_same(struct str a, struct str b)
{
    return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static void diff_emit(struct diff *d, bool added, int line)
{
    struct str s = added ? d->b.at[line] : d->a.at[line];
    if (added)
        d->added++;
    else
        d->removed++;
    if (d->text == NULL || d->shown++ >= SCRIPT_DIFF_LINES)
        return;
    buf_addf(d->text, "%s%6d %c ",
             !d->color ? ""
             : added   ? "\033[32m"
                       : "\033[31m",
             line + 1, added ? '+' : '-');
    for (size_t i = 0; i < s.n && i < SCRIPT_DIFF_WIDTH; i++)
        buf_addc(d->text, (unsigned char)s.p[i] < ' ' || s.p[i] == 127 ? ' ' : s.p[i]);
    buf_adds(d->text, d->color ? "\033[0m\n" : "\n");
}

/* The longest common subsequence of what lies between the first and the last change. */
static void diff_span(struct diff *d, int from, int a_end, int b_end)
{
    int n = a_end - from, m = b_end - from, w = m + 1;
    bool small = n <= SCRIPT_DIFF_SPAN && m <= SCRIPT_DIFF_SPAN;
    AUTO(mem_freep) uint16_t *best = NULL;
    if (small) {
        best = mem_new_array((size_t)(n + 1) * (size_t)w, sizeof *best);
        for (int i = n - 1; i >= 0; i--)
            for (int j = m - 1; j >= 0; j--) {
                uint16_t down = best[(i + 1) * w + j], right = best[i * w + j + 1];
                best[i * w + j] = diff_same(d->a.at[from + i], d->b.at[from + j])
                                      ? (uint16_t)(best[(i + 1) * w + j + 1] + 1)
                                  : down > right ? down
                                                 : right;
            }
    }
    int i = 0, j = 0;
    while (i < n || j < m) {
        if (small && i < n && j < m && diff_same(d->a.at[from + i], d->b.at[from + j])) {
            i++;
            j++;
        } else if (i < n && (j == m || !small || best[(i + 1) * w + j] >= best[i * w + j + 1])) {
            diff_emit(d, false, from + i++);
        } else {
            diff_emit(d, true, from + j++);
        }
    }
}

static void diff_run(struct diff *d)
{
    int from = 0, a = d->a.count, b = d->b.count;
    while (from < a && from < b && diff_same(d->a.at[from], d->b.at[from]))
        from++;
    while (a > from && b > from && diff_same(d->a.at[a - 1], d->b.at[b - 1])) {
        a--;
        b--;
    }
    diff_span(d, from, a, b);
}

/* Appends the file's part behind its heading, which needs the sums first. */
static void diff_file(const char *name, const struct vm_source *before, const struct vm_source *now,
                      bool color, struct buf *text, json_t *list)
{
    const char *change = before == NULL ? "added" : now == NULL ? "removed" : "changed";
    AUTO(buf_fini) struct buf lines = BUF_INIT(1 << 20);
    struct diff d = {.file = name,
                     .a = diff_split(before),
                     .b = diff_split(now),
                     .text = text != NULL ? &lines : NULL,
                     .color = color};
    diff_run(&d);
    mem_free(d.a.at);
    mem_free(d.b.at);
    json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "file", name, "change", change,
                                          "added", d.added, "removed", d.removed));
    if (text == NULL)
        return;
    buf_addf(text, "%s %s  +%d -%d\n", change, name, d.added, d.removed);
    if (before == NULL || now == NULL)
        return;
    buf_adds(text, buf_str(&lines));
    if (d.shown > SCRIPT_DIFF_LINES)
        buf_addf(text, "       ... %d more lines\n", d.shown - SCRIPT_DIFF_LINES);
}

static const struct vm_source *diff_find(const struct scripts *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->files[i].name, name) == 0)
            return &s->files[i];
    return NULL;
}

json_t *script_diff(const struct scripts *before, const struct scripts *now, bool color,
                    struct buf *text)
{
    json_t *list = json_array();
    for (size_t i = 0; i < before->count; i++) {
        const struct vm_source *old = &before->files[i], *new = diff_find(now, old->name);
        if (new == NULL || new->len != old->len || memcmp(new->text, old->text, old->len) != 0)
            diff_file(old->name, old, new, color, text, list);
    }
    for (size_t i = 0; i < now->count; i++)
        if (diff_find(before, now->files[i].name) == NULL)
            diff_file(now->files[i].name, NULL, &now->files[i], color, text, list);
    return list;
}
