/* Definition - what an entity is: its fields, kinds, options and indexes.
 *
 * A definition is made from JSON (scripts give a table, the binding makes the JSON), is immutable,
 * reference-counted and may be shared by all threads. Field order is kept: it is the order of the
 * keys in a stored record.
 *
 *     {"name": "Customer", "path": "customer",
 *      "fields": {"name":  {"kind": "text", "required": true, "max": 200},
 *                 "email": {"kind": "email", "unique": true},
 *                 "tier":  {"kind": "choice", "choices": ["free", "pro"], "default": "free"},
 *                 "tags":  {"kind": "list", "of": {"kind": "text", "max": 40}}},
 *      "index": [["tier", "-created_at"], {"fields": ["name", "tier"], "unique": true}],
 *      "require_version": false, "access": {"read": "public"}, "hooks": ["before_save"]}
 *
 * kind     value in JSON                        options besides required, default
 * text     string, 64 KiB unless max            min max (characters), pattern, search, index,
 * unique int      integer of 64 bits                   min max index unique number   number min max
 * index unique decimal  string or integer, 38 digits, exact  min max index unique; kept without
 * needless zeros bool     true, false                          index time     RFC 3339; kept in
 * UTC, milliseconds  min max index unique date     "2026-11-22"                         min max
 * index unique uuid     36 characters; kept in lower case    index unique email    a plausible
 * address                  pattern search index unique url      scheme://host... pattern search
 * index unique ref      the id of a record of another entity to on_remove check inverse unique;
 * always indexed choice   one of choices                       choices search index unique geo
 * {"lat": .., "lon": ..} bytes    base64, 64 KiB decoded unless max    min max (bytes) list array
 * of (a field without required, default, index), min max (elements) map      object of, min max
 * (keys) json     anything
 *
 * A ref names the record it means: `to` is the entity, and the target must exist when the reference
 * is committed (unless check is false). on_remove says what its removal does: restrict (the
 * default: it is refused while anybody refers to it), null (the reference goes), cascade (the
 * referring record goes too), none (nothing; the reference is left hanging). `inverse` is the name
 * under which the target's records find these (`with=lines`). A list may be `of` a ref: each
 * element is one; `null` takes it out of the list, `cascade` removes the record when any of its
 * targets goes.
 *
 * A null value and an absent one are the same: nothing is stored. `of` may be the name of a kind.
 * Patterns are matched against the whole value, of at most 64 KiB, in time linear in it; see
 * pattern.h.
 *
 * Options of the whole, with what `true` means:
 *
 * soft_remove  "30d"   removed records are kept so long and can be restored
 * ttl          none    records have a field expires_at (time), past which they are gone; a duration
 *                      gives those that do not say one, counted from their creation
 * feed         true    changes can be followed (GET /changes); only false is said
 * lease_required          a record is changed only by who holds its lease
 * history      {"keep": "30d", "versions": 100}    replaced versions are kept
 *
 * Names that belong to parts of Koan which are not there yet (sealed, blob, scope
 * ...) are refused by name, never ignored; a misspelt name is refused with the nearest right
 * one.
 */
#ifndef KOAN_ENTITY_DEF_H
#define KOAN_ENTITY_DEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct err;
struct pattern;

enum {
    ENTITY_NAME_MAX = 64,
    ENTITY_FIELDS_MAX = 256,
    ENTITY_FIELD_SLOTS = 512, /* a power of two, and twice that */
    ENTITY_INDEXES_MAX = 32,
    ENTITY_INDEX_FIELDS_MAX = 8,
    ENTITY_CHOICES_MAX = 1000,
    ENTITY_LIST_REFS_MAX = 1000, /* elements of a list of refs */
    ENTITY_OF_DEPTH_MAX = 4,
    ENTITY_DEF_BYTES_MAX = 256 << 10,
    ENTITY_TEXT_BYTES = 64 << 10, /* text and bytes without a max */
    ENTITY_RECORD_BYTES_MAX = 1 << 20,
    ENTITY_ID_MAX = 256,
    ENTITY_HISTORY_VERSIONS = 100,
    ENTITY_HISTORY_VERSIONS_MAX = 10000,
};

#define ENTITY_KEEP_MS (30LL * 86400 * 1000)       /* of removed records and replaced versions */
#define ENTITY_KEEP_MS_MAX (3660LL * 86400 * 1000) /* ten years */
#define ENTITY_EXPIRES "expires_at"

enum entity_kind {
    KIND_TEXT,
    KIND_INT,
    KIND_NUMBER,
    KIND_DECIMAL,
    KIND_BOOL,
    KIND_TIME,
    KIND_DATE,
    KIND_UUID,
    KIND_EMAIL,
    KIND_URL,
    KIND_REF,
    KIND_CHOICE,
    KIND_GEO,
    KIND_BYTES,
    KIND_LIST,
    KIND_MAP,
    KIND_JSON,
    KIND_COUNT
};

