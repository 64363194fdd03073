/* Owners of keys, looked up for many documents at once.
 *
 * Each document has a few keys, and a statement for each costs three times what finding its row
 * does. When a batch of documents comes back from another thread, one statement finds what is known
 * of all their keys. It is what the working set would have asked for, in the same snapshot; where
 * it fails the set asks by itself. */
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "canon/pipeline_priv.h"
#include "canon/prepare_priv.h"
#include "canon/store_priv.h"
#include "canon/working_priv.h"
#include "db/db.h"

enum { AHEAD_KEYS_MAX = 8 * PREP_BATCH };

struct ahead {
    struct db_cell keys[AHEAD_KEYS_MAX];
    const char *owners[AHEAD_KEYS_MAX];
    char ids[AHEAD_KEYS_MAX][STORE_ID];
    size_t count;
};

static void ahead_add(struct ahead *a, const struct canon_job *j)
{
    if (j->keys == NULL || j->keys_model != j->working->model->hash)
        return;
    for (size_t i = 0; i < json_array_size(j->keys) && a->count < AHEAD_KEYS_MAX; i++) {
        const json_t *key = json_array_get(j->keys, i);
        if (map_gets(j->working->keys, json_string_value(key)) == NULL)
            a->keys[a->count++] = (struct db_cell){.type = DB_CELL_TEXT,
                                                   .text = json_string_value(key),
                                                   .number = (int64_t)json_string_length(key)};
    }
}

static void ahead_found(void *arg, size_t at, const char *owner)
{
    struct ahead *a = arg;
    str_copy(a->ids[at], STORE_ID, owner);
    a->owners[at] = a->ids[at];
}

void ahead_keys(struct list *ready)
{
    struct ahead a;
    struct err e = ERR_INIT;
    struct working *w = NULL;
    a.count = 0;
    LIST_EACH(it, ready)
    {
        const struct canon_job *j = LIST_OF(it, struct canon_job, node);
        if (w == NULL)
            w = j->working;
        if (w == j->working && j->state == JOB_AGGREGATE)
            ahead_add(&a, j);
    }
    for (size_t i = 0; i < a.count; i++)
        a.owners[i] = "";
    struct db_rows rows = {.cells = a.keys, .columns = 1, .count = a.count};
    if (a.count == 0 ||
        store_key_owners(w->reader, w->tenant, w->model->name, &rows, ahead_found, &a, &e) != 0)
        return;
    for (size_t i = 0; i < a.count; i++)
        working_note_owner(w, a.keys[i].text, a.owners[i]);
}
