/* The tree of a filter. */
#include "base/err.h"
#include "base/mem.h"
#include "entity/filter_priv.h"

struct filter_node *filter_node_new(enum filter_op op)
{
    struct filter_node *n = mem_new(sizeof(*n));
    n->op = op;
    return n;
}

void filter_node_free(struct filter_node *n)
{
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->kids_count; i++)
        filter_node_free(n->kids[i]);
    mem_free(n->kids);
    json_decref(n->value);
    filter_path_fini(&n->path);
    mem_free(n);
}

void filter_node_freep(struct filter_node **n)
{
    filter_node_free(*n);
}

void filter_node_add(struct filter_node *parent, struct filter_node *kid)
{
    struct filter_node **kids =
        mem_try_resize(parent->kids, (parent->kids_count + 1) * sizeof(struct filter_node *));
    if (kids == NULL)
        PANIC("no memory for a condition");
    parent->kids = kids;
    kids[parent->kids_count++] = kid;
}

struct filter_node *filter_node_not(struct filter_node *kid)
{
    struct filter_node *n = filter_node_new(FILTER_NOT);
    filter_node_add(n, kid);
    return n;
}
