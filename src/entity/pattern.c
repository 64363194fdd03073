#include "entity/pattern.h"

#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum op { OP_CHAR, OP_ANY, OP_CLASS, OP_SPLIT, OP_JUMP, OP_MATCH };

struct state {
    uint32_t arg; /* character, class, or where to go */
    uint16_t other;
    uint8_t op;
};

struct range {
    uint32_t lo, hi;
};

struct class_set {
    struct range ranges[PATTERN_RANGES_MAX];
    size_t count;
    bool negated;
};

struct pattern {
    struct state states[PATTERN_STATES_MAX];
    size_t states_count;
    struct class_set classes[PATTERN_CLASSES_MAX];
    size_t classes_count;
};

/* The parser emits states as it reads; a repeat copies the states of what it repeats, which works
 * because every piece is self-contained: it falls through at its end and jumps only inside. */
struct parser {
    struct pattern *out;
    const char *start, *p, *end;
    int depth;
    struct err *e;
};

static int parser_fail(struct parser *ps, const char *what)
{
    return err_set(ps->e, ERR_INVALID, "pattern, at character %zu: %s",
                   (size_t)(ps->p - ps->start) + 1, what);
}

/* The next code point; the text is known to be UTF-8. */
static uint32_t decode(const char **at, const char *end)
{
    const unsigned char *s = (const unsigned char *)*at;
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if ((size_t)(end - *at) < n)
        n = (size_t)(end - *at);
    uint32_t c = n == 1 ? s[0] : s[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3fU);
    *at += n;
    return c;
}

static int emit(struct parser *ps, enum op op, uint32_t arg)
{
    struct pattern *o = ps->out;
    if (o->states_count == PATTERN_STATES_MAX)
        return parser_fail(ps, "too large once its repeats are written out; use smaller counts");
    o->states[o->states_count++] = (struct state){.op = (uint8_t)op, .arg = arg};
    return 0;
}

/* Make room for one state at `at`, moving what is behind it. */
static int insert(struct parser *ps, size_t at, enum op op)
{
    int rc = emit(ps, op, 0);
    if (rc < 0)
        return rc;
    struct pattern *o = ps->out;
    memmove(&o->states[at + 1], &o->states[at], (o->states_count - 1 - at) * sizeof(struct state));
    o->states[at] = (struct state){.op = (uint8_t)op};
    for (size_t i = at + 1; i < o->states_count; i++) {
        struct state *s = &o->states[i];
        if ((s->op == OP_SPLIT || s->op == OP_JUMP) && s->arg >= at)
            s->arg++;
        if (s->op == OP_SPLIT && s->other >= at)
            s->other++;
    }
    return 0;
}

/* A copy of states [from, to) at the end. */
static int copy(struct parser *ps, size_t from, size_t to)
{
    struct pattern *o = ps->out;
    size_t shift = o->states_count - from;
    for (size_t i = from; i < to; i++) {
        struct state s = o->states[i];
        int rc = emit(ps, (enum op)s.op, s.arg);
        if (rc < 0)
            return rc;
        struct state *c = &o->states[o->states_count - 1];
        c->other = s.other;
        if (s.op == OP_SPLIT || s.op == OP_JUMP)
            c->arg += (uint32_t)shift;
        if (s.op == OP_SPLIT)
            c->other = (uint16_t)(c->other + shift);
    }
    return 0;
}

static int class_add(struct parser *ps, struct class_set *c, uint32_t lo, uint32_t hi)
{
    if (c->count == PATTERN_RANGES_MAX)
        return parser_fail(ps, "too many ranges in one class");
    if (lo > hi)
        return parser_fail(ps, "a range runs backwards");
    c->ranges[c->count++] = (struct range){lo, hi};
    return 0;
}

/* The ranges of \d \w \s; false for another letter. */
static bool shorthand(char letter, struct class_set *c)
{
    static const struct range digit[] = {{'0', '9'}};
    static const struct range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct range space[] = {{'\t', '\r'}, {' ', ' '}};
    const struct range *r = letter == 'd' ? digit : letter == 'w' ? word : space;
    size_t n = letter == 'd' ? 1 : letter == 'w' ? 4 : 2;
    if (strchr("dws", letter) == NULL || c->count + n > PATTERN_RANGES_MAX)
        return false;
    for (size_t i = 0; i < n; i++)
        c->ranges[c->count++] = r[i];
    return true;
}

