#include "vm/pattern.h"

#include <ctype.h>
#include <string.h>

static void set_add(uint8_t *set, unsigned c)
{
    set[c >> 3] = (uint8_t)(set[c >> 3] | 1u << (c & 7));
}

static bool set_has(const uint8_t *set, unsigned char c)
{
    return set[c >> 3] >> (c & 7) & 1;
}

static void set_invert(uint8_t *set)
{
    for (int i = 0; i < 32; i++)
        set[i] = (uint8_t)~set[i];
}

/* ASCII, in the order of class_names; bit c of the 128 says that the character c belongs. */
static const char class_names[] = "acdglpsuwxz";
static const uint8_t class_bits[][16] = {
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfe, 0xff, 0xff, 0x07, 0xfe, 0xff, 0xff,
     0x07}, /* %a */
    {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x80}, /* %c */
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00}, /* %d */
    {0x00, 0x00, 0x00, 0x00, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0x7f}, /* %g */
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfe, 0xff, 0xff,
     0x07}, /* %l */
    {0x00, 0x00, 0x00, 0x00, 0xfe, 0xff, 0x00, 0xfc, 0x01, 0x00, 0x00, 0xf8, 0x01, 0x00, 0x00,
     0x78}, /* %p */
    {0x00, 0x3e, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00}, /* %s */
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfe, 0xff, 0xff, 0x07, 0x00, 0x00, 0x00,
     0x00}, /* %u */
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x03, 0xfe, 0xff, 0xff, 0x07, 0xfe, 0xff, 0xff,
     0x07}, /* %w */
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x03, 0x7e, 0x00, 0x00, 0x00, 0x7e, 0x00, 0x00,
     0x00}, /* %x */
    {0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
     0x00}, /* %z */
};

/* %a, %D ...; any other character stands for itself. */
static void set_add_class(uint8_t *set, unsigned char name)
{
    const char *at = isalpha(name) ? strchr(class_names, tolower(name)) : NULL;
    if (at == NULL) {
        set_add(set, name);
        return;
    }
    const uint8_t *bits = class_bits[at - class_names];
    uint8_t flip = islower(name) ? 0 : 0xff;
    for (int i = 0; i < 16; i++)
        set[i] = (uint8_t)(set[i] | (bits[i] ^ flip));
    if (isupper(name))
        memset(set + 16, 0xff, 16);
}

/* [...]; *pp stands behind the bracket and ends behind the closing one. */
static const char *set_parse(uint8_t *set, const char **pp, const char *end)
{
    const char *p = *pp;
    bool inverted = p < end && *p == '^';
    if (inverted)
        p++;
    for (bool first = true; p < end && (first || *p != ']'); first = false) {
        unsigned char c = (unsigned char)*p++;
        if (c == '%') {
            if (p >= end)
                return "pattern ends with '%' in a set";
            set_add_class(set, (unsigned char)*p++);
        } else if (p + 1 < end && *p == '-' && p[1] != ']') {
            unsigned last = (unsigned char)p[1];
            for (unsigned x = c; x <= last; x++)
                set_add(set, x);
            p += 2;
        } else {
            set_add(set, c);
        }
    }
    if (p >= end)
        return "pattern lacks the ']' of a set";
    if (inverted)
        set_invert(set);
    *pp = p + 1;
    return NULL;
}

struct compiler {
    const char *p, *end;
    struct vm_pattern *out;
    uint8_t open[VM_PATTERN_CAPTURES_MAX];
    int open_count;
    uint32_t closed;
};

static const char *compile_capture(struct compiler *c, struct vm_pattern_node *n, char what)
{
    if (what == ')') {
        if (c->open_count == 0)
            return "pattern closes a capture that was not opened";
        n->kind = VM_PATTERN_CLOSE;
        n->a = c->open[--c->open_count];
        c->closed |= 1u << n->a;
        return NULL;
    }
    if (c->out->captures == VM_PATTERN_CAPTURES_MAX)
        return "pattern has more than 32 captures";
    n->a = (uint8_t)c->out->captures++;
    if (c->p < c->end && *c->p == ')') {
        c->p++;
        n->kind = VM_PATTERN_POSITION;
        c->closed |= 1u << n->a;
        return NULL;
    }
    n->kind = VM_PATTERN_OPEN;
    c->open[c->open_count++] = n->a;
    return NULL;
}

