#include "codec/markdown.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

/* What is left of the text, and the line in front of it. */
struct markdown {
    const char *p, *end;
    const char *line;
    size_t n; /* of the line, without its end */
    bool more;
    struct buf *out;
};

static void markdown_next(struct markdown *m)
{
    m->more = m->p < m->end;
    m->line = m->p;
    const char *nl = m->more ? memchr(m->p, '\n', (size_t)(m->end - m->p)) : NULL;
    m->n = (size_t)((nl != NULL ? nl : m->end) - m->p);
    m->p = nl != NULL ? nl + 1 : m->end;
    if (m->n > 0 && m->line[m->n - 1] == '\r')
        m->n--;
}

static void markdown_escape(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '&')
            buf_adds(out, "&amp;");
        else if (s[i] == '<')
            buf_adds(out, "&lt;");
        else if (s[i] == '>')
            buf_adds(out, "&gt;");
        else if (s[i] == '"')
            buf_adds(out, "&quot;");
        else
            buf_addc(out, s[i]);
    }
}

/* ---- inside a line ---- */

/* Where `mark` comes again, or NULL. */
static const char *markdown_find(const char *s, const char *end, const char *mark)
{
    size_t k = strlen(mark);
    for (; s + k <= end; s++) {
        if (memcmp(s, mark, k) == 0)
            return s;
    }
    return NULL;
}

static bool markdown_is_safe(const char *url, size_t n)
{
    const char *colon = memchr(url, ':', n);
    size_t scheme = colon != NULL ? (size_t)(colon - url) : 0;
    return colon == NULL || memchr(url, '/', scheme) != NULL ||
           (scheme == 4 && memcmp(url, "http", 4) == 0) ||
           (scheme == 5 && memcmp(url, "https", 5) == 0);
}

/* "canon.md#keys" leads to "canon#keys". */
static void markdown_url(struct buf *out, const char *url, size_t n)
{
    const char *hash = memchr(url, '#', n);
    size_t path = hash != NULL ? (size_t)(hash - url) : n;
    size_t keep = path;
    if (memchr(url, ':', n) == NULL && path > 3 && memcmp(url + path - 3, ".md", 3) == 0)
        keep = path - 3;
    if (keep == 5 && memcmp(url, "index", 5) == 0)
        buf_adds(out, "./");
    else
        markdown_escape(out, url, keep);
    markdown_escape(out, url + path, n - path);
}

static void markdown_inline(struct buf *out, const char *s, const char *end);

/* [text](url) at `s`: what follows it, or NULL. */
static const char *markdown_link(struct buf *out, const char *s, const char *end)
{
    const char *close = markdown_find(s, end, "](");
    const char *last = close != NULL ? memchr(close, ')', (size_t)(end - close)) : NULL;
    if (last == NULL || !markdown_is_safe(close + 2, (size_t)(last - close - 2)))
        return NULL;
    buf_adds(out, "<a href=\"");
    markdown_url(out, close + 2, (size_t)(last - close - 2));
    buf_adds(out, "\">");
    markdown_inline(out, s + 1, close);
    buf_adds(out, "</a>");
    return last + 1;
}

static const char *markdown_marked(struct buf *out, const char *s, const char *end,
                                   const char *mark, const char *tag)
{
    size_t k = strlen(mark);
    const char *close = s + k < end && s[k] != ' ' ? markdown_find(s + k, end, mark) : NULL;
    if (close == NULL || close == s + k)
        return NULL;
    buf_addf(out, "<%s>", tag);
    if (*mark == '`')
        markdown_escape(out, s + k, (size_t)(close - s - (ptrdiff_t)k));
    else
        markdown_inline(out, s + k, close);
    buf_addf(out, "</%s>", tag);
    return close + k;
}

static void markdown_inline(struct buf *out, const char *s, const char *end)
{
    while (s < end) {
        const char *next = NULL;
        if (*s == '`')
            next = markdown_marked(out, s, end, "`", "code");
        else if (*s == '*' && s + 1 < end && s[1] == '*')
            next = markdown_marked(out, s, end, "**", "strong");
        else if (*s == '*')
            next = markdown_marked(out, s, end, "*", "em");
        else if (*s == '[')
            next = markdown_link(out, s, end);
        if (next == NULL) {
            markdown_escape(out, s, 1);
            next = s + 1;
        }
        s = next;
    }
}

