/* The answer of a route: from what the Lua library made of it to the wire.
 *
 * Made on the script thread, sent on the net thread. Header lines were checked when they were put
 * together (host.header_line), so they are taken apart at their ends. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "bind/route_priv.h"

void bind_answer_init(struct bind_answer *a)
{
    a->status = 0;
    a->type = NULL;
    buf_init(&a->headers, BIND_ANSWER_HEADERS_MAX);
    buf_init(&a->body, BIND_ANSWER_MAX);
}

void bind_answer_fini(struct bind_answer *a)
{
    buf_fini(&a->headers);
    buf_fini(&a->body);
}

static void refuse(lua_State *L, const char *what, const struct err *why)
{
    struct err e;
    err_set(&e, ERR_INTERNAL, "%s: %s%s%s", what, why->field, why->field[0] != '\0' ? ": " : "",
            why->text);
    vm_raise(L, &e);
}

static void take_json(lua_State *L, int at, struct bind_answer *a)
{
    struct err e = ERR_INIT;
    json_t *v = NULL;
    int rc = vm_to_json(L, at, &v, &e);
    if (rc == 0)
        rc = json_print(v, &a->body, &e);
    json_decref(v);
    if (rc != 0)
        refuse(L, "the answer is no JSON", &e);
    vm_charge(L, a->body.len / 16);
}

/* status, type or nil, header lines or nil, is JSON, value */
void bind_answer_take(lua_State *L, int at, struct bind_answer *a)
{
    struct err e = ERR_INIT;
    size_t n = 0;
    const char *s;
    a->status = (int)lua_tointeger(L, at);
    if (lua_isstring(L, at + 1)) {
        if (!str_copy(a->own_type, sizeof a->own_type, lua_tostring(L, at + 1)))
            err_set(&e, ERR_INTERNAL, "over %zu characters", sizeof a->own_type - 1);
        a->type = a->own_type;
    }
    if (e.code != 0)
        refuse(L, "Content-Type", &e);
    s = lua_tolstring(L, at + 2, &n);
    buf_add(&a->headers, s != NULL ? s : "", n);
    if (lua_toboolean(L, at + 3)) {
        take_json(L, at + 4, a);
    } else if ((s = lua_tolstring(L, at + 4, &n)) != NULL) {
        buf_add(&a->body, s, n);
    }
    if (buf_check(&a->headers, "headers", &e) != 0 || buf_check(&a->body, "body", &e) != 0)
        refuse(L, "the answer", &e);
}

/* "Name: value\r\n", again and again. */
static void send_headers(char *p, struct http_request *req)
{
    while (*p != '\0') {
        char *value = strstr(p, ": "), *end = strstr(p, "\r\n");
        *value = *end = '\0';
        http_header(req, p, value + 2);
        p = end + 2;
    }
}

void bind_answer_send(struct bind_answer *a, struct http_request *req)
{
    if (a->headers.len > 0) {
        buf_addc(&a->headers, '\0');
        send_headers(a->headers.data, req);
    }
    buf_fini(&a->headers);
    struct buf body = a->body;
    if (a->status == 204 || a->status == 304 || (a->type == NULL && body.len == 0)) {
        http_respond(req, a->status, NULL, NULL, 0);
        buf_fini(&body);
    } else {
        http_respond_buf(req, a->status, a->type, &body);
    }
}
