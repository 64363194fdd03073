/* What is served for reading: /metrics and the guide that lies inside the binary, /docs/. */
#include <string.h>

#include "api/api_priv.h"
#include "base/embed.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "codec/mime.h"

#define DOCS_FOLDER "web/docs/"

enum { DOCS_PATH_MAX = 512 };

/* ---- metrics ---- */

static void docs_gauge(const char *name, const char *help, uint64_t v)
{
    stat_set(stat_gauge(name, "", help), (int64_t)v);
}

static void docs_gather(struct http_request *req)
{
    struct api_thread *t = api_thread_of(req);
    struct ledger_status s;
    ledger_status(t->api->o.ledger, &s);
    docs_gauge("koan_ledger_applied_index", "Last applied log index", s.applied);
    docs_gauge("koan_ledger_last_index", "Last log index", s.last);
    docs_gauge("koan_ledger_waiting_units", "Units of work that wait for a place in the log",
               s.waiting_units);
    docs_gauge("koan_ledger_waiting_bytes", "Bytes of units that wait for a place in the log",
               s.waiting_bytes);
    docs_gauge("koan_ledger_leader", "1 where this node leads", s.leader);
    docs_gauge("koan_disk_free_bytes", "Free space of the data directory's file system",
               s.disk_free);
    docs_gauge("koan_disk_size_bytes", "Size of the data directory's file system", s.disk_total);
    docs_gauge("koan_uptime_seconds", "Seconds since the start",
               (uint64_t)(api_now_ms(t) - t->api->started_ms) / 1000);
    docs_gauge("koan_draining", "1 while this node is leaving", atomic_load(&t->api->draining));
}

static void docs_metrics(struct http_request *req)
{
    if (!API_QUERY_NONE(req))
        return;
    bool open = api_accepts(req, "application/openmetrics-text");
    struct buf out = BUF_INIT(4 << 20);
    docs_gather(req);
    stat_print(&out, open);
    http_respond_buf(req, 200,
                     open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                          : "text/plain; version=0.0.4; charset=utf-8",
                     &out);
}

/* ---- the guide ---- */

static const struct embed_file *docs_find(const char *rest)
{
    static const char *const endings[] = {"", ".html", ".md", "index.html", "index.md"};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        AUTO(buf_fini) struct buf path = BUF_INIT(DOCS_PATH_MAX);
        buf_addf(&path, DOCS_FOLDER "%s%s", rest, endings[i]);
        const struct embed_file *f = buf_failed(&path) ? NULL : embed_find(buf_str(&path));
        if (f != NULL)
            return f;
    }
    return NULL;
}

/* Browsers would store Markdown as a file; as plain text they show it, and it reads well. */
static const char *docs_type(struct http_request *req, const struct embed_file *f)
{
    if (str_ends(f->path, ".md") && api_accepts(req, "text/html"))
        return "text/plain; charset=utf-8";
    return mime_of_path(f->path);
}

static void docs_page(struct http_request *req)
{
    const char *rest = http_param(req, "rest");
    const struct embed_file *f = docs_find(rest != NULL ? rest : "");
    if (f == NULL)
        http_refuse(req, ERR_NOT_FOUND, "the guide has no page '%.100s'; it begins at /docs/",
                    rest != NULL ? rest : "");
    else
        http_respond(req, 200, docs_type(req, f), f->data, f->size);
}

static void docs_home(struct http_request *req)
{
    http_header(req, "Location", "/docs/");
    http_respond(req, 308, NULL, NULL, 0);
}

static const struct http_route docs_table[] = {
    {HTTP_VERB_GET, "/metrics", docs_metrics, 0, 0},
    {HTTP_VERB_GET, "/docs", docs_home, HTTP_OPEN, 0},
    {HTTP_VERB_GET, "/docs/*rest", docs_page, HTTP_OPEN, 0},
};
const struct api_routes api_docs_routes = {docs_table, ARRAY_LEN(docs_table)};