static int class_new(struct parser *ps, struct class_set **out)
{
    if (ps->out->classes_count == PATTERN_CLASSES_MAX)
        return parser_fail(ps, "too many classes");
    *out = &ps->out->classes[ps->out->classes_count++];
    return emit(ps, OP_CLASS, (uint32_t)(ps->out->classes_count - 1));
}

/* The character behind a backslash, when it stands for itself or for a control character. */
static int escaped(struct parser *ps, uint32_t *c)
{
    static const char from[] = "nrt", to[] = "\n\r\t";
    const char *control = *ps->p != '\0' ? strchr(from, *ps->p) : NULL;
    if (control != NULL) {
        *c = (uint32_t)to[control - from];
        ps->p++;
        return 0;
    }
    if (strchr("\\.[](){}|?*+^$/-", *ps->p) == NULL || *ps->p == '\0')
        return parser_fail(ps, "this letter cannot stand behind a backslash");
    *c = (uint32_t)*ps->p++;
    return 0;
}

static int class_item(struct parser *ps, struct class_set *c, uint32_t *out, bool *single)
{
    *single = true;
    if (*ps->p != '\\') {
        *out = decode(&ps->p, ps->end);
        return 0;
    }
    ps->p++;
    if (ps->p < ps->end && shorthand(*ps->p, c)) {
        ps->p++;
        *single = false;
        return 0;
    }
    return escaped(ps, out);
}

static int parse_class(struct parser *ps)
{
    struct class_set *c = NULL;
    int rc = class_new(ps, &c);
    if (rc < 0)
        return rc;
    if (ps->p < ps->end && *ps->p == '^') {
        c->negated = true;
        ps->p++;
    }
    for (bool first = true; ps->p < ps->end && (first || *ps->p != ']'); first = false) {
        uint32_t lo, hi;
        bool single;
        if ((rc = class_item(ps, c, &lo, &single)) < 0)
            return rc;
        if (!single)
            continue;
        hi = lo;
        if (ps->end - ps->p >= 2 && ps->p[0] == '-' && ps->p[1] != ']') {
            ps->p++;
            if ((rc = class_item(ps, c, &hi, &single)) < 0)
                return rc;
            if (!single)
                return parser_fail(ps, "a range ends in a class");
        }
        if ((rc = class_add(ps, c, lo, hi)) < 0)
            return rc;
    }
    if (ps->p == ps->end)
        return parser_fail(ps, "a [ without its ]");
    ps->p++;
    return 0;
}

static int parse_escape(struct parser *ps)
{
    char letter = ps->p < ps->end ? *ps->p : '\0';
    bool capital = letter >= 'A' && letter <= 'Z';
    char lower = (char)(capital ? letter - 'A' + 'a' : letter);
    if (lower != '\0' && strchr("dws", lower) != NULL) {
        struct class_set *c = NULL;
        int rc = class_new(ps, &c);
        if (rc < 0)
            return rc;
        shorthand(lower, c);
        c->negated = capital;
        ps->p++;
        return 0;
    }
    uint32_t ch = 0;
    int rc = escaped(ps, &ch);
    return rc < 0 ? rc : emit(ps, OP_CHAR, ch);
}

static int parse_alternatives(struct parser *ps);

static int parse_group(struct parser *ps)
{
    if (++ps->depth > PATTERN_DEPTH_MAX)
        return parser_fail(ps, "groups are nested too deep");
    if (ps->end - ps->p >= 2 && ps->p[0] == '?') {
        if (ps->p[1] != ':')
            return parser_fail(ps, "look-around and named groups are not supported");
        ps->p += 2;
    }
    int rc = parse_alternatives(ps);
    if (rc < 0)
        return rc;
    if (ps->p == ps->end || *ps->p != ')')
        return parser_fail(ps, "a ( without its )");
    ps->p++;
    ps->depth--;
    return 0;
}

static int parse_atom(struct parser *ps)
{
    switch (*ps->p) {
    case '[':
        ps->p++;
        return parse_class(ps);
    case '\\':
        ps->p++;
        return parse_escape(ps);
    case '(':
        ps->p++;
        return parse_group(ps);
    case '.':
        ps->p++;
        return emit(ps, OP_ANY, 0);
    case '*':
    case '+':
    case '?':
    case '{':
        return parser_fail(ps, "nothing stands before this repeat; put \\ before a literal one");
    case '^':
    case '$':
        return parser_fail(ps, "^ and $ only stand at the ends; a pattern matches the whole value");
    }
    return emit(ps, OP_CHAR, decode(&ps->p, ps->end));
}

