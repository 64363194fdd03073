/* The answer of a fetch, parsed as it comes. */
#include <ctype.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "http/fetch_priv.h"

static struct fetch *answer_of(llhttp_t *p)
{
    return p->data;
}

static int answer_fail(struct fetch *f, int code, const char *words)
{
    err_set(&f->err, code, "%s%s", f->target.authority, words);
    return HPE_USER;
}

static int answer_head(struct fetch *f, struct buf *to, const char *p, size_t n)
{
    f->head_bytes += n;
    if (f->head_bytes > FETCH_HEAD_MAX)
        return answer_fail(f, ERR_TOO_LARGE, ": the headers of the answer are over 64 KiB");
    buf_add(to, p, n);
    return 0;
}

static int answer_name(llhttp_t *p, const char *s, size_t n)
{
    return answer_head(answer_of(p), &answer_of(p)->name, s, n);
}

static int answer_value(llhttp_t *p, const char *s, size_t n)
{
    return answer_head(answer_of(p), &answer_of(p)->value, s, n);
}

static int answer_value_end(llhttp_t *p)
{
    struct fetch *f = answer_of(p);
    for (size_t i = 0; i < f->name.len; i++)
        f->name.data[i] = (char)tolower((unsigned char)f->name.data[i]);
    const char *name = buf_str(&f->name), *had = map_gets(f->answer_headers, name);
    char *now = had == NULL
                    ? mem_strdup(buf_str(&f->value))
                    : mem_printf("%s%s%s", had, strcmp(name, "set-cookie") == 0 ? "\n" : ", ",
                                 buf_str(&f->value));
    mem_free(map_puts(f->answer_headers, name, now));
    buf_reset(&f->name);
    buf_reset(&f->value);
    return 0;
}

static int answer_headers(llhttp_t *p)
{
    struct fetch *f = answer_of(p);
    f->status = llhttp_get_status_code(p);
    if (f->status == 101)
        return answer_fail(f, ERR_UNAVAILABLE, " wants to change the protocol");
    if (p->content_length > f->body_max && p->content_length != UINT64_MAX &&
        strcmp(f->method, "HEAD") != 0)
        return answer_fail(f, ERR_TOO_LARGE, ": the answer is larger than allowed");
    return strcmp(f->method, "HEAD") == 0; /* 1: no body follows */
}

static int answer_body(llhttp_t *p, const char *s, size_t n)
{
    struct fetch *f = answer_of(p);
    if (f->answer.len + n > f->body_max)
        return answer_fail(f, ERR_TOO_LARGE, ": the answer is larger than allowed");
    if (f->fetcher->bytes + n > FETCH_BODIES_MAX)
        return answer_fail(f, ERR_OVERLOADED, ": too many large answers at a time on this node");
    buf_add(&f->answer, s, n);
    if (buf_failed(&f->answer))
        return answer_fail(f, ERR_OVERLOADED, ": no memory for the answer");
    f->fetcher->bytes += n;
    return 0;
}

static int answer_end(llhttp_t *p)
{
    struct fetch *f = answer_of(p);
    if (f->status / 100 == 1) { /* the real one follows */
        map_clear(f->answer_headers, mem_free);
        return 0;
    }
    f->whole = true;
    f->keeps = llhttp_should_keep_alive(p) != 0;
    return HPE_PAUSED;
}

static const llhttp_settings_t answer_settings = {
    .on_header_field = answer_name,
    .on_header_value = answer_value,
    .on_header_value_complete = answer_value_end,
    .on_headers_complete = answer_headers,
    .on_body = answer_body,
    .on_message_complete = answer_end,
};

void fetch_answer_begin(struct fetch *f)
{
    llhttp_init(&f->parser, HTTP_RESPONSE, &answer_settings);
    f->parser.data = f;
    buf_reset(&f->name);
    buf_reset(&f->value);
    f->fetcher->bytes -= f->answer.len;
    buf_fini(&f->answer);
    buf_init(&f->answer, f->body_max);
    map_clear(f->answer_headers, mem_free);
    f->head_bytes = 0;
    f->status = 0;
    f->whole = f->keeps = false;
}

int fetch_answer_take(struct fetch *f, const char *p, size_t n, struct err *e)
{
    llhttp_errno_t rc = n > 0 ? llhttp_execute(&f->parser, p, n) : llhttp_finish(&f->parser);
    if (f->err.code != 0) { /* said by a callback; llhttp hides its code */
        *e = f->err;
        return e->code;
    }
    if (n == 0 && !f->whole)
        return err_set(e, ERR_UNAVAILABLE, "%s closed the connection before its answer was whole",
                       f->target.authority);
    if (rc == HPE_PAUSED && llhttp_get_error_pos(&f->parser) != p + n)
        f->keeps = false; /* more than was asked for */
    if (rc != HPE_OK && rc != HPE_PAUSED)
        return err_set(e, ERR_UNAVAILABLE, "%s does not speak HTTP: %s", f->target.authority,
                       llhttp_get_error_reason(&f->parser));
    return 0;
}