/* What follows a '%'; `*single` says that a repetition may follow. */
static const char *compile_escape(struct compiler *c, struct vm_pattern_node *n, bool *single)
{
    if (c->p >= c->end)
        return "pattern ends with '%'";
    unsigned char what = (unsigned char)*c->p++;
    *single = false;
    if (what == 'b') {
        if (c->end - c->p < 2)
            return "pattern lacks the two characters of '%b'";
        n->kind = VM_PATTERN_BALANCE;
        n->a = (uint8_t)c->p[0];
        n->b = (uint8_t)c->p[1];
        c->p += 2;
        return NULL;
    }
    if (what == 'f') {
        if (c->p >= c->end || *c->p != '[')
            return "pattern lacks the set of '%f'";
        c->p++;
        n->kind = VM_PATTERN_FRONTIER;
        return set_parse(n->set, &c->p, c->end);
    }
    if (isdigit(what)) {
        int at = what - '1';
        if (at < 0 || at >= c->out->captures || !(c->closed >> at & 1))
            return "pattern refers to a capture that is not there";
        n->kind = VM_PATTERN_BACK;
        n->a = (uint8_t)at;
        return NULL;
    }
    *single = true;
    set_add_class(n->set, what);
    return NULL;
}

static void compile_repeat(struct compiler *c, struct vm_pattern_node *n)
{
    static const char signs[] = "?*+-";
    const char *sign = c->p < c->end && *c->p != '\0' ? strchr(signs, *c->p) : NULL;
    if (sign == NULL)
        return;
    n->repeat = (uint8_t)(VM_PATTERN_MAYBE + (sign - signs));
    c->p++;
}

static const char *compile_node(struct compiler *c, struct vm_pattern_node *n)
{
    char what = *c->p++;
    bool single = true;
    const char *wrong = NULL;
    if (what == '(' || what == ')')
        return compile_capture(c, n, what);
    if (what == '$' && c->p == c->end) {
        n->kind = VM_PATTERN_END;
        return NULL;
    }
    if (what == '%')
        wrong = compile_escape(c, n, &single);
    else if (what == '[')
        wrong = set_parse(n->set, &c->p, c->end);
    else if (what == '.')
        memset(n->set, 0xff, sizeof n->set);
    else
        set_add(n->set, (unsigned char)what);
    if (wrong == NULL && single)
        compile_repeat(c, n);
    return wrong;
}

const char *vm_pattern_compile(const char *p, size_t n, struct vm_pattern *out)
{
    struct compiler c = {.p = p, .end = p + n, .out = out};
    out->count = out->captures = 0;
    out->anchored = n > 0 && *p == '^';
    if (out->anchored)
        c.p++;
    while (c.p < c.end) {
        if (out->count == VM_PATTERN_NODES_MAX)
            return "pattern has more than 128 items";
        struct vm_pattern_node *node = &out->node[out->count++];
        memset(node, 0, sizeof *node);
        const char *wrong = compile_node(&c, node);
        if (wrong != NULL)
            return wrong;
    }
    return c.open_count > 0 ? "pattern does not close a capture" : NULL;
}

static const char *match_at(const struct vm_pattern *p, struct vm_pattern_match *m, int i,
                            const char *s);

static size_t run_length(const uint8_t *set, const char *s, const char *end)
{
    const char *from = s;
    while (s < end && set_has(set, (unsigned char)*s))
        s++;
    return (size_t)(s - from);
}

static const char *match_greedy(const struct vm_pattern *p, struct vm_pattern_match *m, int i,
                                const char *s, size_t least)
{
    size_t most = run_length(p->node[i].set, s, m->end);
    m->steps += most;
    for (size_t k = most + 1; k-- > least;) {
        const char *r = match_at(p, m, i + 1, s + k);
        if (r != NULL || m->exhausted)
            return r;
    }
    return NULL;
}

static const char *match_lazy(const struct vm_pattern *p, struct vm_pattern_match *m, int i,
                              const char *s)
{
    for (;; s++) {
        const char *r = match_at(p, m, i + 1, s);
        if (r != NULL || m->exhausted)
            return r;
        if (s >= m->end || !set_has(p->node[i].set, (unsigned char)*s))
            return NULL;
    }
}

