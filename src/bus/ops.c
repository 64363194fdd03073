/* Bus: operations written. schema/bus-operations.md has the tables. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/topic.h"
#include "bus/bus_priv.h"

static const uint8_t version = 1;

static void text_member(struct buf *b, const char *name, const char *text)
{
    buf_addf(b, "\"%s\":", name);
    json_print_string(b, text, strlen(text));
}

void bus_print_group(struct buf *b, const struct group *g, bool place)
{
    buf_adds(b, b->len > 1 ? ",{" : "{");
    if (place) {
        text_member(b, "file", g->file);
        buf_addf(b, ",\"line\":%d,", g->line);
    }
    text_member(b, "group", g->name);
    buf_addf(b, ",\"options\":%s,", g->options);
    text_member(b, "pattern", g->pattern);
    buf_addc(b, '}');
}

void bus_print_groups(struct buf *b, const struct groups *g, bool place)
{
    buf_addc(b, '[');
    for (size_t i = 0; i < groups_count(g); i++)
        bus_print_group(b, groups_at(g, i), place);
    buf_addc(b, ']');
}

static int group_check(const struct group *d, struct topic_set *all, struct err *e)
{
    struct bus_options options;
    AUTO(json_unref) json_t *o = json_read(d->options, strlen(d->options), e);
    int rc = o == NULL ? ERR_INVALID : bus_options_read(o, &options, e);
    return rc == 0 ? topic_set_add(all, d->pattern, strlen(d->pattern), 0, e) : rc;
}

int bus_groups_check(const struct groups *g, struct err *e)
{
    struct topic_set *all = topic_set_new();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < groups_count(g); i++) {
        const struct group *d = groups_at(g, i);
        rc = group_check(d, all, e);
        if (rc != 0)
            err_context(e, "%s:%d: on '%.128s'", d->file, d->line, d->pattern);
    }
    topic_set_free(all);
    return rc;
}

static int list_add(struct txn *t, enum bus_op type, const char *source, const struct buf *text,
                    struct err *e)
{
    int rc = buf_check(text, "what is declared of topics", e);
    if (rc != 0)
        return rc;
    struct buf *b = txn_begin(t, (uint16_t)type, version);
    buf_add_text(b, source);
    buf_add_bytes(b, text->data, text->len);
    txn_end(t);
    return 0;
}

int bus_txn_groups(struct txn *t, const char *source, const struct groups *g, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(BUS_DECLARED_BYTES);
    int rc = bus_groups_check(g, e);
    bus_print_groups(&text, g, true);
    return rc == 0 ? list_add(t, BUS_OP_GROUPS, source, &text, e) : rc;
}

void bus_print_topic(struct buf *b, const struct bus_topic *t, bool place)
{
    buf_adds(b, b->len > 1 ? ",{" : "{");
    if (place) {
        text_member(b, "file", t->file);
        buf_addf(b, ",\"line\":%d,", t->line);
    }
    text_member(b, "pattern", t->pattern);
    buf_addf(b, ",\"retain\":%lld,\"unrouted\":\"%s\"}", (long long)t->retain_ms,
             t->unrouted == UNROUTED_DROP ? "drop" : "keep");
}

static int topic_order(const void *x, const void *y)
{
    const struct bus_topic *a = x, *b = y;
    return strcmp(a->pattern, b->pattern);
}

void bus_print_topics(struct buf *b, const struct bus_topic *list, size_t count, bool place)
{
    struct bus_topic *sorted = mem_new_array(count + 1, sizeof *sorted);
    if (count > 0)
        memcpy(sorted, list, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, topic_order);
    buf_addc(b, '[');
    for (size_t i = 0; i < count; i++)
        bus_print_topic(b, &sorted[i], place);
    buf_addc(b, ']');
    mem_free(sorted);
}

static int topic_check_one(const struct bus_topic *list, size_t i, struct topic_set *all,
                           struct err *e)
{
    const struct bus_topic *t = &list[i];
    int rc = topic_set_add(all, t->pattern, strlen(t->pattern), 0, e);
    if (rc == 0 && (t->retain_ms < 0 || t->retain_ms > BUS_RETAIN_MAX_MS))
        rc = err_field(e, ERR_INVALID, "retain", "messages are retained for at most ten years");
    for (size_t k = 0; rc == 0 && k < i; k++)
        if (strcmp(list[k].pattern, t->pattern) == 0)
            rc = err_field(e, ERR_INVALID, "topic", "it is declared twice, in %s:%d and in %s:%d",
                           list[k].file, list[k].line, t->file, t->line);
    return rc;
}

int bus_topics_check(const struct bus_topic *list, size_t count, struct err *e)
{
    if (count > BUS_TOPICS_MAX)
        return err_set(e, ERR_TOO_LARGE, "%zu topics are declared; at most %d are taken", count,
                       BUS_TOPICS_MAX);
    struct topic_set *all = topic_set_new();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = topic_check_one(list, i, all, e);
        if (rc != 0)
            err_context(e, "%s:%d: topic '%.128s'", list[i].file, list[i].line, list[i].pattern);
    }
    topic_set_free(all);
    return rc;
}

int bus_txn_topics(struct txn *t, const char *source, const struct bus_topic *list, size_t count,
                   struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(BUS_DECLARED_BYTES);
    int rc = bus_topics_check(list, count, e);
    if (rc != 0)
        return rc;
    bus_print_topics(&text, list, count, true);
    return list_add(t, BUS_OP_TOPICS, source, &text, e);
}

void bus_txn_routes(struct txn *t, const struct bus_route *r)
{
    buf_add_u64(txn_begin(t, BUS_IF_ROUTES, version), r->routes->revision);
    txn_end(t);
}
