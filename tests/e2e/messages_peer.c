/* What clients of other languages are held against, without a server between: a line of JSON in, a
 * line of JSON out.
 *
 *   {"do":"event","headers":[[name,value],...],"body":base64}
 *       -> {"mode":0,"messages":[{"headers":[...],"body":base64},...]}     the one event, written
 * in the three modes, or {"field":...,"refused":...}
 *   {"do":"sign","secrets":[...],"id":...,"at":ms,"body":base64}  -> {"headers":[...]} */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "bus/webhook.h"
#include "codec/base64.h"
#include "codec/cloudevents.h"
#include "crypt/crypt.h"

enum { HEADERS = 100, ROOM = 64 << 20 };

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    if (s == NULL)
        PANIC("%s is missing", key);
    return s;
}

static void body_of(const json_t *o, struct buf *out)
{
    const char *s = text_of(o, "body");
    ASSERT(base64_decode(BASE64_STD, s, strlen(s), out, NULL) == 0);
}

/* "name: value\r\n" lines as pairs. */
static json_t *pairs_of(const char *lines)
{
    json_t *list = json_array();
    for (const char *end; (end = strstr(lines, "\r\n")) != NULL; lines = end + 2) {
        const char *colon = strstr(lines, ": ");
        ASSERT(colon != NULL && colon < end);
        json_array_append_new(list, json_pack("[s%,s%]", lines, (size_t)(colon - lines), colon + 2,
                                              (size_t)(end - colon) - 2));
    }
    return list;
}

static json_t *message(const char *lines, const void *body, size_t n)
{
    AUTO(buf_fini) struct buf b = BUF_INIT(ROOM);
    base64_encode(BASE64_STD, body, n, &b);
    return json_pack("{s:o,s:s}", "headers", pairs_of(lines), "body", buf_str(&b));
}

static json_t *written(const struct cloudevents *got)
{
    json_t *list = json_array();
    const struct cloudevent *ev = got->events;
    AUTO(buf_fini) struct buf b = BUF_INIT(ROOM);
    ASSERT(cloudevent_write_headers(ev, &b, NULL) == 0);
    json_array_append_new(list, message(buf_str(&b), ev->data, ev->data_n));
    buf_reset(&b);
    ASSERT(cloudevent_write(ev, &b, NULL) == 0);
    json_array_append_new(list,
                          message("Content-Type: " CLOUDEVENT_TYPE "\r\n", buf_str(&b), b.len));
    buf_reset(&b);
    ASSERT(cloudevent_write_batch(ev, 1, &b, NULL) == 0);
    json_array_append_new(
        list, message("Content-Type: " CLOUDEVENT_BATCH_TYPE "\r\n", buf_str(&b), b.len));
    return list;
}

static json_t *do_event(const json_t *in)
{
    struct cloudevent_header headers[HEADERS];
    struct cloudevents got;
    struct err e = ERR_INIT;
    struct arena a;
    AUTO(buf_fini) struct buf body = BUF_INIT(ROOM);
    const json_t *list = json_object_get(in, "headers");
    size_t count = json_array_size(list);
    ASSERT(count <= HEADERS);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(list, i);
        headers[i].name = json_string_value(json_array_get(pair, 0));
        headers[i].value = json_string_value(json_array_get(pair, 1));
    }
    body_of(in, &body);
    arena_init(&a, ROOM);
    json_t *out;
    if (cloudevents_read(headers, count, buf_str(&body), body.len, &a, &got, &e) != 0)
        out = json_pack("{s:s,s:s}", "field", e.field, "refused", e.text);
    else
        out = json_pack("{s:i,s:o}", "mode", (int)got.mode, "messages", written(&got));
    arena_fini(&a);
    return out;
}

static json_t *do_sign(const json_t *in)
{
    struct webhook_secret secrets[WEBHOOK_SECRETS_MAX];
    struct err e = ERR_INIT;
    AUTO(buf_fini) struct buf body = BUF_INIT(ROOM);
    AUTO(buf_fini) struct buf lines = BUF_INIT(ROOM);
    const json_t *list = json_object_get(in, "secrets");
    size_t count = json_array_size(list);
    ASSERT(count <= WEBHOOK_SECRETS_MAX);
    body_of(in, &body);
    for (size_t i = 0; i < count; i++)
        if (webhook_secret_read(json_string_value(json_array_get(list, i)), &secrets[i], &e) != 0)
            PANIC("%s", e.text);
    int64_t at = json_integer_value(json_object_get(in, "at"));
    if (webhook_sign(secrets, count, text_of(in, "id"), at, body.data, body.len, &lines, &e) != 0)
        PANIC("%s", e.text);
    return json_pack("{s:o}", "headers", pairs_of(buf_str(&lines)));
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    ASSERT(crypt_start(NULL) == 0);
    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct err e = ERR_INIT;
        AUTO(json_unref) json_t *in = json_read(line, (size_t)n, &e);
        if (in == NULL)
            PANIC("%s", e.text);
        AUTO(json_unref)
        json_t *out = strcmp(text_of(in, "do"), "sign") == 0 ? do_sign(in) : do_event(in);
        AUTO(buf_fini) struct buf b = BUF_INIT(ROOM);
        ASSERT(json_print(out, &b, NULL) == 0);
        puts(buf_str(&b));
        fflush(stdout);
    }
    free(line);
    return 0;
}
