#include "canon/canon_priv.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { KEY_JOIN = 0x1f /* between the parts of a key: no normalised text has it */ };

static const char *const norm_names[] = {
    [NORM_NONE] = "none",   [NORM_TRIM] = "trim",     [NORM_LOWER] = "lower",
    [NORM_UPPER] = "upper", [NORM_DIGITS] = "digits", [NORM_EMAIL] = "email",
    [NORM_PHONE] = "phone", [NORM_NAME] = "name",     [NORM_ASCII] = "ascii",
};

/* U+00C0..U+017F without their marks; two letters where one would be wrong (Thorn, sharp s,
 * ligatures). '?' keeps the sign. */
static const char *const latin_fold[] = {
    "A", "A", "A",  "A",  "A", "A", "AE", "C", "E", "E", "E", "E", "I", "I", "I",  "I",  /* C0 */
    "D", "N", "O",  "O",  "O", "O", "O",  "x", "O", "U", "U", "U", "U", "Y", "Th", "ss", /* D0 */
    "a", "a", "a",  "a",  "a", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i",  "i",  /* E0 */
    "d", "n", "o",  "o",  "o", "o", "o",  "/", "o", "u", "u", "u", "u", "y", "th", "y",  /* F0 */
    "A", "a", "A",  "a",  "A", "a", "C",  "c", "C", "c", "C", "c", "C", "c", "D",  "d",  /* 100 */
    "D", "d", "E",  "e",  "E", "e", "E",  "e", "E", "e", "E", "e", "G", "g", "G",  "g",  /* 110 */
    "G", "g", "G",  "g",  "H", "h", "H",  "h", "I", "i", "I", "i", "I", "i", "I",  "i",  /* 120 */
    "I", "i", "IJ", "ij", "J", "j", "K",  "k", "k", "L", "l", "L", "l", "L", "l",  "L",  /* 130 */
    "l", "L", "l",  "N",  "n", "N", "n",  "N", "n", "n", "N", "n", "O", "o", "O",  "o",  /* 140 */
    "O", "o", "OE", "oe", "R", "r", "R",  "r", "R", "r", "S", "s", "S", "s", "S",  "s",  /* 150 */
    "S", "s", "T",  "t",  "T", "t", "T",  "t", "U", "u", "U", "u", "U", "u", "U",  "u",  /* 160 */
    "U", "u", "U",  "u",  "W", "w", "Y",  "y", "Y", "Z", "z", "Z", "z", "Z", "z",  "s",  /* 170 */
};
enum { LATIN_FIRST = 0xC0, LATIN_LAST = 0x17F };

bool canon_norm_parse(const char *name, enum canon_norm *out, int *function)
{
    for (size_t i = NORM_TRIM; i < ARRAY_LEN(norm_names); i++) {
        if (strcmp(norm_names[i], name) == 0) {
            *out = (enum canon_norm)i;
            return true;
        }
    }
    int64_t n;
    if (!str_starts(name, "fn:") || !str_to_i64(name + 3, strlen(name + 3), &n) || n < 0 ||
        n > INT32_MAX)
        return false;
    *out = NORM_FUNCTION;
    *function = (int)n;
    return true;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str trim(const char *s, size_t n)
{
    while (n > 0 && is_space((unsigned char)s[0])) {
        s++;
        n--;
    }
    while (n > 0 && is_space((unsigned char)s[n - 1]))
        n--;
    return (struct str){s, n};
}

static char lower_ascii(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static char upper_ascii(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

/* Two-byte letters whose cases lie 32 apart: Latin-1 (but not the signs at D7 and F7), Greek,
 * Cyrillic. */
static unsigned two_byte_case(unsigned cp, bool upper)
{
    bool big = (cp >= 0xC0 && cp <= 0xDE && cp != 0xD7) || (cp >= 0x391 && cp <= 0x3A9) ||
               (cp >= 0x410 && cp <= 0x42F);
    bool small = (cp >= 0xE0 && cp <= 0xFE && cp != 0xF7) ||
                 (cp >= 0x3B1 && cp <= 0x3C9 && cp != 0x3C2) || (cp >= 0x430 && cp <= 0x44F);
    if (upper && small)
        return cp - 32;
    if (!upper && big)
        return cp + 32;
    /* Latin Extended-A: neighbours; odd and even change sides at 0x139..0x148 and 0x179..0x17E. */
    if (cp >= 0x100 && cp <= 0x17E && cp != 0x130 && cp != 0x131 && cp != 0x138 && cp != 0x149 &&
        cp != 0x178) {
        bool odd_is_big = (cp >= 0x139 && cp <= 0x148) || cp >= 0x179;
        bool is_big = ((cp & 1) != 0) == odd_is_big;
        if (is_big != upper)
            return upper ? cp - 1 : cp + 1;
    }
    return cp;
}

static void add_cased(const char *s, size_t n, bool upper, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0xC0 && c < 0xE0 && i + 1 < n) {
            unsigned cp = ((c & 0x1Fu) << 6) | ((unsigned char)s[i + 1] & 0x3Fu);
            cp = two_byte_case(cp, upper);
            buf_addc(out, (char)(0xC0 | (cp >> 6)));
            buf_addc(out, (char)(0x80 | (cp & 0x3F)));
            i++;
        } else {
            buf_addc(out, upper ? upper_ascii(s[i]) : lower_ascii(s[i]));
        }
    }
}

/* Latin letters without marks; other signs beyond ASCII stay as they are, so that names in other
 * scripts keep an identity. */
static void add_ascii(const char *s, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0xC3 && c <= 0xC5 && i + 1 < n) {
            unsigned cp = ((c & 0x1Fu) << 6) | ((unsigned char)s[i + 1] & 0x3Fu);
            ASSERT(cp >= LATIN_FIRST && cp <= LATIN_LAST);
            buf_adds(out, latin_fold[cp - LATIN_FIRST]);
            i++;
        } else {
            buf_addc(out, s[i]);
        }
    }
}

