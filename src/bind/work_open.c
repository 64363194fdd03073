/* What a consumer of this node is opened with: how much it takes, and the labels of the node. */
#include "bind/work.h"

enum { WORK_CREDIT = 16 /* where no setting says it */ };

static uint32_t credit_of(struct bind_work *w)
{
    if (w->queue != NULL)
        return w->credit_wanted;
    json_int_t n =
        json_integer_value(json_object_get(bind_settings_of(w->thread), "work_concurrency"));
    return n > 0 && n <= CORE_CREDIT_MAX ? (uint32_t)n : WORK_CREDIT;
}

bool work_is_as_set(struct bind_work *w)
{
    const json_t *s = bind_settings_of(w->thread);
    json_t *labels = json_object_get(s, "labels"), *only = json_object_get(s, "only");
    return credit_of(w) == w->credit && (labels == w->labels || json_equal(labels, w->labels)) &&
           (only == w->only || json_equal(only, w->only));
}

void work_take_settings(struct bind_work *w)
{
    const json_t *s = bind_settings_of(w->thread);
    json_decref(w->labels);
    json_decref(w->only);
    w->credit = credit_of(w);
    w->labels = json_incref(json_object_get(s, "labels"));
    w->only = json_incref(json_object_get(s, "only"));
}

/* The labels of the node, and its id as one more. */
static uint8_t node_labels(const struct bind_work *w, struct core_label out[CORE_LABELS_MAX])
{
    uint8_t n = 0;
    const char *name;
    json_t *v;
    out[n++] = (struct core_label){.name = "node", .text = queues_node(w->bind->queues)};
    json_object_foreach(w->labels, name, v)
    {
        if (n < CORE_LABELS_MAX)
            out[n++] = (struct core_label){.name = name,
                                           .text = json_string_value(v),
                                           .number = (uint32_t)json_integer_value(v)};
    }
    return n;
}

static uint8_t node_only(const struct bind_work *w, const char *out[CORE_LABELS_MAX])
{
    uint8_t n = 0;
    for (; n < CORE_LABELS_MAX && n < json_array_size(w->only); n++)
        out[n] = json_string_value(json_array_get(w->only, n));
    return n;
}

void work_add_open(struct bind_work *w, struct txn *t)
{
    const char *const queues[] = {w->queue};
    struct core_label labels[CORE_LABELS_MAX];
    const char *only[CORE_LABELS_MAX];
    struct core_consumer c = {.id = w->consumer.id,
                              .node = queues_node(w->bind->queues),
                              .worker = w->queue == NULL,
                              .tenant = "default",
                              .queues = queues,
                              .queues_count = w->queue != NULL,
                              .credit = w->credit,
                              .lease_ms = w->lease_ms,
                              .labels = labels,
                              .labels_count = node_labels(w, labels),
                              .only = only,
                              .only_count = node_only(w, only),
                              .of_node = true};
    queue_txn_open(t, &c);
}