static int parse_count(struct parser *ps, int *out)
{
    int n = 0;
    const char *before = ps->p;
    while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9' && n <= PATTERN_REPEAT_MAX)
        n = n * 10 + (*ps->p++ - '0');
    if (ps->p == before || n > PATTERN_REPEAT_MAX)
        return parser_fail(ps, "a count from 0 to 255 belongs here");
    *out = n;
    return 0;
}

/* *max is -1 for without end. Nothing is consumed when there is no repeat. */
static int parse_repeat(struct parser *ps, int *min, int *max)
{
    *min = *max = 1;
    char c = ps->p < ps->end ? *ps->p : '\0';
    if (c == '*' || c == '?' || c == '+') {
        *min = c == '+';
        *max = c == '?' ? 1 : -1;
        ps->p++;
        return 0;
    }
    if (c != '{')
        return 0;
    ps->p++;
    int rc = parse_count(ps, min);
    if (rc < 0)
        return rc;
    *max = *min;
    if (ps->p < ps->end && *ps->p == ',') {
        ps->p++;
        *max = -1;
        if (ps->p < ps->end && *ps->p != '}' && (rc = parse_count(ps, max)) < 0)
            return rc;
    }
    if (ps->p == ps->end || *ps->p != '}')
        return parser_fail(ps, "a { without its }");
    if (*max >= 0 && *max < *min)
        return parser_fail(ps, "the larger count comes second");
    ps->p++;
    return 0;
}

/* Turn the piece at [from, end) into itself or nothing. */
static int make_optional(struct parser *ps, size_t from)
{
    int rc = insert(ps, from, OP_SPLIT);
    if (rc < 0)
        return rc;
    struct state *s = &ps->out->states[from];
    s->arg = (uint32_t)from + 1;
    s->other = (uint16_t)ps->out->states_count;
    return 0;
}

/* Turn the piece at [from, end) into itself any number of times. */
static int make_star(struct parser *ps, size_t from)
{
    int rc = insert(ps, from, OP_SPLIT);
    if (rc < 0 || (rc = emit(ps, OP_JUMP, (uint32_t)from)) < 0)
        return rc;
    struct state *s = &ps->out->states[from];
    s->arg = (uint32_t)from + 1;
    s->other = (uint16_t)ps->out->states_count;
    return 0;
}

/* The piece stands once at [from, to); write it min times, then the rest as optional ones. The
 * piece is copied before the first one is changed, hence it is kept at the end and dropped. */
static int repeat(struct parser *ps, size_t from, int min, int max)
{
    struct pattern *o = ps->out;
    size_t size = o->states_count - from;
    int rc = 0;
    for (int i = 1; i < min && rc == 0; i++)
        rc = copy(ps, from, from + size);
    if (max < 0) {
        size_t at = from;
        if (min > 0) {
            at = o->states_count;
            rc = rc < 0 ? rc : copy(ps, from, from + size);
        }
        return rc < 0 ? rc : make_star(ps, at);
    }
    if (max == 0) {
        o->states_count = from;
        return 0;
    }
    int done = min;
    if (min == 0) {
        /* The optional first copy cannot be the source of the others: append plain ones first. */
        for (int i = 1; i < max && rc == 0; i++)
            rc = copy(ps, from, from + size);
        for (int i = max - 1; i >= 0 && rc == 0; i--)
            rc = make_optional(ps, from + (size_t)i * size);
        return rc;
    }
    for (; done < max && rc == 0; done++) {
        size_t at = o->states_count;
        if ((rc = copy(ps, from, from + size)) == 0)
            rc = make_optional(ps, at);
    }
    return rc;
}

static int parse_sequence(struct parser *ps)
{
    while (ps->p < ps->end && *ps->p != '|' && *ps->p != ')') {
        size_t from = ps->out->states_count;
        int min, max, rc;
        if ((rc = parse_atom(ps)) < 0 || (rc = parse_repeat(ps, &min, &max)) < 0)
            return rc;
        if ((min != 1 || max != 1) && (rc = repeat(ps, from, min, max)) < 0)
            return rc;
        if (ps->p < ps->end && strchr("*+?{", *ps->p) != NULL)
            return parser_fail(ps, "two repeats in a row");
    }
    return 0;
}