static void add_name(const char *s, size_t n, struct buf *out)
{
    AUTO(buf_fini) struct buf plain = BUF_INIT(2 * CANON_BODY_MAX);
    add_ascii(s, n, &plain);
    buf_fail_with(out, &plain);
    bool gap = false, any = false;
    for (size_t i = 0; i < plain.len; i++) {
        unsigned char c = (unsigned char)lower_ascii(plain.data[i]);
        if (c < 0x80 && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9')) {
            gap = any;
            continue;
        }
        if (gap)
            buf_addc(out, ' ');
        gap = false;
        any = true;
        buf_addc(out, (char)c);
    }
}

static void add_phone(const char *s, size_t n, struct buf *out)
{
    size_t from = out->len;
    for (size_t i = 0; i < n; i++)
        if ((s[i] == '+' && out->len == from) || (s[i] >= '0' && s[i] <= '9'))
            buf_addc(out, s[i]);
    /* "00" is how "+" is dialled. */
    if (out->len >= from + 2 && memcmp(out->data + from, "00", 2) == 0) {
        out->data[from] = '+';
        memmove(out->data + from + 1, out->data + from + 2, out->len - from - 1);
        out->len--;
    }
}

void canon_normalise(enum canon_norm norm, const char *s, size_t n, struct buf *out)
{
    struct str t = trim(s, n);
    switch (norm) {
    case NORM_NONE:
    case NORM_TRIM:
        buf_add(out, t.p, t.n);
        return;
    case NORM_LOWER:
    case NORM_EMAIL:
        add_cased(t.p, t.n, false, out);
        return;
    case NORM_UPPER:
        add_cased(t.p, t.n, true, out);
        return;
    case NORM_DIGITS:
        for (size_t i = 0; i < t.n; i++)
            if (t.p[i] >= '0' && t.p[i] <= '9')
                buf_addc(out, t.p[i]);
        return;
    case NORM_PHONE:
        add_phone(t.p, t.n, out);
        return;
    case NORM_NAME:
        add_name(t.p, t.n, out);
        return;
    case NORM_ASCII:
        add_ascii(t.p, t.n, out);
        return;
    case NORM_FUNCTION:
    case NORM_COUNT:
        break;
    }
    PANIC("normaliser %d has no text rule", (int)norm);
}

/* ---- the keys of a document ---- */

/* Key by key and part by part. The walk stops where a function of the script is wanted, which bind/
 * runs between next() and took(): so all of a document's functions share one run. */

struct walk {
    struct canon_norms norms; /* first */
    const struct canon_model *m;
    const json_t *data;
    size_t key, part;
    size_t from;     /* where the text of the part begins */
    bool asked;      /* a function works on the part */
    struct buf text; /* of the key so far: "name:value" */
    json_t *list;
    int rc;
    struct err *e;
};

static int walk_fail(struct walk *w, int rc)
{
    w->rc = rc;
    return rc;
}

static bool list_has(const json_t *list, const char *text, size_t n)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (json_string_length(v) == n && memcmp(json_string_value(v), text, n) == 0)
            return true;
    }
    return false;
}

static void key_begin(struct walk *w)
{
    buf_reset(&w->text);
    buf_adds(&w->text, w->m->keys[w->key].name);
    buf_addc(&w->text, ':');
    w->part = 0;
}

