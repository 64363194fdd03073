/* The frame of an array. Only `step` functions move the state.
 *
 * [START] -- '[' --> [FIRST] -- ']' ------------------------> [END]
 *                       |                                       ^
 *                       v          whole                        |
 *                    [INSIDE] ------------------> [AFTER] ----']'
 *                       ^                            |
 *                       +--------- [NEXT] <--- ',' --+
 *
 * INSIDE knows nesting and strings, no more: whether the brackets pair up is json_read's matter. */
#include "base/buf.h"
#include "base/err.h"
#include "codec/records_priv.h"

static void records_begin_element(struct records *r, char c)
{
    r->state = RECORDS_INSIDE;
    r->begin = r->place;
    r->depth = 0;
    r->in_string = r->escaped = false;
    r->bare = c != '{' && c != '[' && c != '"';
    buf_reset(&r->text);
}

/* The bytes of the piece from r->at that belong to the element; *whole when it ends there. */
static size_t records_scan(struct records *r, bool *whole)
{
    size_t i = r->at;
    for (; i < r->n; i++) {
        char c = r->p[i];
        if (r->bare) {
            if (records_is_space(c) || c == ',' || c == ']' || c == '}')
                break;
            continue;
        }
        if (r->escaped) {
            r->escaped = false;
        } else if (r->in_string) {
            r->escaped = c == '\\';
            r->in_string = c != '"';
        } else if (c == '"') {
            r->in_string = true;
        } else if (c == '{' || c == '[') {
            r->depth++;
        } else if (c == '}' || c == ']') {
            r->depth--;
        }
        if (r->depth == 0 && !r->in_string) {
            *whole = true;
            return i + 1 - r->at;
        }
    }
    *whole = r->bare && i < r->n;
    return i - r->at;
}

/* 1 or negative: a record; 0: the element goes on in the next piece. */
static int records_step_inside(struct records *r, struct record *rec, struct err *e)
{
    bool whole = false;
    const char *from = r->p + r->at;
    size_t n = records_scan(r, &whole);
    records_take(r, n);
    if (!whole || r->text.len > 0 || buf_failed(&r->text)) {
        buf_add(&r->text, from, n);
        from = buf_str(&r->text);
        if (whole)
            n = r->text.len;
    }
    if (!whole)
        return 0;
    r->state = RECORDS_AFTER;
    return records_deliver(r, from, n, rec, e);
}

static int records_step_between(struct records *r, struct record *rec, struct err *e)
{
    char c = r->p[r->at];
    bool open = r->state == RECORDS_FIRST || r->state == RECORDS_NEXT;
    if (r->state == RECORDS_START && c == '[') {
        r->state = RECORDS_FIRST;
    } else if (r->state == RECORDS_START && r->place.offset < 3 &&
               c == "\xef\xbb\xbf"[r->place.offset]) {
        /* a BOM; what is only a part of one is not followed by '[' and fails there */
    } else if ((r->state == RECORDS_FIRST || r->state == RECORDS_AFTER) && c == ']') {
        r->state = RECORDS_END;
    } else if (r->state == RECORDS_AFTER && c == ',') {
        r->state = RECORDS_NEXT;
    } else if (open && c != ',' && c != ']' && c != '}') {
        records_begin_element(r, c);
        return 0;
    } else if (!records_is_space(c)) {
        return records_broken_at(r, rec, e,
                                 r->state == RECORDS_START   ? "an array must begin with '['"
                                 : r->state == RECORDS_AFTER ? "',' or ']' expected"
                                 : r->state == RECORDS_END   ? "text behind the end of the array"
                                                             : "an element is missing");
    }
    records_take(r, 1);
    return 0;
}

static int records_end_array(struct records *r, struct record *rec, struct err *e)
{
    if (r->state == RECORDS_END)
        return 0;
    *rec = (struct record){.number = r->number + 1};
    if (r->state == RECORDS_START)
        return records_broken_at(r, rec, e, "the text is empty; an array was expected");
    if (r->state == RECORDS_INSIDE)
        r->place = r->begin;
    return records_broken_at(r, rec, e,
                             r->state == RECORDS_INSIDE
                                 ? "the element that begins here is not complete"
                                 : "the array is not closed; is the file cut off?");
}

int records_next_element(struct records *r, struct record *rec, struct err *e)
{
    *rec = (struct record){.number = r->number + 1};
    while (r->at < r->n) {
        if (r->state != RECORDS_INSIDE && records_is_space(r->p[r->at])) {
            records_take(r, 1);
            continue;
        }
        int rc = r->state == RECORDS_INSIDE ? records_step_inside(r, rec, e)
                                            : records_step_between(r, rec, e);
        if (rc != 0)
            return rc;
    }
    return r->finished ? records_end_array(r, rec, e) : 0;
}
