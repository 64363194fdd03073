#include "app/labels.h"

#include <ctype.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "queue/core.h"

_Static_assert((int)LABELS_MAX == (int)CORE_LABELS_MAX - 1, "and `node`");
_Static_assert((int)LABELS_TEXT_BYTES <= (int)CORE_TEXT_MAX, "as consumers have them");

#define LABELS_NODE "node"
#define LABELS_BETWEEN " ,\t\n"

enum { LABELS_BYTES = 16 << 10 };

static bool label_is_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]) && strchr("._/-", name[i]) == NULL)
            return false;
    return n > 0 && n <= LABELS_NAME_BYTES;
}

static int label_check_name(const char *name, struct err *e)
{
    if (label_is_name(name))
        return 0;
    return err_set(e, ERR_INVALID,
                   "'%.140s' is no name of a label: 1 to %d letters, digits and . _ / - are", name,
                   LABELS_NAME_BYTES);
}

static int label_check(const char *name, const json_t *v, struct err *e)
{
    if (label_check_name(name, e) != 0)
        return e->code;
    if (strcmp(name, LABELS_NODE) == 0)
        return err_set(e, ERR_INVALID, "the label 'node' is always there: it is the node's id");
    if (json_is_true(v))
        return 0;
    if (json_is_string(v) && json_string_length(v) > 0 &&
        json_string_length(v) <= LABELS_TEXT_BYTES &&
        strlen(json_string_value(v)) == json_string_length(v))
        return 0;
    if (json_is_integer(v) && json_integer_value(v) > 0 && json_integer_value(v) <= UINT32_MAX)
        return 0;
    return err_set(e, ERR_INVALID,
                   "label '%s': true, a text of 1 to %d bytes or a number from 1 to 4294967295 was "
                   "expected",
                   name, LABELS_TEXT_BYTES);
}

static int labels_check(const json_t *labels, struct err *e)
{
    const char *name;
    json_t *v;
    if (json_object_size(labels) > LABELS_MAX)
        return err_set(e, ERR_INVALID, "%zu labels: at most %d, `node` is there besides",
                       json_object_size(labels), LABELS_MAX);
    json_object_foreach((json_t *)labels, name, v)
    {
        if (label_check(name, v, e) != 0)
            return e->code;
    }
    return 0;
}

/* Digits alone are a number, be it too large; nothing is `true`. */
static json_t *label_value(const char *text)
{
    int64_t number = INT64_MAX;
    if (text == NULL)
        return json_true();
    if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
        return json_string(text);
    if (!str_to_i64(text, strlen(text), &number))
        number = INT64_MAX;
    return json_integer(number);
}

/* "gpu=2", "zone=a", "ssd" */
static int label_word(json_t *labels, const char *word, struct err *e)
{
    const char *equals = strchr(word, '=');
    AUTO(mem_freep)
    char *name = mem_strndup(word, equals != NULL ? (size_t)(equals - word) : strlen(word));
    if (json_object_get(labels, name) != NULL)
        return err_set(e, ERR_INVALID, "label '%.140s' is there twice", name);
    AUTO(json_unref) json_t *v = label_value(equals != NULL ? equals + 1 : NULL);
    if (v == NULL)
        return err_set(e, ERR_INVALID, "label '%.140s': its text is not UTF-8", name);
    if (label_check(name, v, e) != 0)
        return e->code;
    json_object_set(labels, name, v);
    return 0;
}

static int labels_words(char *text, json_t *labels, struct err *e)
{
    char *at = NULL;
    for (char *word = strtok_r(text, LABELS_BETWEEN, &at); word != NULL;
         word = strtok_r(NULL, LABELS_BETWEEN, &at))
        if (label_word(labels, word, e) != 0)
            return e->code;
    return labels_check(labels, e);
}

int labels_read(const char *text, json_t **out, struct err *e)
{
    AUTO(json_unref) json_t *labels = NULL;
    int rc = 0;
    if (strlen(text) > LABELS_BYTES)
        return err_set(e, ERR_INVALID, "over %d bytes of labels", LABELS_BYTES);
    if (text[strspn(text, LABELS_BETWEEN)] == '{') {
        labels = json_read(text, strlen(text), e);
        rc = labels == NULL ? e->code : labels_check(labels, e);
    } else {
        AUTO(mem_freep) char *words = mem_strdup(text);
        labels = json_object();
        rc = labels_words(words, labels, e);
    }
    if (rc == 0)
        *out = TAKE(labels);
    return rc;
}

int labels_read_names(const char *text, json_t **out, struct err *e)
{
    AUTO(mem_freep) char *words = mem_strdup(text);
    AUTO(json_unref) json_t *names = json_array();
    char *at = NULL;
    for (char *word = strtok_r(words, LABELS_BETWEEN, &at); word != NULL;
         word = strtok_r(NULL, LABELS_BETWEEN, &at)) {
        if (label_check_name(word, e) != 0)
            return e->code;
        if (json_array_size(names) > LABELS_MAX)
            return err_set(e, ERR_INVALID, "at most %d names", LABELS_MAX + 1);
        json_array_append_new(names, json_string(word));
    }
    *out = TAKE(names);
    return 0;
}

char *labels_text(const json_t *v, bool names)
{
    struct buf b = BUF_INIT(LABELS_BYTES);
    size_t i;
    json_t *name;
    bool empty = json_is_array(v) && json_array_size(v) == 0; /* Lua's {} */
    if (json_is_object(v) && !names) {
        json_print(v, &b, NULL);
    } else if (json_is_array(v) && (names || empty)) {
        json_array_foreach((json_t *)v, i, name)
        {
            /* Anything but a text is as wrong as a name that is none. */
            buf_addf(&b, "%s%s", i > 0 ? " " : "",
                     json_is_string(name) ? json_string_value(name) : "?");
        }
    } else {
        return NULL;
    }
    if (buf_failed(&b)) {
        buf_fini(&b);
        return NULL;
    }
    return buf_take(&b);
}

int labels_check_only(const char *labels, const char *only, struct err *e)
{
    AUTO(json_unref) json_t *has = NULL;
    AUTO(json_unref) json_t *names = NULL;
    size_t i;
    json_t *name;
    if (labels_read(labels, &has, e) != 0 || labels_read_names(only, &names, e) != 0)
        return e->code;
    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);
        if (strcmp(text, LABELS_NODE) != 0 && json_object_get(has, text) == NULL)
            return err_set(e, ERR_INVALID,
                           "'%s' is no label of this node, which then took nothing, ever; give it "
                           "the label in node.labels",
                           text);
    }
    return 0;
}