/* All parts are there. */
static int key_end(struct walk *w)
{
    const struct canon_key *k = &w->m->keys[w->key];
    if (w->text.len > CANON_KEY_BYTES)
        return walk_fail(w, err_field(w->e, ERR_INVALID, k->parts[0].field,
                                      "key '%s' is over %d bytes", k->name, CANON_KEY_BYTES));
    if (!list_has(w->list, w->text.data, w->text.len) &&
        json_array_append_new(w->list, json_stringn(w->text.data, w->text.len)) != 0)
        return walk_fail(w,
                         err_field(w->e, ERR_INVALID, k->name, "key '%s' is not UTF-8", k->name));
    return 0;
}

static int part_plain(struct walk *w, const struct canon_key_part *p, const json_t *v)
{
    if (json_is_string(v)) {
        canon_normalise(p->norm, json_string_value(v), json_string_length(v), &w->text);
        return 0;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(CANON_BODY_MAX);
    int rc = json_print_sorted(v, &text, w->e);
    if (rc == 0)
        canon_normalise(p->norm, buf_str(&text), text.len, &w->text);
    return rc;
}

/* The part is worked: on to the next, or, when it gave nothing, to the next key. */
static void part_end(struct walk *w)
{
    const struct canon_key *k = &w->m->keys[w->key];
    w->asked = false;
    /* A text that broke off must not pass for a part that is not given. */
    int rc = w->text.len > CANON_KEY_BYTES ? 0 : buf_check(&w->text, "a key", w->e);
    if (rc != 0) {
        walk_fail(w, rc);
        return;
    }
    bool given = w->text.len > w->from;
    if (given && ++w->part < k->parts_count)
        return;
    if (given && key_end(w) != 0)
        return;
    if (++w->key < w->m->keys_count)
        key_begin(w);
}

/* The value that a function is wanted for; NULL: the part is worked, or failed. */
static const json_t *part_begin(struct walk *w)
{
    const struct canon_key *k = &w->m->keys[w->key];
    const struct canon_key_part *p = &k->parts[w->part];
    const json_t *v = json_path(w->data, p->field);
    if (w->part > 0)
        buf_addc(&w->text, KEY_JOIN);
    w->from = w->text.len;
    if (v != NULL && !json_is_null(v)) {
        if (p->norm == NORM_FUNCTION)
            return v;
        int rc = part_plain(w, p, v);
        if (rc != 0) {
            walk_fail(w, rc);
            err_context(w->e, "key '%s'", k->name);
            return NULL;
        }
    }
    part_end(w);
    return NULL;
}

static bool walk_next(struct canon_norms *norms, int *function, const json_t **value)
{
    struct walk *w = (struct walk *)norms;
    if (w->asked) /* it gave no key */
        part_end(w);
    while (w->rc == 0 && w->key < w->m->keys_count) {
        const json_t *v = part_begin(w);
        if (v == NULL)
            continue;
        w->asked = true;
        *function = w->m->keys[w->key].parts[w->part].function;
        *value = v;
        return true;
    }
    return false;
}

static void walk_took(struct canon_norms *norms, const char *text, size_t n)
{
    struct walk *w = (struct walk *)norms;
    buf_add(&w->text, text, n);
    part_end(w);
}

static bool model_has_functions(const struct canon_model *m)
{
    for (size_t i = 0; i < m->keys_count; i++)
        for (size_t k = 0; k < m->keys[i].parts_count; k++)
            if (m->keys[i].parts[k].norm == NORM_FUNCTION)
                return true;
    return false;
}

static int walk_run(struct walk *w, struct canon_hooks *hooks)
{
    int function;
    const json_t *v;
    if (hooks != NULL && model_has_functions(w->m)) {
        int rc = hooks->normalise(hooks, w->m->name, &w->norms, w->e);
        if (rc != 0)
            return w->asked ? err_context(w->e, "key '%s'", w->m->keys[w->key].name) : rc;
    } else if (walk_next(&w->norms, &function, &v)) {
        const struct canon_key *k = &w->m->keys[w->key];
        err_set(w->e, ERR_UNAVAILABLE, "key function of '%s': no scripts loaded",
                k->parts[w->part].field);
        return err_context(w->e, "key '%s'", k->name);
    }
    return w->rc;
}

int canon_keys_of(const struct canon_model *m, const json_t *data, struct canon_hooks *hooks,
                  json_t **out, struct err *e)
{
    struct err own;
    if (e == NULL) { /* err_context needs one */
        err_clear(&own);
        e = &own;
    }
    struct walk w = {.norms = {walk_next, walk_took}, .m = m, .data = data, .e = e};
    if (m->keys_count == 0) {
        *out = json_array();
        return 0;
    }
    w.list = json_array();
    buf_init(&w.text, 4 * CANON_BODY_MAX);
    key_begin(&w);
    int rc = walk_run(&w, hooks);
    buf_fini(&w.text);
    if (rc == 0)
        *out = TAKE(w.list);
    json_decref(w.list);
    return rc;
}
