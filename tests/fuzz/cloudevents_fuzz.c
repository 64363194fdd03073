/* A request: lines of headers, an empty line, the body. Whatever it is, it is refused with words or
 * its events are events, and stay the same through every mode that they are written in. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "codec/cloudevents.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADERS = 100, ARENA = 16 << 20, OUT = 64 << 20 };

/* Cuts the head into headers; where the body begins. */
static char *split(char *text, struct cloudevent_header *out, size_t *count)
{
    while (*text != '\0' && *text != '\n' && *count < HEADERS) {
        char *line = text, *end = text + strcspn(text, "\n");
        text = *end != '\0' ? end + 1 : end;
        *end = '\0';
        if (end > line && end[-1] == '\r')
            end[-1] = '\0';
        char *colon = strchr(line, ':');
        if (colon == NULL)
            continue;
        *colon = '\0';
        out[(*count)++] = (struct cloudevent_header){line, colon + 1};
    }
    return *text == '\n' ? text + 1 : text;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void check_same(const struct cloudevent *a, const struct cloudevent *b)
{
    ASSERT(same_text(a->id, b->id) && same_text(a->source, b->source));
    ASSERT(same_text(a->type, b->type) && same_text(a->subject, b->subject));
    ASSERT(same_text(a->time, b->time) && same_text(a->dataschema, b->dataschema));
    ASSERT(same_text(a->datacontenttype, b->datacontenttype));
    ASSERT(a->extension_count == b->extension_count);
    for (size_t i = 0; i < a->extension_count; i++)
        ASSERT(same_text(a->extensions[i].name, b->extensions[i].name) &&
               same_text(a->extensions[i].value, b->extensions[i].value));
}

/* JSON may come back written otherwise. */
static void check_data(const struct cloudevent *a, const struct cloudevent *b)
{
    const char *type = a->datacontenttype;
    if (type != NULL && (strcasestr(type, "json") != NULL))
        return;
    ASSERT(a->data_n == b->data_n && (a->data_n == 0 || memcmp(a->data, b->data, a->data_n) == 0));
}

static void check_binary(const struct cloudevent *ev, struct arena *a)
{
    struct cloudevent_header headers[HEADERS];
    struct cloudevents again;
    struct err e = ERR_INIT;
    size_t count = 0;
    AUTO(buf_fini) struct buf b = BUF_INIT(OUT);
    if (cloudevent_write_headers(ev, &b, &e) != 0) {
        ASSERT(strcmp(e.field, "datacontenttype") == 0); /* an event about an event */
        return;
    }
    split(b.data, headers, &count);
    if (cloudevents_read(headers, count, ev->data, ev->data_n, a, &again, NULL) == ERR_TOO_LARGE)
        return; /* for the arena */
    ASSERT(again.mode == CLOUDEVENT_BINARY && again.count == 1);
    check_same(ev, again.events);
    ASSERT(ev->data_n == again.events->data_n);
}

static void check_json(const struct cloudevents *got, struct arena *a)
{
    struct cloudevent_header h = {"content-type", CLOUDEVENT_BATCH_TYPE};
    struct cloudevents again;
    AUTO(buf_fini) struct buf b = BUF_INIT(OUT);
    ASSERT(cloudevent_write_batch(got->events, got->count, &b, NULL) == 0);
    if (cloudevents_read(&h, 1, b.data, b.len, a, &again, NULL) == ERR_TOO_LARGE)
        return;
    ASSERT(again.mode == CLOUDEVENT_BATCH && again.count == got->count);
    for (size_t i = 0; i < got->count; i++) {
        check_same(&got->events[i], &again.events[i]);
        check_data(&got->events[i], &again.events[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cloudevent_header headers[HEADERS];
    struct cloudevents got;
    struct err e = ERR_INIT;
    struct arena a;
    size_t count = 0;
    char *text = mem_strndup((const char *)data, size);
    char *body = split(text, headers, &count);
    size_t n = size - (size_t)(body - text);
    arena_init(&a, ARENA);
    int rc = cloudevents_read(headers, count, body, n, &a, &got, &e);
    ASSERT(rc == 0 || (rc == e.code && e.text[0] != '\0'));
    for (size_t i = 0; rc == 0 && i < got.count; i++) {
        ASSERT(cloudevent_check(&got.events[i], NULL) == 0);
        check_binary(&got.events[i], &a);
    }
    if (rc == 0)
        check_json(&got, &a);
    arena_fini(&a);
    mem_free(text);
    return 0;
}
