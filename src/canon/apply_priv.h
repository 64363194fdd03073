/* The small operations and conditions of canon, behind the table in apply.c. */
#ifndef KOAN_CANON_APPLY_H
#define KOAN_CANON_APPLY_H

#include <stdint.h>

struct apply;
struct buf;
struct cursor;
struct err;

typedef int canon_apply(void *self, const struct apply *a, uint8_t version, struct cursor *c,
                        struct buf *result, struct err *e);

canon_apply canon_apply_erase, canon_apply_sweep, canon_apply_part, canon_apply_memo,
    canon_apply_reject;
canon_apply canon_if_key, canon_if_source, canon_if_golden, canon_if_parked;

#endif
