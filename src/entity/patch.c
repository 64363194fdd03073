#include "entity/patch.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"

enum { POINTER_TOKENS_MAX = JSON_DEPTH_MAX, PATCH_VALUE_BYTES = 64 };

/* ---- merge-patch ---- */

static int merge(json_t **doc, const json_t *patch, int depth, struct err *e)
{
    if (depth > JSON_DEPTH_MAX)
        return err_set(e, ERR_INVALID, "patch: nested deeper than %d", JSON_DEPTH_MAX);
    if (!json_is_object(patch)) {
        json_t *copy = json_deep_copy(patch);
        if (copy == NULL)
            return err_set(e, ERR_NOMEM, "patch: no memory");
        json_decref(*doc);
        *doc = copy;
        return 0;
    }
    if (!json_is_object(*doc)) {
        json_decref(*doc);
        *doc = json_object();
    }
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)patch, key, v)
    {
        if (json_is_null(v)) {
            json_object_del(*doc, key);
            continue;
        }
        json_t *member = json_incref(json_object_get(*doc, key));
        if (member == NULL)
            member = json_null();
        int rc = merge(&member, v, depth + 1, e);
        if (rc < 0) {
            json_decref(member);
            return rc;
        }
        json_object_set_new(*doc, key, member);
    }
    return 0;
}

int patch_merge(json_t **doc, const json_t *patch, struct err *e)
{
    return merge(doc, patch, 0, e);
}

/* ---- JSON pointer ---- */

struct pointer {
    char text[PATCH_POINTER_MAX + 1]; /* tokens, decoded, each with its NUL */
    const char *tokens[POINTER_TOKENS_MAX];
    size_t count;
};

static int pointer_parse(const json_t *v, const char *what, struct pointer *out, struct err *e)
{
    if (!json_is_string(v))
        return err_set(e, ERR_INVALID, "'%s' wants a JSON pointer like \"/name\"", what);
    const char *s = json_string_value(v);
    out->count = 0;
    if (json_string_length(v) > PATCH_POINTER_MAX)
        return err_set(e, ERR_TOO_LARGE, "'%s' has over %d bytes", what, PATCH_POINTER_MAX);
    if (*s != '\0' && *s != '/')
        return err_set(e, ERR_INVALID, "'%s' wants a / in front: \"%.64s\"", what, s);
    char *w = out->text;
    while (*s == '/') {
        if (out->count == POINTER_TOKENS_MAX)
            return err_set(e, ERR_TOO_LARGE, "'%s' is deeper than %d", what, POINTER_TOKENS_MAX);
        out->tokens[out->count++] = w;
        for (s++; *s != '\0' && *s != '/'; s++) {
            char c = *s;
            if (c == '~') {
                s++;
                if (*s != '0' && *s != '1')
                    return err_set(e, ERR_INVALID, "'%s': ~ is followed by 0 or 1 only", what);
                c = *s == '0' ? '~' : '/';
            }
            *w++ = c;
        }
        *w++ = '\0';
    }
    return 0;
}

static bool pointer_is_prefix(const struct pointer *a, const struct pointer *b)
{
    for (size_t i = 0; i < a->count; i++) {
        if (i >= b->count || strcmp(a->tokens[i], b->tokens[i]) != 0)
            return false;
    }
    return a->count < b->count;
}

/* An array index of the standard's form; `limit` is the largest allowed. */
static int index_parse(const char *token, size_t limit, size_t *out, struct err *e)
{
    uint64_t n;
    size_t len = strlen(token);
    if (len == 0 || (len > 1 && token[0] == '0') || token[0] == '+' || token[0] == '-' ||
        !str_to_u64(token, len, &n))
        return err_set(e, ERR_INVALID, "'%.32s' is not an index of a list", token);
    if (n > limit)
        return err_set(e, ERR_CONFLICT, "there is no element %.32s in this record", token);
    *out = (size_t)n;
    return 0;
}

static int absent(struct err *e, const char *token)
{
    return err_set(e, ERR_CONFLICT, "there is no '%.64s' in this record", token);
}

static int child(json_t *v, const char *token, json_t **out, struct err *e)
{
    if (json_is_object(v)) {
        *out = json_object_get(v, token);
        return *out != NULL ? 0 : absent(e, token);
    }
    if (!json_is_array(v))
        return err_set(e, ERR_CONFLICT, "'%.64s' looks into %s", token, json_type_name(v));
    if (json_array_size(v) == 0)
        return absent(e, token);
    size_t i;
    int rc = index_parse(token, json_array_size(v) - 1, &i, e);
    if (rc == 0)
        *out = json_array_get(v, i);
    return rc;
}