static void markdown_text(struct markdown *m, const char *s, size_t n)
{
    markdown_inline(m->out, s, s + n);
}

/* ---- blocks ---- */

static size_t markdown_indent(const struct markdown *m)
{
    size_t i = 0;
    while (i < m->n && m->line[i] == ' ')
        i++;
    return i;
}

static bool markdown_is_blank(const struct markdown *m)
{
    return markdown_indent(m) == m->n;
}

static bool markdown_starts(const struct markdown *m, const char *with)
{
    return m->n >= strlen(with) && memcmp(m->line, with, strlen(with)) == 0;
}

/* 1 to 6 for a heading, else 0. */
static size_t markdown_level(const struct markdown *m)
{
    size_t k = 0;
    while (k < m->n && m->line[k] == '#')
        k++;
    return k >= 1 && k <= 6 && k < m->n && m->line[k] == ' ' ? k : 0;
}

/* Length of "- ", "* " or "1. " in front, else 0. */
static size_t markdown_bullet(const struct markdown *m)
{
    if (markdown_starts(m, "- ") || markdown_starts(m, "* "))
        return 2;
    size_t k = 0;
    while (k < m->n && isdigit((unsigned char)m->line[k]))
        k++;
    return k > 0 && k + 1 < m->n && m->line[k] == '.' && m->line[k + 1] == ' ' ? k + 2 : 0;
}

static void markdown_slug(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isalnum((unsigned char)s[i]))
            buf_addc(out, (char)tolower((unsigned char)s[i]));
        else if (s[i] == ' ' || s[i] == '-')
            buf_addc(out, '-');
    }
}

static void markdown_heading(struct markdown *m, size_t level)
{
    const char *s = m->line + level + 1;
    size_t n = m->n - level - 1;
    buf_addf(m->out, "<h%zu id=\"", level);
    markdown_slug(m->out, s, n);
    buf_adds(m->out, "\">");
    markdown_text(m, s, n);
    buf_addf(m->out, "</h%zu>\n", level);
    markdown_next(m);
}

static void markdown_fence(struct markdown *m)
{
    buf_adds(m->out, "<pre><code class=\"language-");
    markdown_slug(m->out, m->line + 3, m->n - 3);
    buf_adds(m->out, "\">");
    for (markdown_next(m); m->more && !markdown_starts(m, "```"); markdown_next(m)) {
        markdown_escape(m->out, m->line, m->n);
        buf_addc(m->out, '\n');
    }
    buf_adds(m->out, "</code></pre>\n");
    markdown_next(m);
}

/* Four spaces in front. Blank lines inside belong to it, those behind it do not. */
static void markdown_indented(struct markdown *m)
{
    size_t blanks = 0;
    buf_adds(m->out, "<pre><code>");
    for (; m->more && (markdown_indent(m) >= 4 || markdown_is_blank(m)); markdown_next(m)) {
        if (markdown_is_blank(m)) {
            blanks++;
            continue;
        }
        for (; blanks > 0; blanks--)
            buf_addc(m->out, '\n');
        markdown_escape(m->out, m->line + 4, m->n - 4);
        buf_addc(m->out, '\n');
    }
    buf_adds(m->out, "</code></pre>\n");
}

