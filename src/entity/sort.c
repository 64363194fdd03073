/* sort=-total,name */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "entity/read_priv.h"

static int parse_term(const struct entity_def *d, char *word, struct sort *s, struct err *e)
{
    if (s->count == ENTITY_SORT_MAX)
        return err_set(e, ERR_INVALID, "at most %d fields", ENTITY_SORT_MAX);
    struct sort_term *t = &s->terms[s->count];
    t->desc = *word == '-';
    word += *word == '-' || *word == '+';
    if (*word == '\0')
        return err_set(e, ERR_INVALID, "a field name is missing");
    int rc = filter_path_parse(d, word, &t->path, e);
    if (rc < 0)
        return rc;
    s->count++;
    const struct entity_field *leaf = t->path.leaf;
    if (leaf == NULL || !entity_kind_is_indexable(leaf->kind))
        return err_set(e, ERR_INVALID, "'%.64s' has no order (kind %s)", word,
                       leaf == NULL ? "json" : entity_kind_name(leaf->kind));
    return 0;
}

int sort_parse(const struct entity_def *d, const char *text, struct sort *out, struct err *e)
{
    *out = (struct sort){.count = 0};
    if (text == NULL || *text == '\0')
        return 0;
    if (strlen(text) > FILTER_BYTES_MAX)
        return err_set(e, ERR_TOO_LARGE, "sort is too long");
    AUTO(mem_freep) char *copy = mem_strdup(text);
    char *rest = copy, *word;
    while ((word = strsep(&rest, ",")) != NULL) {
        int rc = parse_term(d, word, out, e);
        if (rc < 0) {
            sort_fini(out);
            if (e != NULL)
                snprintf(e->field, sizeof(e->field), "sort");
            return err_context(e, "sort");
        }
    }
    out->id_desc = out->terms[out->count - 1].desc;
    return 0;
}

void sort_fini(struct sort *s)
{
    for (size_t i = 0; i < s->count; i++)
        filter_path_fini(&s->terms[i].path);
    s->count = 0;
}
