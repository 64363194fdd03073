/* What the files of setting/ share. */
#ifndef KOAN_SETTING_SETTING_PRIV_H
#define KOAN_SETTING_SETTING_PRIV_H

#include <stdbool.h>

#include "base/buf.h"
#include "setting/setting.h"

enum { SETTING_OP_CHANGE = 0x0900 };

/* A payload that is whole and right; `items` runs over its names. */
struct setting_op {
    uint64_t revision;
    uint32_t count;
    struct cursor items;
};

struct setting_item {
    const char *name, *value; /* not ended by a NUL; value NULL: unset */
    size_t name_n, value_n;
};

int setting_decode(struct cursor *payload, struct setting_op *out, struct err *e);
bool setting_next(struct cursor *items, struct setting_item *out);

/* store.c */
int store_revision(struct db *db, uint64_t *out, struct err *e);
/* ERR_TOO_LARGE when the layer is over its limits. */
int store_check(struct db *db, struct err *e);

struct setting_who {
    uint64_t revision;
    const char *principal, *reason;
    int64_t at;
};
/* *changed: it was otherwise before. */
int store_put(struct db *db, const struct setting_item *it, const struct setting_who *who,
              bool *changed, struct err *e);
int store_trim(struct db *db, struct err *e);

#endif