enum entity_on_remove { REF_RESTRICT, REF_NULL, REF_CASCADE, REF_NONE };

struct entity_field {
    char name[ENTITY_NAME_MAX + 1];
    enum entity_kind kind;
    bool required;
    bool search; /* its words are found by q */
    bool has_min, has_max;
    int64_t min_int, max_int;      /* text, int, bytes, list, map */
    double min_number, max_number; /* number */
    char *min_text, *max_text;     /* decimal (as sort keys), time, date */
    char *default_json;            /* compact JSON of the normalised default, or NULL */
    char *pattern_text;            /* or NULL */
    struct pattern *pattern;       /* compiled; or NULL */
    char **choices;                /* choice */
    size_t choices_count;
    struct entity_field *of; /* list, map: what is inside; NULL: anything */
    /* ref */
    char to[ENTITY_NAME_MAX + 1];
    char inverse[ENTITY_NAME_MAX + 1]; /* "" when it has none */
    enum entity_on_remove on_remove;
    bool unchecked; /* the target need not exist */
};

struct entity_index_term {
    char name[ENTITY_NAME_MAX + 1]; /* a field, or a system field */
    int field;                      /* position in fields, -1 for a system field */
    bool desc;
};

struct entity_index {
    char name[32]; /* of the index inside the database: stable for equal terms */
    bool global;   /* over all tenants: what the module itself looks for */
    struct entity_index_term terms[ENTITY_INDEX_FIELDS_MAX];
    size_t terms_count;
    bool unique;
};

/* Who may; what is unsaid needs the node's token where it asks for one. */
enum entity_access_verb { ACCESS_READ, ACCESS_WRITE, ACCESS_REMOVE, ACCESS_VERBS };
enum entity_access { ACCESS_UNSAID, ACCESS_SIGNED_IN, ACCESS_PUBLIC };

struct entity_sql; /* the module's own */
struct entity_copy;
struct entity_past;

struct entity_def {
    int refs; /* atomic */
    char name[ENTITY_NAME_MAX + 1];
    char path[2 * ENTITY_NAME_MAX + 2]; /* the name in URLs */
    struct entity_field *fields;
    size_t fields_count;
    /* Positions in `fields`, from 1, by hash of the name; 0: none. */
    uint16_t field_slots[ENTITY_FIELD_SLOTS];
    struct entity_index *indexes;
    size_t indexes_count;
    bool require_version;
    bool lease_required;    /* changes need the record's lease: entity.h */
    int64_t soft_remove_ms; /* removed records are kept so long; 0: not at all */
    bool no_feed;           /* its changes are not written down */
    bool ttl;               /* records have expires_at, the last of `fields` */
    int64_t ttl_ms;         /* of records that do not say; 0: they do not expire */
    int64_t history_ms;     /* replaced versions are kept so long; 0: not at all */
    int64_t history_versions;
    enum entity_access access[ACCESS_VERBS];
    bool before_save, before_remove;
    bool view;        /* reads from outside have fields computed by a function */
    bool has_decimal; /* rows carry sort keys */
    bool has_search;  /* of a field */
    bool has_refs;
    uint32_t version; /* given by the ledger when it is defined, from 1; 0 before */
    char *json;       /* normalised text: equal definitions have equal texts */
    struct entity_sql *sql;
    struct entity_copy *copy; /* NULL: indexes and search are complete; see build.h */
    struct entity_past *past; /* NULL: nothing was taken away; see kept.h */
};

/* From JSON. On failure the message names entity, field and option, and the way out. The new
 * definition has one reference and version 0. */
int entity_def_parse(const json_t *j, struct entity_def **out, struct err *e);
int entity_def_parse_text(const char *text, size_t n, struct entity_def **out, struct err *e);
struct entity_def *entity_def_ref(const struct entity_def *d);
void entity_def_unref(struct entity_def *d);   /* takes NULL */
void entity_def_unrefp(struct entity_def **d); /* for AUTO */

/* NULL when there is none. */
const struct entity_field *entity_def_field(const struct entity_def *d, const char *name);
/* "id" "version" "created_at" "updated_at" "created_by" "updated_by" */
bool entity_is_system_field(const char *name);
/* The reference that a field is, or is a list of; NULL for others. */
const struct entity_field *entity_field_ref(const struct entity_field *f);
bool entity_def_has_links(const struct entity_def *d); /* lists of references */
const char *entity_kind_name(enum entity_kind k);

#endif
