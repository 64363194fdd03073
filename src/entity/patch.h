/* Patch - merge-patch (RFC 7396) and JSON-patch (RFC 6902) on JSON values. Pure.
 *
 * Both change `doc` in place and take nothing from the patch but copies. A JSON-patch is all or
 * nothing for its caller only if the caller throws the document away on failure: it is changed up
 * to the failing operation.
 *
 * Errors name the operation and the pointer: ERR_INVALID for what can never be right (shape,
 * unknown operation or member, malformed pointer, moving a value into itself), ERR_CONFLICT for
 * what this document does not allow (a `test` that fails, a target that is absent), ERR_TOO_LARGE
 * over the limits. */
#ifndef KOAN_ENTITY_PATCH_H
#define KOAN_ENTITY_PATCH_H

#include "base/json.h"

struct err;

enum {
    PATCH_OPS_MAX = 1000,
    PATCH_POINTER_MAX = 1024,
    PATCH_COPIES_MAX = 8 << 20, /* bytes that copy operations may make in all */
};

enum entity_patch_kind {
    ENTITY_PATCH_MERGE = 0, /* merge-patch; partial JSON is the same */
    ENTITY_PATCH_JSON = 1,  /* the six operations */
};

/* *doc is a reference of the caller's; it may be replaced. Nobody else may hold its inside. */
int patch_merge(json_t **doc, const json_t *patch, struct err *e);
int patch_json(json_t **doc, const json_t *patch, struct err *e);
/* Shape alone, without a document: for an early answer. */
int patch_check(enum entity_patch_kind kind, const json_t *patch, struct err *e);

#endif