static const char *match_balance(struct vm_pattern_match *m, char open, char close, const char *s)
{
    if (s >= m->end || *s != open)
        return NULL;
    size_t depth = 1;
    for (s++; s < m->end; s++) {
        m->steps++;
        if (*s == close) {
            if (--depth == 0)
                return s + 1;
        } else if (*s == open) {
            depth++;
        }
    }
    return NULL;
}

static const char *match_back(struct vm_pattern_match *m, int capture, const char *s)
{
    size_t n = (size_t)(m->capture[capture].len < 0 ? 0 : m->capture[capture].len);
    if ((size_t)(m->end - s) < n || memcmp(m->capture[capture].at, s, n) != 0)
        return NULL;
    m->steps += n / 8;
    return s + n;
}

static bool at_frontier(const struct vm_pattern_match *m, const uint8_t *set, const char *s)
{
    unsigned char before = s == m->text ? 0 : (unsigned char)s[-1];
    unsigned char here = s == m->end ? 0 : (unsigned char)*s;
    return !set_has(set, before) && set_has(set, here);
}

/* Nodes that take a fixed part of the text: where it ends, or NULL. */
static const char *match_fixed(const struct vm_pattern_node *n, struct vm_pattern_match *m,
                               const char *s)
{
    switch ((enum vm_pattern_kind)n->kind) {
    case VM_PATTERN_SET:
        return s < m->end && set_has(n->set, (unsigned char)*s) ? s + 1 : NULL;
    case VM_PATTERN_OPEN:
        m->capture[n->a].at = s;
        return s;
    case VM_PATTERN_CLOSE:
        m->capture[n->a].len = s - m->capture[n->a].at;
        return s;
    case VM_PATTERN_POSITION:
        m->capture[n->a].at = s;
        m->capture[n->a].len = -1;
        return s;
    case VM_PATTERN_BACK:
        return match_back(m, n->a, s);
    case VM_PATTERN_BALANCE:
        return match_balance(m, (char)n->a, (char)n->b, s);
    case VM_PATTERN_FRONTIER:
        return at_frontier(m, n->set, s) ? s : NULL;
    case VM_PATTERN_END:
        return s == m->end ? s : NULL;
    }
    return NULL;
}

/* Captures need no undoing: whatever path reaches the end of the row has written all of its own. */
static const char *match_at(const struct vm_pattern *p, struct vm_pattern_match *m, int i,
                            const char *s)
{
    for (; i < p->count; i++) {
        const struct vm_pattern_node *n = &p->node[i];
        if (m->steps++ >= m->steps_max) {
            m->exhausted = true;
            return NULL;
        }
        switch ((enum vm_pattern_repeat)n->repeat) {
        case VM_PATTERN_ONCE:
            s = match_fixed(n, m, s);
            if (s == NULL)
                return NULL;
            break;
        case VM_PATTERN_MAYBE:
            if (s < m->end && set_has(n->set, (unsigned char)*s)) {
                const char *r = match_at(p, m, i + 1, s + 1);
                if (r != NULL || m->exhausted)
                    return r;
            }
            break;
        case VM_PATTERN_MANY:
            return match_greedy(p, m, i, s, 0);
        case VM_PATTERN_SOME:
            return match_greedy(p, m, i, s, 1);
        case VM_PATTERN_LAZY:
            return match_lazy(p, m, i, s);
        }
    }
    return s;
}

const char *vm_pattern_skip(const struct vm_pattern *p, struct vm_pattern_match *m, const char *at)
{
    const struct vm_pattern_node *n = &p->node[0];
    if (p->count == 0 || p->anchored || n->kind != VM_PATTERN_SET ||
        (n->repeat != VM_PATTERN_ONCE && n->repeat != VM_PATTERN_SOME))
        return at;
    const char *from = at;
    while (at < m->end && !set_has(n->set, (unsigned char)*at))
        at++;
    m->steps += (uint64_t)(at - from) / 4;
    return at;
}

const char *vm_pattern_match(const struct vm_pattern *p, struct vm_pattern_match *m, const char *at)
{
    return match_at(p, m, 0, at);
}
