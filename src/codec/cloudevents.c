#include "codec/cloudevents.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "codec/base64.h"
#include "codec/cloudevents_priv.h"

enum {
    /* An array of a batch and the object of an event go around the data. */
    CLOUDEVENT_DATA_DEPTH = JSON_DEPTH_MAX - 2
};

static const char *cloudevent_value(const struct cloudevent *ev, const char *name)
{
    struct cloudevent copy = *ev;
    return *cloudevent_member(&copy, name);
}

/* ---- Binary ---- */

static void add_header(struct buf *out, const char *name, const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_addf(out, "ce-%s: ", name);
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c > ' ' && c < 0x7f && c != '"' && c != '%') {
            buf_addc(out, *value);
            continue;
        }
        char escape[3] = {'%', digits[c >> 4], digits[c & 15]};
        buf_add(out, escape, sizeof(escape));
    }
    buf_adds(out, "\r\n");
}

int cloudevent_write_headers(const struct cloudevent *ev, struct buf *out, struct err *e)
{
    int rc = cloudevent_check(ev, e);
    if (rc != 0)
        return rc;
    if (cloudevent_is_own(ev->datacontenttype))
        return err_field(e, ERR_INVALID, "datacontenttype",
                         "data of '%.80s' would be read as the event itself; send it structured",
                         ev->datacontenttype);
    add_header(out, "specversion", CLOUDEVENT_VERSION);
    const char *name;
    for (size_t i = 0; (name = cloudevent_member_name(i)) != NULL; i++) {
        const char *value = cloudevent_value(ev, name);
        if (value != NULL && strcmp(name, "datacontenttype") != 0)
            add_header(out, name, value);
    }
    for (size_t i = 0; i < ev->extension_count; i++)
        add_header(out, ev->extensions[i].name, ev->extensions[i].value);
    if (ev->datacontenttype != NULL)
        buf_addf(out, "Content-Type: %s\r\n", ev->datacontenttype);
    return buf_check(out, "an event's headers", e);
}

/* ---- Structured and batch ---- */

static void add_text(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, ",\"%s\":", name);
    json_print_string(out, value, strlen(value));
}

static void add_data(struct buf *out, const struct cloudevent *ev, size_t depth)
{
    if (cloudevent_is_json(ev->datacontenttype) && depth <= CLOUDEVENT_DATA_DEPTH) {
        buf_adds(out, ",\"data\":");
        buf_add(out, ev->data, ev->data_n);
    } else if (cloudevent_is_text(ev->datacontenttype) && str_is_utf8(ev->data, ev->data_n) &&
               (ev->data_n == 0 || memchr(ev->data, '\0', ev->data_n) == NULL)) {
        buf_adds(out, ",\"data\":");
        json_print_string(out, ev->data, ev->data_n);
    } else {
        buf_adds(out, ",\"data_base64\":\"");
        base64_encode(BASE64_STD, ev->data, ev->data_n, out);
        buf_addc(out, '"');
    }
}

int cloudevent_write(const struct cloudevent *ev, struct buf *out, struct err *e)
{
    size_t depth;
    const char *name;
    int rc = cloudevent_check_attributes(ev, e);
    if (rc == 0)
        rc = cloudevent_check_data(ev, &depth, e);
    if (rc != 0)
        return rc;
    buf_adds(out, "{\"specversion\":\"" CLOUDEVENT_VERSION "\"");
    for (size_t i = 0; (name = cloudevent_member_name(i)) != NULL; i++)
        if (cloudevent_value(ev, name) != NULL)
            add_text(out, name, cloudevent_value(ev, name));
    for (size_t i = 0; i < ev->extension_count; i++) {
        const struct cloudevent_extension *x = &ev->extensions[i];
        if (x->kind == CLOUDEVENT_TEXT)
            add_text(out, x->name, x->value);
        else
            buf_addf(out, ",\"%s\":%s", x->name, x->value);
    }
    if (ev->has_data)
        add_data(out, ev, depth);
    buf_addc(out, '}');
    return buf_check(out, "an event", e);
}

int cloudevent_write_batch(const struct cloudevent *events, size_t count, struct buf *out,
                           struct err *e)
{
    if (count > CLOUDEVENT_BATCH_MAX)
        return err_set(e, ERR_TOO_LARGE, "a batch of %zu events; it has at most %d", count,
                       CLOUDEVENT_BATCH_MAX);
    buf_addc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        int rc = cloudevent_write(&events[i], out, e);
        if (rc != 0)
            return rc;
    }
    buf_addc(out, ']');
    return buf_check(out, "a batch", e);
}
