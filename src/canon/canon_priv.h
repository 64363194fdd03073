/* What the files of canon share: the declared model and the pure rules over it. */
#ifndef KOAN_CANON_PRIV_H
#define KOAN_CANON_PRIV_H

#include <stdatomic.h>

#include "base/list.h"
#include "canon/canon.h"

enum canon_policy {
    POLICY_LATEST,
    POLICY_FIRST,
    POLICY_MIN,
    POLICY_MAX,
    POLICY_SOURCE_OF_TRUTH,
    POLICY_LONGEST,
    POLICY_MOST_COMPLETE,
    POLICY_MAJORITY,
    POLICY_UNION,
    POLICY_MANUAL,
    POLICY_COUNT
};

enum canon_norm {
    NORM_NONE,
    NORM_TRIM,
    NORM_LOWER,
    NORM_UPPER,
    NORM_DIGITS,
    NORM_EMAIL,
    NORM_PHONE,
    NORM_NAME,
    NORM_ASCII,
    NORM_FUNCTION,
    NORM_COUNT
};

enum {
    MODEL_SOURCES_MAX = 256,
    MODEL_KEYS_MAX = 32,
    MODEL_PARTS_MAX = 8,
    MODEL_GROUPS_MAX = 32,
    MODEL_POLICIES_MAX = 512,
    MODEL_GROUP_FIELDS_MAX = 32,
    CANON_RANK_NONE =
        1 << 20, /* of an origin that `sources` does not rank: behind all that it does */
};

struct canon_key_part {
    char *field;
    enum canon_norm norm;
    int function; /* of NORM_FUNCTION */
};

struct canon_key {
    char *name;
    struct canon_key_part parts[MODEL_PARTS_MAX];
    size_t parts_count;
};

/* How one field, or one group of fields as a block, survives. */
struct canon_rule {
    char *name;
    enum canon_policy policy, fallback;
    char **ranks; /* of source_of_truth: origins, best first */
    size_t ranks_count;
};

struct canon_group {
    char *name;
    char **fields;
    size_t fields_count;
    const struct canon_rule *rule; /* NULL: latest */
};

struct canon_source {
    char *origin;
    int rank;
};

struct canon_model {
    atomic_int refs;
    char *name;
    uint64_t hash;
    char *text; /* sorted JSON of the definition */
    struct canon_source *sources;
    size_t sources_count;
    struct canon_key *keys;
    size_t keys_count;
    struct canon_rule *rules;
    size_t rules_count;
    struct canon_group *groups;
    size_t groups_count;
    bool park_collisions;
    bool stages[3]; /* by enum canon_stage */
};

const char *canon_policy_name(enum canon_policy p);
int canon_model_rank(const struct canon_model *m, const char *origin);
bool canon_model_has_source(const struct canon_model *m, const char *origin);
const struct canon_rule *canon_model_rule(const struct canon_model *m, const char *field);
const struct canon_group *canon_model_group_of(const struct canon_model *m, const char *field);

/* The writer's connection: the ledger's thread alone. */
struct db *canon_writer(struct canon *c);

/* --- apply.c: who is told when an entry has made parked arrivals due. due() runs on the ledger's
 * thread, under a lock of canon: it only posts. */
struct canon_watch {
    struct list node;
    void (*due)(struct canon_watch *w);
};
void canon_watch_add(struct canon *c, struct canon_watch *w);
void canon_watch_remove(struct canon *c, struct canon_watch *w);

/* ---- keys.c ---- */
/* The key values that a document gives: JSON array of texts "name:value", each once, in declared
 * order. Parts are joined by 0x1f. A key with a null or empty part is not given. ERR_INVALID names
 * a key that is too long. */
int canon_keys_of(const struct canon_model *m, const json_t *data, struct canon_hooks *hooks,
                  json_t **out, struct err *e);
/* A built-in normaliser: text in, appended to `out`. */
void canon_normalise(enum canon_norm norm, const char *s, size_t n, struct buf *out);
bool canon_norm_parse(const char *name, enum canon_norm *out, int *function);

/* ---- survive.c ---- */

/* What one source record says. `fields` is what it states now (JSON null: stated as null); `ever`
 * is NULL until it has stated more than once: {unit: {"first": [value, time, arrival], "min":
 * [...], "max": [...]}} over all it stated, where a unit is a field outside groups or the name of a
 * group, whose value is the block as an object. */
struct canon_said {
    const char *origin, *source_id, *arrival;
    int rank;
    int64_t observed_at;
    json_t *fields, *ever;
};

struct canon_survived {
    json_t *golden;    /* object: field -> value */
    json_t *footprint; /* object: field -> {"o","s","a","t","p","g","beat":[{"v","o","s","t"}]} */
    bool needs_review; /* a field has policy `manual` and no steward has decided */
};

/* ---- units.c ---- */

/* What one policy decides: a field, or a group as a block. */
struct canon_unit {
    const char *name;
    const struct canon_group *group; /* NULL for a field */
    const struct canon_rule *rule;   /* NULL: latest */
};
/* All units of an entity's fields. Borrows from both, which must outlive it. */
struct canon_units {
    struct canon_unit *list;
    size_t count;
    const struct canon_unit *
        *looked_at; /* those in which a record that is alone is looked at too */
    size_t looked_at_count;
};
struct entity_def;
void canon_units_of(const struct canon_model *m, const struct entity_def *d,
                    struct canon_units *out);
/* All that these records state or ever stated, by name. */
int canon_units_stated(const struct canon_model *m, const struct canon_said *said, size_t count,
                       struct canon_units *out, struct err *e);
void canon_units_fini(struct canon_units *u);
/* A source record that is alone, and says once what it says, survives in it as it is. */
bool canon_unit_lets_alone(const struct canon_unit *u);
/* All that it says does so, and nobody has to look at it. */
bool canon_units_let_alone(const struct canon_units *u, const json_t *fields);
struct canon_unit canon_unit_of_field(const struct canon_model *m, const char *field);

/* Pure: the same set in any order gives the same result. The caller owns both objects. `units` are
 * those that may be stated; NULL: whatever is. The footprint is made only if `explain`: it costs
 * more than the decision. */
int canon_survive(const struct canon_model *m, const struct canon_units *units,
                  const struct canon_said *said, size_t count, bool explain,
                  struct canon_survived *out, struct err *e);
void canon_survived_fini(struct canon_survived *s);
/* Fold one more statement into a source record's memory. `ever` may be NULL at first; returns the
 * new one (owned by the caller), which covers the `before` statement too when there was no memory
 * yet. Commutative and associative over statements. */
json_t *canon_ever_add(const struct canon_model *m, json_t *ever,
                       const struct canon_said *statement);
/* Whether statement b replaces a as what the source says now: newer, or of the same time and
 * greater as sorted text. */
bool canon_replaces(int64_t a_time, const json_t *a, int64_t b_time, const json_t *b);

#endif
