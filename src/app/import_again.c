/* Records that a batch's answer refuses only for now: sent once more, alone. */
#include "app/import_priv.h"
#include "base/mem.h"

void import_resend_fini(struct import_resend *r)
{
    buf_fini(&r->body);
    mem_free(r->which);
    *r = (struct import_resend){0};
}

static int import_resend_code(const json_t *result)
{
    const json_t *error = json_object_get(result, "error");
    const char *name = json_string_value(json_object_get(error, "code"));
    return name != NULL ? err_by_name(name) : 0;
}

size_t import_resend(const struct import *im, const struct import_batch *b, const json_t *answer,
                     import_again_cb *again, const void *arg, struct import_resend *out)
{
    const json_t *results = json_object_get(answer, "results");
    *out = (struct import_resend){0};
    buf_init(&out->body, b->body.max);
    if (json_array_size(results) != b->count)
        return 0; /* import_answered says what is wrong with it */
    out->which = mem_new_array(b->count, sizeof *out->which);
    for (size_t i = 0; i < b->count; i++) {
        if (!again(arg, import_resend_code(json_array_get(results, i))))
            continue;
        if (im->o.canon == NULL)
            buf_addc(&out->body, out->count == 0 ? '[' : ',');
        buf_add(&out->body, b->body.data + b->items[i].body_at, b->items[i].body_n);
        out->which[out->count++] = i;
    }
    if (im->o.canon == NULL && out->count > 0)
        buf_addc(&out->body, ']');
    return out->count;
}

int import_resend_merge(json_t *answer, const struct import_resend *r, const json_t *second,
                        struct err *e)
{
    json_t *results = json_object_get(answer, "results");
    const json_t *later = json_object_get(second, "results");
    if (json_array_size(later) != r->count)
        return err_set(e, ERR_INTERNAL, "the server answered %zu results for %zu records",
                       json_array_size(later), r->count);
    for (size_t i = 0; i < r->count; i++)
        json_array_set(results, r->which[i], json_array_get(later, i));
    return 0;
}
