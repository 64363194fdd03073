/* How much a question may visit, and what is said when it would be more. */
#include <string.h>

#include "base/err.h"
#include "db/db.h"
#include "entity/build.h"
#include "entity/read_priv.h"

/* Virtual machine steps that visiting a row takes, measured with SQLite 3.46: counting 3, one
 * condition and sorting 3 each, a condition through a list 20 besides what its elements take. */
enum {
    STEPS_ROW = 4,
    STEPS_SORT = 4,
    STEPS_CONDITION = 3,
    STEPS_IN = 8,
    STEPS_LIST = 20,
    STEPS_MOST = 50, /* then it is work that counts, not rows */

    HINT_MAX = 200,
};

static uint64_t node_steps(const struct filter_node *n)
{
    uint64_t steps = 0;
    if (n->op == FILTER_AND || n->op == FILTER_OR || n->op == FILTER_NOT) {
        for (size_t i = 0; i < n->kids_count; i++)
            steps += node_steps(n->kids[i]);
        return steps;
    }
    for (size_t i = 0; i < n->path.count; i++)
        steps += n->path.steps[i].kind != STEP_KEY ? STEPS_LIST : 0;
    return steps + (n->op == FILTER_IN ? STEPS_IN : STEPS_CONDITION);
}

void question_limit(const struct question *k)
{
    uint64_t row = STEPS_ROW + (k->sort.count > 0 ? (uint64_t)STEPS_SORT : 0) +
                   (k->root != NULL ? node_steps(k->root) : 0);
    uint64_t rows = k->q->visit_max > 0 ? k->q->visit_max : ENTITY_VISIT_MAX;
    row = row < STEPS_MOST ? row : STEPS_MOST;
    db_limit(k->db, rows * row, k->q->ms_max > 0 ? k->q->ms_max : ENTITY_QUERY_MS_MAX);
}

void question_unlimit(const struct question *k)
{
    db_limit(k->db, 0, 0);
}

/* Fields that an index for this question would have: what is compared for equality, then what is
 * sorted or compared otherwise. */
static void hint_node(const struct filter_node *n, bool equal, char *out, size_t cap)
{
    if (n->op == FILTER_AND) {
        for (size_t i = 0; i < n->kids_count; i++)
            hint_node(n->kids[i], equal, out, cap);
        return;
    }
    bool is_equal = n->op == FILTER_EQ || n->op == FILTER_IN;
    bool serves =
        is_equal || (n->op >= FILTER_GT && n->op <= FILTER_BETWEEN) || n->op == FILTER_STARTS;
    if (!serves || is_equal != equal || n->path.count != 1 || n->path.leaf == NULL)
        return;
    size_t used = strlen(out);
    snprintf(out + used, cap - used, "%s\"%s\"", used > 0 ? ", " : "", n->path.steps[0].key);
}

int question_too_much(const struct question *k, struct err *e)
{
    char hint[HINT_MAX] = "";
    if (k->root != NULL)
        hint_node(k->root, true, hint, sizeof(hint));
    for (size_t i = 0; i < k->sort.count; i++) {
        const struct sort_term *t = &k->sort.terms[i];
        size_t used = strlen(hint);
        const char *name = t->path.column != NULL ? t->path.column : t->path.steps[0].key;
        if (t->path.column != NULL || t->path.count == 1)
            snprintf(hint + used, sizeof(hint) - used, "%s\"%s%s\"", used > 0 ? ", " : "",
                     t->desc ? "-" : "", name);
    }
    if (k->root != NULL && k->sort.count == 0)
        hint_node(k->root, false, hint, sizeof(hint));
    char building[160] = "";
    struct entity_build_state now;
    if (entity_build_read(k->db, k->def->name, &now, NULL) == 0 && now.building && now.table)
        snprintf(building, sizeof(building),
                 now.violations > 0 ? "; new indexes are off while records share a value, see koan "
                                      "entity indexes %.64s"
                                    : "; new indexes of %.64s are being built, %d %% done",
                 k->def->name, now.percent);
    return err_set(e, ERR_TOO_LARGE,
                   "this would visit over %d records of %s, or run over %d s; %s%s%s%s",
                   ENTITY_VISIT_MAX, k->def->name, ENTITY_QUERY_MS_MAX / 1000,
                   hint[0] != '\0' ? "it lacks index = {{" : "ask for less, by indexed fields",
                   hint, hint[0] != '\0' ? "}}" : "", building);
}
