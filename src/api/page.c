/* Pages: signed cursors, X-Page and its kin, Link.
 *
 * A cursor is what entity_query gave, behind a signature, in base64url. The signature covers the
 * name of the entity too, so that a cursor of one is refused by another. */
#include <stdio.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/mem.h"
#include "codec/base64.h"
#include "codec/url.h"
#include "crypt/crypt.h"
#include "entity/read.h"

enum { API_SIGNATURE = 16, API_LINK_MAX = 12 * 1024 };

static void api_cursor_sign(const struct api *a, const struct entity_def *d, const void *p,
                            size_t n, uint8_t out[CRYPT_HMAC])
{
    char context[ENTITY_NAME_MAX + 16];
    snprintf(context, sizeof context, "cursor %s", d->name);
    crypt_hmac(a->o.cursor_key, context, p, n, out);
}

int api_cursor_open(const struct api *a, const struct entity_def *d, const char *text,
                    struct buf *out, struct err *e)
{
    AUTO(buf_fini) struct buf raw = BUF_INIT(ENTITY_CURSOR_MAX + API_SIGNATURE);
    uint8_t want[CRYPT_HMAC];
    int rc = base64_decode(BASE64_URL, text, strlen(text), &raw, NULL);
    if (rc == 0 && raw.len > API_SIGNATURE) {
        const char *p = raw.data + API_SIGNATURE;
        size_t n = raw.len - API_SIGNATURE;
        api_cursor_sign(a, d, p, n, want);
        if (crypt_equal(want, raw.data, API_SIGNATURE)) {
            buf_add(out, p, n);
            return buf_check(out, "cursor", e);
        }
    }
    return err_field(e, ERR_INVALID, "cursor",
                     "this is not a cursor that this node gave out for '%s'; begin at the first "
                     "page",
                     d->name);
}

void api_cursor_text(const struct api *a, const struct entity_def *d, const struct buf *raw,
                     struct buf *out)
{
    AUTO(buf_fini) struct buf whole = BUF_INIT(ENTITY_CURSOR_MAX + API_SIGNATURE);
    AUTO(buf_fini) struct buf text = BUF_INIT(2 * ENTITY_CURSOR_MAX);
    uint8_t signature[CRYPT_HMAC];
    api_cursor_sign(a, d, raw->data, raw->len, signature);
    buf_add(&whole, signature, API_SIGNATURE);
    buf_add(&whole, raw->data, raw->len);
    base64_encode(BASE64_URL, whole.data, whole.len, &text);
    buf_adds(out, buf_str(&text));
}

/* "</api/customer?" and the query as it came, but for the page. */
static void api_link_begin(struct http_request *req, struct buf *link)
{
    size_t n;
    const struct http_pair *pairs = http_query_all(req, &n);
    buf_addf(link, "%s<%s?", link->len > 0 ? ", " : "", http_path(req));
    size_t begin = link->len;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(pairs[i].name, "page") == 0 || strcmp(pairs[i].name, "cursor") == 0)
            continue;
        if (link->len > begin)
            buf_addc(link, '&');
        url_encode(pairs[i].name, strlen(pairs[i].name), link);
        buf_addc(link, '=');
        url_encode(pairs[i].value, strlen(pairs[i].value), link);
    }
    if (link->len > begin)
        buf_addc(link, '&');
}

static void api_link_page(struct http_request *req, struct buf *link, int page, const char *rel)
{
    api_link_begin(req, link);
    buf_addf(link, "page=%d>; rel=\"%s\"", page, rel);
}

/* Who asked for a page by number gets the next one by number, as far as numbers reach; all others
 * get cursors, which stay right while rows come and go. */
static void api_link(struct http_request *req, const struct entity_def *d,
                     const struct entity_page *p)
{
    AUTO(buf_fini) struct buf link = BUF_INIT(API_LINK_MAX);
    bool numbered = http_query(req, "page") != NULL &&
                    ((int64_t)p->page + 1) * p->page_size <= ENTITY_OFFSET_MAX;
    if (p->page > 1) {
        api_link_page(req, &link, 1, "first");
        api_link_page(req, &link, p->page - 1, "prev");
    }
    if (p->more && numbered) {
        api_link_page(req, &link, p->page + 1, "next");
    } else if (p->more && p->cursor.len > 0) {
        api_link_begin(req, &link);
        buf_adds(&link, "cursor=");
        api_cursor_text(api_thread_of(req)->api, d, &p->cursor, &link);
        buf_adds(&link, ">; rel=\"next\"");
    }
    if (link.len > 0 && !buf_failed(&link))
        http_header(req, "Link", buf_str(&link));
}

void api_page_headers(struct http_request *req, const struct entity_def *d,
                      const struct entity_page *p)
{
    if (p->page > 0)
        http_headerf(req, "X-Page", "%d", p->page);
    http_headerf(req, "X-Page-Size", "%d", p->page_size);
    if (p->total >= 0 && p->at_least) {
        http_headerf(req, "X-Total-At-Least", "%lld", (long long)p->total);
    } else if (p->total >= 0) {
        http_headerf(req, "X-Total-Count", "%lld", (long long)p->total);
        http_headerf(req, "X-Total-Pages", "%lld",
                     (long long)((p->total + p->page_size - 1) / p->page_size));
    }
    api_link(req, d, p);
}
