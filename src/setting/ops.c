/* The operation as bytes. */
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "ledger/txn.h"
#include "setting/setting_priv.h"

static int setting_add(struct buf *b, const char *name, const json_t *value, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(SETTING_VALUE_BYTES);
    if (*name == '\0' || strlen(name) > SETTING_NAME_BYTES)
        return err_set(e, ERR_INVALID, "the name of a setting has 1 to %d bytes",
                       SETTING_NAME_BYTES);
    if (!json_is_null(value) && (json_print_sorted(value, &text, e) != 0 || buf_failed(&text)))
        return err_field(e, ERR_TOO_LARGE, name, "%s: a value has at most %d KiB as JSON", name,
                         SETTING_VALUE_BYTES >> 10);
    buf_add_text(b, name);
    buf_add_u8(b, !json_is_null(value));
    if (!json_is_null(value))
        buf_add_bytes(b, text.data, text.len);
    return 0;
}

int setting_txn_change(struct txn *t, uint64_t revision, const json_t *changes, struct err *e)
{
    struct err own = ERR_INIT;
    const char *name;
    json_t *value;
    e = e != NULL ? e : &own;
    if (json_object_size(changes) > SETTING_NAMES_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu settings in one change; at most %d",
                       json_object_size(changes), SETTING_NAMES_MAX);
    AUTO(buf_fini) struct buf items = BUF_INIT(2 * SETTING_BYTES_MAX);
    json_object_foreach((json_t *)changes, name, value)
    {
        if (setting_add(&items, name, value, e) != 0)
            return e->code;
    }
    if (buf_check(&items, "a change of settings", e) != 0)
        return e->code;
    struct buf *b = txn_begin(t, SETTING_OP_CHANGE, 1);
    buf_add_u64(b, revision);
    buf_add_u32(b, (uint32_t)json_object_size(changes));
    buf_add(b, items.data, items.len);
    txn_end(t);
    return 0;
}

int setting_result(struct cursor *result, uint64_t *revision, uint32_t *changed, struct err *e)
{
    *revision = cursor_u64(result);
    *changed = cursor_u32(result);
    return result->bad ? err_set(e, ERR_CORRUPT, "settings: a result of another form") : 0;
}

bool setting_next(struct cursor *items, struct setting_item *out)
{
    *out = (struct setting_item){.name = NULL};
    if (cursor_left(items) == 0)
        return false;
    out->name = cursor_bytes(items, &out->name_n);
    uint8_t kind = cursor_u8(items);
    if (kind == 1)
        out->value = cursor_bytes(items, &out->value_n);
    else if (kind > 1)
        items->bad = true;
    return !items->bad;
}

/* Readers take every row for granted. */
static bool setting_is_right(const struct setting_item *it)
{
    if (it->name_n == 0 || it->name_n > SETTING_NAME_BYTES ||
        memchr(it->name, '\0', it->name_n) != NULL ||
        str_utf8_valid(it->name, it->name_n) != it->name_n)
        return false;
    if (it->value == NULL)
        return true;
    AUTO(json_unref) json_t *v = NULL;
    return it->value_n <= SETTING_VALUE_BYTES &&
           (v = json_read(it->value, it->value_n, NULL)) != NULL && !json_is_null(v);
}

int setting_decode(struct cursor *payload, struct setting_op *out, struct err *e)
{
    struct setting_item it;
    out->revision = cursor_u64(payload);
    out->count = cursor_u32(payload);
    out->items = *payload;
    uint32_t n = 0;
    bool right = !payload->bad && out->count <= SETTING_NAMES_MAX;
    while (right && n < out->count && setting_next(payload, &it)) {
        n++;
        right = setting_is_right(&it);
    }
    if (!right || payload->bad || n != out->count || cursor_left(payload) != 0)
        return err_set(e, ERR_INVALID, "setting.change: malformed payload");
    return 0;
}
