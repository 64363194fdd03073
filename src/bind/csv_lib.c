/* csv: texts of rows, read and written as RFC 4180 says. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "bind/bind_priv.h"
#include "codec/csv.h"

enum { CSV_STEPS_PER_FIELD = 4, CSV_ROWS_MAX = 1000000 };

static void csv_guard_free(void *p)
{
    csv_free(p);
}

static char check_separator(lua_State *L, int at)
{
    size_t n;
    const char *s = luaL_optlstring(L, at, ",", &n);
    if (n == 1 && strchr("\"\r\n", *s) == NULL)
        return *s;
    struct err e;
    err_field(&e, ERR_INVALID, "separator", "csv: the separator is one character, and no quote");
    vm_raise(L, &e);
    return ',';
}

static void push_row(lua_State *L, const struct csv *c, const struct csv_record *rec)
{
    size_t columns = 0;
    const struct str *names = csv_columns(c, &columns);
    vm_charge(L, rec->count * CSV_STEPS_PER_FIELD);
    lua_createtable(L, names == NULL ? (int)rec->count : 0, names != NULL ? (int)rec->count : 0);
    for (size_t i = 0; i < rec->count; i++) {
        if (names != NULL && i < columns) {
            lua_pushlstring(L, names[i].p, names[i].n);
            lua_pushlstring(L, rec->fields[i].p, rec->fields[i].n);
            lua_rawset(L, -3);
        } else {
            lua_pushlstring(L, rec->fields[i].p, rec->fields[i].n);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
    }
    if (names == NULL)
        vm_mark_list(L);
}

static void push_columns(lua_State *L, const struct csv *c)
{
    size_t n = 0;
    const struct str *names = csv_columns(c, &n);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n && names != NULL; i++) {
        lua_pushlstring(L, names[i].p, names[i].n);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    vm_mark_list(L);
}

/* host.csv_parse(text, header, separator) -> rows, columns */
static int csv_lib_parse(lua_State *L)
{
    size_t n;
    const char *s = luaL_checklstring(L, 1, &n);
    struct csv_options o = {.delimiter = check_separator(L, 3), .header = lua_toboolean(L, 2)};
    struct vm_guard *g = vm_guard_push(L, csv_guard_free);
    struct csv *c = g->p = csv_new(&o);
    lua_newtable(L);
    int rows = lua_gettop(L);
    struct csv_record rec = {0};
    struct err e = ERR_INIT;
    int rc, count = 0;
    vm_charge(L, n / 16);
    csv_feed(c, s, n);
    for (int ended = 0; ended < 2; ended++) {
        while ((rc = csv_next(c, &rec, &e)) != 0) {
            if (rc < 0) {
                err_context(&e, "csv.parse");
                return vm_raise(L, &e);
            }
            if (count == CSV_ROWS_MAX)
                return luaL_error(L, "csv.parse: over %d rows; import them with `koan import`",
                                  CSV_ROWS_MAX);
            push_row(L, c, &rec);
            lua_rawseti(L, rows, ++count);
        }
        if (ended == 0)
            csv_finish(c);
    }
    lua_settop(L, rows);
    vm_mark_list(L);
    push_columns(L, c);
    return 2;
}

static bool needs_quotes(const char *s, size_t n, char separator)
{
    return memchr(s, separator, n) != NULL || memchr(s, '"', n) != NULL ||
           memchr(s, '\n', n) != NULL || memchr(s, '\r', n) != NULL ||
           (n > 0 && (s[0] == ' ' || s[n - 1] == ' '));
}

static void add_field(struct buf *b, const char *s, size_t n, char separator)
{
    if (!needs_quotes(s, n, separator)) {
        buf_add(b, s, n);
        return;
    }
    buf_addc(b, '"');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            buf_addc(b, '"');
        buf_addc(b, s[i]);
    }
    buf_addc(b, '"');
}

static void add_value(struct buf *b, const json_t *v, char separator)
{
    if (v == NULL || json_is_null(v))
        return;
    if (json_is_string(v)) {
        add_field(b, json_string_value(v), json_string_length(v), separator);
        return;
    }
    AUTO(buf_fini) struct buf text = BUF_INIT(BIND_TEXT_MAX);
    json_print(v, &text, NULL);
    add_field(b, buf_str(&text), text.len, separator);
}

/* A row of names or of items; `columns` are the names. */
static int add_row(struct buf *b, const json_t *row, const json_t *columns, char separator,
                   struct err *e)
{
    bool named = json_is_object(row) && json_object_size(row) > 0;
    size_t n =
        named || json_array_size(columns) > 0 ? json_array_size(columns) : json_array_size(row);
    if (named && n == 0)
        return err_set(e, ERR_INVALID, "rows with names need columns = { \"name\", .. }");
    if (!named && json_array_size(row) > n)
        return err_set(e, ERR_INVALID, "%zu fields, but %zu columns", json_array_size(row), n);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_addc(b, separator);
        const char *name = json_string_value(json_array_get(columns, i));
        add_value(b, named ? json_object_get(row, name) : json_array_get(row, i), separator);
    }
    buf_adds(b, "\r\n");
    return 0;
}

/* host.csv_format(rows, columns, header, separator) */
static int csv_lib_format(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 4);
    char separator = check_separator(L, 4);
    json_t *rows = bind_check_json(L, 1, "csv.format");
    json_t *columns = bind_check_json(L, 2, "csv.format: columns");
    struct buf *b = bind_push_buf(L, BIND_TEXT_MAX);
    struct err e = ERR_INIT;
    size_t i, n = json_array_size(rows);
    json_t *row;
    if (json_array_size(columns) > 0 && lua_toboolean(L, 3))
        add_row(b, columns, columns, separator, &e);
    json_array_foreach(rows, i, row)
    {
        if (!json_is_object(row) && !json_is_array(row))
            err_set(&e, ERR_INVALID, "a row is a table, not a %s", json_type_name(row));
        else
            add_row(b, row, columns, separator, &e);
        if (e.code != 0) {
            err_context(&e, "csv.format: row %zu", i + 1);
            return vm_raise(L, &e);
        }
    }
    vm_charge(L, n + b->len / 16);
    return bind_push_text(L, b);
}

void bind_open_csv(lua_State *L)
{
    static const luaL_Reg fns[] = {
        {"csv_parse", csv_lib_parse}, {"csv_format", csv_lib_format}, {NULL, NULL}};
    luaL_setfuncs(L, fns, 0);
}
