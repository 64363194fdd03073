/* Doc - the declared part of a record: checked, normalised, as text.
 *
 * What a caller brings becomes what is stored: unknown fields are refused with the nearest right
 * name, kinds and options are checked, values take their one normal form (times in UTC, decimals
 * without needless zeros), nulls are dropped, absent fields get their default, keys stand in
 * declared order. So equal records have equal texts, and reading one is splicing text.
 *
 * All faults are found at once: `errors` is a JSON array of {"field", "code", "detail"} as
 * problem+json shows it. */
#ifndef KOAN_ENTITY_DOC_H
#define KOAN_ENTITY_DOC_H

#include <stddef.h>

#include "base/buf.h"
#include "base/json.h"
#include "entity/def.h"

struct err;

enum {
    ENTITY_ERRORS_MAX = 50, /* faults listed for one record */
};

struct entity_doc {
    struct buf body; /* compact JSON object */
    struct buf keys; /* sort keys of decimal fields as a JSON object; empty when there are none */
};

enum entity_doc_flag {
    ENTITY_DOC_NO_DEFAULTS = 1, /* absent fields stay absent */
    ENTITY_DOC_SYSTEM = 2,      /* system fields in the input are passed over, not refused */
    ENTITY_DOC_STORED = 4,      /* an old row: a required field that has a default may be absent */
};

void entity_doc_init(struct entity_doc *d);
void entity_doc_fini(struct entity_doc *d); /* also for AUTO */

/* The normalised object, a new reference; NULL with `e` set (ERR_INVALID; ERR_TOO_LARGE over 1 MiB)
 * and, when `errors` is given, the list of faults in *errors (a new reference, or NULL). `in` is
 * not changed. */
json_t *entity_doc_check(const struct entity_def *d, const json_t *in, int flags, json_t **errors,
                         struct err *e);
/* Of an object whose values have their normal form and stand in declared order: whether
 * entity_doc_check would give it again. Else something is absent that is required or has a default.
 */
bool entity_doc_lacks_nothing(const struct entity_def *d, const json_t *normal);
/* The text of what entity_doc_check gave. */
int entity_doc_print(const struct entity_def *d, const json_t *checked, struct entity_doc *out,
                     struct err *e);
/* The same for a caller that has the text already. */
int entity_doc_printed(const struct entity_def *d, const json_t *checked, const char *text,
                       struct entity_doc *out, struct err *e);
/* Checked and printed. */
int entity_doc_make(const struct entity_def *d, const json_t *in, int flags, struct entity_doc *out,
                    json_t **errors, struct err *e);
/* The defaults alone, as a new object: GET /new. */
json_t *entity_doc_defaults(const struct entity_def *d);
/* One value against one field: its normal form as a new reference (`v` itself when it has that form
 * already), or NULL with the reason in `e`.
 * Null is not a value here. */
json_t *entity_value_check(const struct entity_field *f, const json_t *v, struct err *e);

#endif
