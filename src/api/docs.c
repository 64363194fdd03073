/* What is served for reading: /metrics, and /docs/: the guide that lies inside the binary, as
 * pages, and the API explorer, a page that reads /openapi.json. */
#include <stdio.h>
#include <string.h>

#include "api/api_priv.h"
#include "base/embed.h"
#include "base/health.h"
#include "base/mem.h"
#include "base/stat.h"
#include "base/str.h"
#include "bus/bus.h"
#include "codec/markdown.h"
#include "codec/mime.h"
#include "coord/coord.h"
#include "entity/build.h"
#include "queue/queue.h"

#define DOCS_FOLDER "web/docs/"

#define DOCS_EXPLORER "api"

enum {
    DOCS_PATH_MAX = 512,
    DOCS_PAGE_MAX = 1 << 20,
    DOCS_FAMILIES_MAX = 256,
    DOCS_DETAIL_MAX = 16 << 20
};

/* ---- metrics ---- */

static void docs_gauge(const char *name, const char *help, uint64_t v)
{
    stat_set(stat_gauge(name, "", help), (int64_t)v);
}

/* What cannot be read now is as it was. */
static void docs_gather_shared(struct api_thread *t)
{
    struct coord_totals c;
    struct bus_lag lag;
    char label[64];
    if (t->api->o.coord != NULL && coord_totals(t->api->o.coord, t->db, &c, NULL) == 0) {
        for (int i = 0; i < COORD_PARTS; i++) {
            snprintf(label, sizeof label, "what=\"%s\"", coord_part_names[i]);
            stat_set(stat_gauge("koan_coord_entries", label,
                                "Claims, keys, counters, limits, inbox keys and cached values"),
                     c.count[i]);
        }
        stat_set(stat_gauge("koan_coord_bytes", "what=\"keys\"", "Bytes of keys and of the cache"),
                 c.key_bytes);
        stat_set(stat_gauge("koan_coord_bytes", "what=\"cached\"", ""), c.cached_bytes);
        docs_gauge("koan_coord_waiting", "Who waits on this node for a lease or lock", c.waiting);
    }
    if (t->api->o.bus != NULL && bus_lag(t->db, &lag, NULL) == 0) {
        docs_gauge("koan_bus_groups_behind", "Groups that are fed with retained messages",
                   lag.groups);
        docs_gauge("koan_bus_behind_messages",
                   "Retained messages of any topic from the place on of the group furthest behind",
                   lag.messages);
    }
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
    int building, violated;
    entities_builds(t->api->o.entities, &building, &violated);
    docs_gauge("koan_entity_builds", "Entities whose indexes or search are not complete",
               (uint64_t)building);
    docs_gauge("koan_entity_builds_violated",
               "Entities whose new unique indexes are off while records share a value",
               (uint64_t)violated);
    docs_gauge("koan_health_state", "The components: 0 healthy, 1 unknown, 2 degraded, 3 unhealthy",
               health_overall(t->api->o.health, false, NULL));
    docs_gather_shared(t);
    docs_gauge("koan_draining", "1 while this node is leaving", atomic_load(&t->api->draining));
}

static void docs_answer_metrics(struct http_request *req, bool open, struct buf *out)
{
    http_respond_buf(req, 200,
                     open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                          : "text/plain; version=0.0.4; charset=utf-8",
                     out);
}

static void docs_series(struct http_request *req, struct stat_page *page)
{
    struct queues *queues = api_thread_of(req)->api->o.queues;
    docs_gather(req);
    stat_page_own(page);
    if (queues != NULL)
        queues_metrics(queues, page);
    stat_page_end(page);
}

static void docs_metrics(struct http_request *req)
{
    if (!API_QUERY_NONE(req))
        return;
    bool open = api_accepts(req, "application/openmetrics-text");
    struct buf out = BUF_INIT(4 << 20);
    struct stat_page page = {.out = &out, .openmetrics = open};
    docs_series(req, &page);
    docs_answer_metrics(req, open, &out);
}

struct docs_families {
    const char *names[DOCS_FAMILIES_MAX];
    size_t count;
};

static void docs_family(void *arg, const char *name)
{
    struct docs_families *f = arg;
    if (f->count < DOCS_FAMILIES_MAX)
        f->names[f->count++] = name; /* families stay until the end of the process */
}

static void docs_no_series(struct http_request *req, const char *family, const char *name)
{
    struct docs_families all = {.count = 0};
    stat_each_family(docs_family, &all);
    for (size_t i = 0; queue_metric_names[i] != NULL; i++)
        docs_family(&all, queue_metric_names[i]);
    const char *near = family != NULL ? str_nearest(family, all.names, all.count) : NULL;
    if (near != NULL && strcmp(near, family) != 0)
        http_refuse(req, ERR_NOT_FOUND, "there is no family '%.64s'; did you mean '%s'?", family,
                    near);
    else
        http_refuse(req, ERR_NOT_FOUND, "no series has family '%.64s' and a label of '%.64s'",
                    family != NULL ? family : "any", name != NULL ? name : "any value");
}