/* A bar in code is text, and so is one behind a backslash. */
static void markdown_row(struct markdown *m, const char *tag)
{
    const char *s = m->line + 1, *end = m->line + m->n;
    while (end > s && end[-1] == ' ')
        end--;
    end -= end > s && end[-1] == '|';
    buf_adds(m->out, "<tr>");
    for (bool last = false; !last; s++) {
        const char *from = s;
        bool code = false;
        for (; s < end && (*s != '|' || code || s[-1] == '\\'); s++)
            code = code != (*s == '`');
        last = s >= end;
        AUTO(buf_fini) struct buf cell = BUF_INIT(1 << 16);
        for (const char *c = from; c < s; c++) {
            if (*c != '\\' || c + 1 >= s || c[1] != '|')
                buf_addc(&cell, *c);
        }
        const char *text = buf_str(&cell);
        size_t lead = strspn(text, " "), n = cell.len;
        while (n > lead && text[n - 1] == ' ')
            n--;
        buf_addf(m->out, "<%s>", tag);
        markdown_text(m, text + lead, n - lead);
        buf_addf(m->out, "</%s>", tag);
    }
    buf_adds(m->out, "</tr>\n");
    markdown_next(m);
}

static bool markdown_is_rule(const struct markdown *m)
{
    if (!markdown_starts(m, "|"))
        return false;
    for (size_t i = 0; i < m->n; i++) {
        if (strchr("|-: ", m->line[i]) == NULL)
            return false;
    }
    return true;
}

static void markdown_table(struct markdown *m)
{
    struct markdown head = *m;
    markdown_next(m);
    bool headed = m->more && markdown_is_rule(m);
    buf_adds(m->out, "<div class=\"table\"><table>\n");
    if (headed) {
        buf_adds(m->out, "<thead>");
        markdown_row(&head, "th");
        buf_adds(m->out, "</thead>\n");
        markdown_next(m);
    } else {
        *m = head;
    }
    buf_adds(m->out, "<tbody>");
    while (m->more && markdown_starts(m, "|"))
        markdown_row(m, "td");
    buf_adds(m->out, "</tbody>\n</table></div>\n");
}

static bool markdown_begins_block(const struct markdown *m)
{
    return markdown_is_blank(m) || markdown_level(m) > 0 || markdown_starts(m, "```") ||
           markdown_starts(m, "|") || markdown_bullet(m) > 0;
}

/* Lines that belong together, from byte `skip` of the first one on. */
static void markdown_lines(struct markdown *m, size_t skip)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(1 << 20);
    do {
        size_t lead = skip > 0 ? skip : markdown_indent(m);
        buf_adds(&text, text.len > 0 ? "\n" : "");
        buf_add(&text, m->line + lead, m->n - lead);
        skip = 0;
        markdown_next(m);
    } while (m->more && !markdown_begins_block(m));
    markdown_text(m, buf_str(&text), text.len);
}

static void markdown_list(struct markdown *m)
{
    bool numbered = isdigit((unsigned char)*m->line);
    buf_adds(m->out, numbered ? "<ol>\n" : "<ul>\n");
    while (m->more && markdown_bullet(m) > 0) {
        buf_adds(m->out, "<li>");
        markdown_lines(m, markdown_bullet(m));
        buf_adds(m->out, "</li>\n");
    }
    buf_adds(m->out, numbered ? "</ol>\n" : "</ul>\n");
}

static void markdown_block(struct markdown *m)
{
    if (markdown_level(m) > 0) {
        markdown_heading(m, markdown_level(m));
    } else if (markdown_starts(m, "```")) {
        markdown_fence(m);
    } else if (markdown_starts(m, "|")) {
        markdown_table(m);
    } else if (markdown_bullet(m) > 0) {
        markdown_list(m);
    } else if (markdown_indent(m) >= 4) {
        markdown_indented(m);
    } else {
        buf_adds(m->out, "<p>");
        markdown_lines(m, 0);
        buf_adds(m->out, "</p>\n");
    }
}

void markdown_html(const char *text, size_t n, struct buf *out)
{
    struct markdown m = {.p = text, .end = text + n, .out = out};
    markdown_next(&m);
    while (m.more) {
        if (markdown_is_blank(&m))
            markdown_next(&m);
        else
            markdown_block(&m);
    }
}

void markdown_title(const char *text, size_t n, struct buf *out)
{
    struct markdown m = {.p = text, .end = text + n, .out = out};
    for (markdown_next(&m); m.more; markdown_next(&m)) {
        size_t level = markdown_level(&m);
        if (level > 0) {
            markdown_escape(out, m.line + level + 1, m.n - level - 1);
            return;
        }
    }
}
