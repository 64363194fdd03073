/* What json_read takes must be what jansson's own reader takes, and the same value; it must print,
 * read back as an equal value, and print the same again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_against_jansson(const uint8_t *data, size_t size, json_t *v, const struct err *e)
{
    /* It goes deeper than we do, and skips a NUL between tokens. */
    if (strstr(e->text, "nested deeper") != NULL || memchr(data, '\0', size) != NULL)
        return;
    AUTO(json_unref)
    json_t *theirs =
        json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    ASSERT((theirs != NULL) == (v != NULL));
    ASSERT(v == NULL || json_equal(v, theirs));
}

/* A text that is noted is what printing its value gives; what was printed once is noted. */
static void check_note(const char *text, size_t n, bool printed)
{
    static const struct json_place start = {1, 1, 0};
    struct json_note note = {.member = "m"};
    AUTO(buf_fini) struct buf object = BUF_INIT(8 << 20);
    AUTO(buf_fini) struct buf own = BUF_INIT(8 << 20);
    buf_adds(&object, "{\"m\":");
    buf_add(&object, text, n);
    buf_addc(&object, '}');
    AUTO(json_unref) json_t *v = json_read_noting(object.data, object.len, &start, &note, NULL);
    const json_t *m = json_object_get(v, "m");
    ASSERT(!printed || m == NULL || note.text != NULL || memchr(text, '\\', n) != NULL);
    if (m == NULL || note.text == NULL)
        return;
    ASSERT(json_print(m, &own, NULL) == 0);
    ASSERT(own.len == note.n && memcmp(own.data, note.text, note.n) == 0);
}

/* What is spared reads as what is made of it, and prints as it is written. */
static void check_spared(const char *text, size_t n)
{
    static const struct json_place start = {1, 1, 0};
    struct json_note note = {.member = "m", .spare = true};
    AUTO(buf_fini) struct buf object = BUF_INIT(8 << 20);
    AUTO(buf_fini) struct buf own = BUF_INIT(8 << 20);
    buf_adds(&object, "{\"m\":");
    buf_add(&object, text, n);
    buf_addc(&object, '}');
    AUTO(json_unref) json_t *v = json_read_noting(object.data, object.len, &start, &note, NULL);
    AUTO(json_unref) json_t *made = json_read(object.data, object.len, NULL);
    ASSERT((v == NULL) == (made == NULL));
    if (v == NULL || !note.spared)
        return;
    ASSERT(json_is_true(json_object_get(v, "m")));
    ASSERT(json_print(json_object_get(made, "m"), &own, NULL) == 0);
    ASSERT(own.len == note.n && memcmp(own.data, note.text, note.n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_spared((const char *)data, size);
    struct err e = ERR_INIT;
    AUTO(json_unref) json_t *v = json_read((const char *)data, size, &e);
    check_against_jansson(data, size, v, &e);
    ASSERT((v == NULL) == (e.code == ERR_INVALID) && (v != NULL || e.text[0] != '\0'));
    if (v == NULL)
        return 0;
    AUTO(buf_fini) struct buf once = BUF_INIT(8 << 20);
    AUTO(buf_fini) struct buf twice = BUF_INIT(8 << 20);
    ASSERT(json_print(v, &once, NULL) == 0);
    check_note((const char *)data, size, false);
    check_note(once.data, once.len, true);
    AUTO(json_unref) json_t *back = json_read(once.data, once.len, &e);
    ASSERT(back != NULL && json_compare(v, back) == 0 && json_equal(v, back));
    ASSERT(json_print(back, &twice, NULL) == 0);
    ASSERT(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    buf_reset(&once);
    buf_reset(&twice);
    ASSERT(json_print_sorted(v, &once, NULL) == 0 && json_print_sorted(back, &twice, NULL) == 0);
    ASSERT(strcmp(once.data, twice.data) == 0);
    return 0;
}