static int parse_alternatives(struct parser *ps)
{
    size_t from = ps->out->states_count;
    int rc = parse_sequence(ps);
    if (rc < 0 || ps->p == ps->end || *ps->p != '|')
        return rc;
    ps->p++;
    if ((rc = insert(ps, from, OP_SPLIT)) < 0 || (rc = emit(ps, OP_JUMP, 0)) < 0)
        return rc;
    size_t jump = ps->out->states_count - 1;
    ps->out->states[from].arg = (uint32_t)from + 1;
    ps->out->states[from].other = (uint16_t)ps->out->states_count;
    if ((rc = parse_alternatives(ps)) < 0)
        return rc;
    ps->out->states[jump].arg = (uint32_t)ps->out->states_count;
    return 0;
}

int pattern_new(const char *text, struct pattern **out, struct err *e)
{
    size_t n = strlen(text);
    if (n == 0 || n > PATTERN_BYTES_MAX)
        return err_set(e, ERR_INVALID, "a pattern has 1 to %d bytes", PATTERN_BYTES_MAX);
    struct pattern *p = mem_new(sizeof(*p));
    struct parser ps = {.out = p, .start = text, .p = text, .end = text + n, .e = e};
    if (*ps.p == '^')
        ps.p++;
    if (ps.end > ps.p && ps.end[-1] == '$' && !(ps.end - ps.p >= 2 && ps.end[-2] == '\\'))
        ps.end--;
    int rc = parse_alternatives(&ps);
    if (rc == 0 && ps.p < ps.end)
        rc = parser_fail(&ps, "a ) without its (");
    if (rc == 0)
        rc = emit(&ps, OP_MATCH, 0);
    if (rc < 0) {
        pattern_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

void pattern_free(struct pattern *p)
{
    mem_free(p);
}

static bool class_has(const struct class_set *c, uint32_t ch)
{
    for (size_t i = 0; i < c->count; i++) {
        if (ch >= c->ranges[i].lo && ch <= c->ranges[i].hi)
            return !c->negated;
    }
    return c->negated;
}

/* A set of states, in the order they were added. */
struct set {
    uint16_t list[PATTERN_STATES_MAX];
    bool has[PATTERN_STATES_MAX];
    size_t count;
};

/* Add a state and all that is reached from it without reading. A state is pushed only when it is
 * new in the set, so the stack holds each at most once. */
static void set_add(const struct pattern *p, struct set *s, uint32_t at)
{
    uint16_t stack[PATTERN_STATES_MAX + 1];
    size_t n = 0;
    if (s->has[at])
        return;
    s->has[at] = true;
    stack[n++] = (uint16_t)at;
    while (n > 0) {
        uint16_t i = stack[--n];
        const struct state *st = &p->states[i];
        s->list[s->count++] = i;
        if (st->op == OP_SPLIT && !s->has[st->other]) {
            s->has[st->other] = true;
            stack[n++] = st->other;
        }
        if ((st->op == OP_SPLIT || st->op == OP_JUMP) && !s->has[st->arg]) {
            s->has[st->arg] = true;
            stack[n++] = (uint16_t)st->arg;
        }
    }
}

static void set_clear(struct set *s)
{
    for (size_t i = 0; i < s->count; i++)
        s->has[s->list[i]] = false;
    s->count = 0;
}

static bool state_takes(const struct pattern *p, const struct state *s, uint32_t c)
{
    return (s->op == OP_CHAR && s->arg == c) || s->op == OP_ANY ||
           (s->op == OP_CLASS && class_has(&p->classes[s->arg], c));
}

bool pattern_match(const struct pattern *p, const char *s, size_t n)
{
    struct set a = {.count = 0}, b = {.count = 0}, *now = &a, *next = &b;
    set_add(p, now, 0);
    const char *end = s + n;
    while (s < end && now->count > 0) {
        uint32_t c = decode(&s, end);
        for (size_t i = 0; i < now->count; i++) {
            if (state_takes(p, &p->states[now->list[i]], c))
                set_add(p, next, now->list[i] + 1U);
        }
        struct set *swap = now;
        now = next;
        next = swap;
        set_clear(next);
    }
    /* OP_MATCH is the last state, and the only one of its kind. */
    return s == end && now->has[p->states_count - 1];
}