static void docs_metrics_detailed(struct http_request *req)
{
    if (!API_QUERY_ONLY(req, "family", "name"))
        return;
    const char *family = http_query(req, "family"), *name = http_query(req, "name");
    bool open = api_accepts(req, "application/openmetrics-text");
    struct buf out = BUF_INIT(DOCS_DETAIL_MAX);
    struct stat_page page = {
        .out = &out, .openmetrics = open, .detailed = true, .family = family, .value = name};
    docs_series(req, &page);
    if (buf_failed(&out)) {
        buf_fini(&out);
        http_refuse(req, ERR_TOO_LARGE,
                    "these are over %d MiB: ask for one family, and one queue or state with name=",
                    DOCS_DETAIL_MAX >> 20);
        return;
    }
    if (page.count > 0) {
        docs_answer_metrics(req, open, &out);
        return;
    }
    buf_fini(&out);
    docs_no_series(req, family, name);
}

/* ---- the guide ---- */

/* In this order; what is not named here follows by name. */
static const char *const docs_order[] = {
    "index", "entities",  "http",          "canon",        "queues",       "handlers", "topics",
    "jobs",  "schedules", "runs",          "coordination", "lua",          "routes",   "coming",
    "cli",   "install",   "configuration", "operations",   "observability"};

static const struct embed_file *docs_file(const char *name, const char *ending)
{
    char path[DOCS_PATH_MAX];
    int n = snprintf(path, sizeof path, DOCS_FOLDER "%s%s", name, ending);
    return n > 0 && (size_t)n < sizeof path ? embed_find(path) : NULL;
}

static void docs_nav_item(struct buf *out, const char *name, const struct embed_file *f,
                          const char *current)
{
    bool home = strcmp(name, "index") == 0;
    buf_addf(out, "<li><a href=\"/docs/%s\"%s>", home ? "" : name,
             strcmp(name, current) == 0 ? " aria-current=\"page\"" : "");
    if (f != NULL)
        markdown_title((const char *)f->data, f->size, out);
    else
        buf_adds(out, "API explorer");
    buf_adds(out, "</a></li>\n");
}

static bool docs_is_ordered(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(docs_order); i++) {
        if (strcmp(name, docs_order[i]) == 0)
            return true;
    }
    return false;
}

static void docs_nav(struct buf *out, const char *current)
{
    buf_adds(out, "<ul>\n");
    for (size_t i = 0; i < ARRAY_LEN(docs_order); i++) {
        const struct embed_file *f = docs_file(docs_order[i], ".md");
        if (f != NULL)
            docs_nav_item(out, docs_order[i], f, current);
    }
    for (const struct embed_file *f = NULL; (f = embed_next(DOCS_FOLDER, f)) != NULL;) {
        char name[DOCS_PATH_MAX];
        str_copy(name, sizeof name, f->path + strlen(DOCS_FOLDER));
        if (!str_ends(name, ".md"))
            continue;
        name[strlen(name) - strlen(".md")] = '\0';
        if (!docs_is_ordered(name))
            docs_nav_item(out, name, f, current);
    }
    docs_nav_item(out, DOCS_EXPLORER, NULL, current);
    buf_adds(out, "</ul>\n");
}

/* The shell of every page, with its four places filled in. */
static void docs_shell(struct http_request *req, const char *current, const struct embed_file *page)
{
    const struct embed_file *shell = docs_file("_page", ".html");
    ASSERT(shell != NULL);
    struct buf out = BUF_INIT(DOCS_PAGE_MAX);
    bool guide = str_ends(page->path, ".md");
    for (const char *p = (const char *)shell->data; *p != '\0'; p++) {
        if (str_starts(p, "{title}")) {
            if (guide)
                markdown_title((const char *)page->data, page->size, &out);
            else
                buf_adds(&out, "API explorer");
        } else if (str_starts(p, "{head}")) {
            buf_adds(&out, guide ? "" : "<script src=\"/docs/explorer.js\" defer></script>\n");
        } else if (str_starts(p, "{nav}")) {
            docs_nav(&out, current);
        } else if (str_starts(p, "{body}")) {
            if (guide)
                markdown_html((const char *)page->data, page->size, &out);
            else
                buf_add(&out, (const char *)page->data, page->size);
        } else {
            buf_addc(&out, *p);
            continue;
        }
        p = strchr(p, '}');
    }
    http_respond_buf(req, 200, "text/html; charset=utf-8", &out);
}

/* Browsers would store Markdown as a file; as plain text they show it, and it reads well. */
static const char *docs_type(struct http_request *req, const struct embed_file *f)
{
    if (str_ends(f->path, ".md") && api_accepts(req, "text/html"))
        return "text/plain; charset=utf-8";
    return mime_of_path(f->path);
}

/* /docs/canon is a page, /docs/canon.md what it is made of; files in between have their own name.
 */
static void docs_page(struct http_request *req)
{
    const char *rest = http_param(req, "rest");
    const char *name = rest == NULL || *rest == '\0' ? "index" : rest;
    const struct embed_file *f;
    if (*name == '_')
        f = NULL;
    else if (strcmp(name, DOCS_EXPLORER) == 0)
        f = docs_file("_explorer", ".html");
    else
        f = docs_file(name, ".md");
    if (f != NULL) {
        docs_shell(req, name, f);
        return;
    }
    f = *name != '_' ? docs_file(name, "") : NULL;
    if (f == NULL)
        http_refuse(req, ERR_NOT_FOUND, "the guide has no page '%.100s'; it begins at /docs/",
                    name);
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
    {HTTP_VERB_GET, "/metrics/detailed", docs_metrics_detailed, 0, 0},
    {HTTP_VERB_GET, "/docs", docs_home, HTTP_OPEN, 0},
    {HTTP_VERB_GET, "/docs/*rest", docs_page, HTTP_OPEN, 0},
};
const struct api_routes api_docs_routes = {docs_table, ARRAY_LEN(docs_table)};
