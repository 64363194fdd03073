/* Going past JSON text that is just as json_print() would write it, without making values of it. */
#include <string.h>

#include "base/json_priv.h"
#include "base/str.h"

enum {
    SKIP_MEMBERS_MAX = 64, /* of an object: more are left to whoever makes values */
    SKIP_DIGITS_MAX = 18,  /* that fit an integer whatever they are */
};

struct skip {
    const char *p, *end;
    int depth;
};

/* Keys of an object, to see whether one comes twice. */
struct keys {
    struct str key[SKIP_MEMBERS_MAX];
    size_t count;
    uint64_t seen; /* a bit for each kind of key */
};

static bool skip_value(struct skip *s);

static bool skip_string(struct skip *s, struct str *out)
{
    if (s->p == s->end || *s->p != '"')
        return false;
    const char *from = ++s->p;
    s->p += str_json_plain(s->p, (size_t)(s->end - s->p));
    if (s->p == s->end || *s->p != '"')
        return false;
    *out = (struct str){from, (size_t)(s->p - from)};
    s->p++;
    return true;
}

static bool key_is_new(struct keys *keys, struct str key)
{
    unsigned first = key.n > 0 ? (unsigned char)key.p[0] : 0;
    unsigned last = key.n > 0 ? (unsigned char)key.p[key.n - 1] : 0;
    uint64_t bit = (uint64_t)1 << ((first * 7 + last * 3 + key.n) % 64);
    if (keys->count == SKIP_MEMBERS_MAX)
        return false;
    for (size_t i = 0; (keys->seen & bit) != 0 && i < keys->count; i++)
        if (keys->key[i].n == key.n && memcmp(keys->key[i].p, key.p, key.n) == 0)
            return false;
    keys->seen |= bit;
    keys->key[keys->count++] = key;
    return true;
}

static bool skip_char(struct skip *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool skip_members(struct skip *s)
{
    struct keys keys;
    struct str key;
    keys.count = 0;
    keys.seen = 0;
    do {
        if (!skip_string(s, &key) || !key_is_new(&keys, key) || !skip_char(s, ':') ||
            !skip_value(s))
            return false;
    } while (skip_char(s, ','));
    return skip_char(s, '}');
}

static bool skip_items(struct skip *s)
{
    do {
        if (!skip_value(s))
            return false;
    } while (skip_char(s, ','));
    return skip_char(s, ']');
}

static bool skip_nested(struct skip *s, char end, bool (*inside)(struct skip *s))
{
    s->p++;
    if (skip_char(s, end))
        return true;
    if (s->depth == JSON_DEPTH_MAX)
        return false;
    s->depth++;
    bool ok = inside(s);
    s->depth--;
    return ok;
}

/* Whether a real is written as we write it only its value can tell. */
static bool skip_real(struct skip *s)
{
    struct json_note note = {.member = ""};
    struct json_place from = {1, 1, 0};
    struct json_reader r = {.text = s->p, .p = s->p, .end = s->end, .from = &from, .note = &note};
    json_t *v = json_read_number(&r);
    bool ok = v != NULL && r.odd == 0;
    json_decref(v);
    s->p = r.p;
    return ok;
}

static bool skip_number(struct skip *s)
{
    const char *p = s->p + (*s->p == '-'), *from = p;
    while (p < s->end && *p >= '0' && *p <= '9')
        p++;
    size_t digits = (size_t)(p - from);
    bool whole = p == s->end || !json_is_word(*p);
    if (!whole || digits == 0 || digits > SKIP_DIGITS_MAX)
        return skip_real(s);
    if (*from == '0' && (digits > 1 || from != s->p))
        return false;
    s->p = p;
    return true;
}

static bool skip_word(struct skip *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return s->p == s->end || !json_is_word(*s->p);
}

static bool skip_value(struct skip *s)
{
    struct str text;
    switch (s->p < s->end ? *s->p : '\0') {
    case '{':
        return skip_nested(s, '}', skip_members);
    case '[':
        return skip_nested(s, ']', skip_items);
    case '"':
        return skip_string(s, &text);
    case '-':
    case '0' ... '9':
        return skip_number(s);
    case 't':
        return skip_word(s, "true");
    case 'f':
        return skip_word(s, "false");
    default:
        return skip_word(s, "null");
    }
}

bool json_skip_printed(struct json_reader *r)
{
    struct skip s = {.p = r->p, .end = r->end, .depth = r->depth};
    if (!skip_value(&s))
        return false;
    r->p = s.p;
    return true;
}