/* The value at the first `count` tokens. Borrowed. */
static int resolve(json_t *doc, const struct pointer *p, size_t count, json_t **out, struct err *e)
{
    *out = doc;
    for (size_t i = 0; i < count; i++) {
        int rc = child(*out, p->tokens[i], out, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the operations; `value` is always taken ---- */

static int do_add(json_t **doc, const struct pointer *p, json_t *value, struct err *e)
{
    AUTO(json_unref) json_t *v = value;
    if (p->count == 0) {
        json_decref(*doc);
        *doc = TAKE(v);
        return 0;
    }
    json_t *parent;
    const char *last = p->tokens[p->count - 1];
    int rc = resolve(*doc, p, p->count - 1, &parent, e);
    if (rc < 0)
        return rc;
    if (json_is_object(parent))
        return json_object_set_new(parent, last, TAKE(v)) == 0
                   ? 0
                   : err_set(e, ERR_INVALID, "'%.64s' cannot be a name", last);
    if (!json_is_array(parent))
        return err_set(e, ERR_CONFLICT, "'%.64s' looks into %s", last, json_type_name(parent));
    size_t i = json_array_size(parent);
    if (strcmp(last, "-") != 0 && (rc = index_parse(last, i, &i, e)) < 0)
        return rc;
    json_array_insert_new(parent, i, TAKE(v));
    return 0;
}

static int do_remove(json_t *doc, const struct pointer *p, struct err *e)
{
    if (p->count == 0)
        return err_set(e, ERR_INVALID, "a patch cannot remove the whole record; use DELETE");
    json_t *parent, *v;
    const char *last = p->tokens[p->count - 1];
    int rc = resolve(doc, p, p->count - 1, &parent, e);
    if (rc < 0 || (rc = child(parent, last, &v, e)) < 0)
        return rc;
    if (json_is_object(parent))
        return json_object_del(parent, last);
    size_t i = 0;
    index_parse(last, json_array_size(parent), &i, NULL);
    return json_array_remove(parent, i);
}

static int do_replace(json_t **doc, const struct pointer *p, json_t *value, struct err *e)
{
    AUTO(json_unref) json_t *v = value;
    json_t *parent, *old;
    if (p->count == 0)
        return do_add(doc, p, TAKE(v), e);
    int rc = resolve(*doc, p, p->count, &old, e);
    if (rc < 0)
        return rc;
    resolve(*doc, p, p->count - 1, &parent, NULL);
    if (json_is_object(parent)) {
        json_object_set_new(parent, p->tokens[p->count - 1], TAKE(v));
        return 0;
    }
    size_t i = 0;
    index_parse(p->tokens[p->count - 1], json_array_size(parent), &i, NULL);
    json_array_set_new(parent, i, TAKE(v));
    return 0;
}

/* What a copy costs: the bytes of its texts, and for each value what jansson takes for it, about.
 */
static size_t tree_bytes(const json_t *v)
{
    size_t n = PATCH_VALUE_BYTES + json_string_length(v), i;
    const char *key;
    json_t *item;
    json_array_foreach(v, i, item) n += tree_bytes(item);
    json_object_foreach((json_t *)v, key, item) n += strlen(key) + tree_bytes(item);
    return n;
}

static int do_move(json_t **doc, const struct pointer *from, const struct pointer *to,
                   struct err *e)
{
    if (pointer_is_prefix(from, to))
        return err_set(e, ERR_INVALID, "a value cannot be moved into itself");
    json_t *v;
    int rc = resolve(*doc, from, from->count, &v, e);
    if (rc < 0)
        return rc;
    if (from->count == to->count) {
        /* Onto itself: nothing to do. Equal length and not equal falls through. */
        size_t i = 0;
        while (i < from->count && strcmp(from->tokens[i], to->tokens[i]) == 0)
            i++;
        if (i == from->count)
            return 0;
    }
    json_incref(v);
    if ((rc = do_remove(*doc, from, e)) < 0) {
        json_decref(v);
        return rc;
    }
    return do_add(doc, to, v, e);
}

static int do_copy(json_t **doc, const struct pointer *from, const struct pointer *to,
                   size_t *budget, struct err *e)
{
    json_t *v;
    int rc = resolve(*doc, from, from->count, &v, e);
    if (rc < 0)
        return rc;
    size_t n = tree_bytes(v);
    if (n > *budget)
        return err_set(e, ERR_TOO_LARGE, "the copies of this patch make over %d bytes",
                       PATCH_COPIES_MAX);
    *budget -= n;
    return do_add(doc, to, json_deep_copy(v), e);
}

static int do_test(json_t *doc, const struct pointer *p, const json_t *want, struct err *e)
{
    json_t *v;
    int rc = resolve(doc, p, p->count, &v, e);
    if (rc < 0)
        return rc;
    return json_compare(v, want) == 0 ? 0 : err_set(e, ERR_CONFLICT, "the test failed");
}

/* ---- one operation ---- */

enum verb { VERB_ADD, VERB_REMOVE, VERB_REPLACE, VERB_MOVE, VERB_COPY, VERB_TEST, VERB_COUNT };

static const char *const verb_names[VERB_COUNT] = {"add",  "remove", "replace",
                                                   "move", "copy",   "test"};

struct operation {
    enum verb verb;
    struct pointer path, from;
    const json_t *value;
};

static int operation_parse(const json_t *j, struct operation *out, struct err *e)
{
    const char *name;
    int rc = json_get_string(j, "op", &name, e);
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? err_set(e, ERR_INVALID, "has no \"op\"") : rc;
    int v = 0;
    while (v < VERB_COUNT && strcmp(verb_names[v], name) != 0)
        v++;
    if (v == VERB_COUNT) {
        const char *near = str_nearest(name, verb_names, VERB_COUNT);
        return err_set(e, ERR_INVALID, "there is no op '%.32s'; did you mean '%s'?", name,
                       near != NULL ? near : "replace");
    }
    out->verb = (enum verb)v;
    if ((rc = pointer_parse(json_object_get(j, "path"), "path", &out->path, e)) < 0)
        return rc;
    bool has_from = v == VERB_MOVE || v == VERB_COPY;
    bool has_value = v == VERB_ADD || v == VERB_REPLACE || v == VERB_TEST;
    if (has_from && (rc = pointer_parse(json_object_get(j, "from"), "from", &out->from, e)) < 0)
        return rc;
    out->value = json_object_get(j, "value");
    if (has_value && out->value == NULL)
        return err_set(e, ERR_INVALID, "op '%s' wants a \"value\"", name);
    return 0;
}

static int operation_apply(json_t **doc, const struct operation *op, size_t *budget, struct err *e)
{
    switch (op->verb) {
    case VERB_ADD:
        return do_add(doc, &op->path, json_deep_copy(op->value), e);
    case VERB_REMOVE:
        return do_remove(*doc, &op->path, e);
    case VERB_REPLACE:
        return do_replace(doc, &op->path, json_deep_copy(op->value), e);
    case VERB_MOVE:
        return do_move(doc, &op->from, &op->path, e);
    case VERB_COPY:
        return do_copy(doc, &op->from, &op->path, budget, e);
    case VERB_TEST:
        return do_test(*doc, &op->path, op->value, e);
    case VERB_COUNT:
        break;
    }
    PANIC("verb %d", (int)op->verb);
}

static int each_operation(json_t **doc, const json_t *patch, struct err *e)
{
    if (!json_is_array(patch))
        return err_set(e, ERR_INVALID, "a JSON-patch is a list of operations, got %s",
                       json_type_name(patch));
    if (json_array_size(patch) > PATCH_OPS_MAX)
        return err_set(e, ERR_TOO_LARGE, "a JSON-patch has at most %d operations", PATCH_OPS_MAX);
    size_t i, budget = PATCH_COPIES_MAX;
    json_t *j;
    json_array_foreach(patch, i, j)
    {
        struct operation op;
        int rc = operation_parse(j, &op, e);
        if (rc == 0 && doc != NULL)
            rc = operation_apply(doc, &op, &budget, e);
        if (rc < 0) {
            const char *path = json_string_value(json_object_get(j, "path"));
            return err_context(e, "operation %zu (%.64s)", i + 1, path != NULL ? path : "");
        }
    }
    return 0;
}

int patch_json(json_t **doc, const json_t *patch, struct err *e)
{
    struct err own = ERR_INIT;
    return each_operation(doc, patch, e != NULL ? e : &own);
}

int patch_check(enum entity_patch_kind kind, const json_t *patch, struct err *e)
{
    struct err own = ERR_INIT;
    if (kind == ENTITY_PATCH_JSON)
        return each_operation(NULL, patch, e != NULL ? e : &own);
    if (!json_is_object(patch))
        return err_set(e, ERR_INVALID, "a merge-patch of a record is an object, got %s",
                       json_type_name(patch));
    return 0;
}
