/* What scripts change of coord (values, counters, limits), one operation each. */
#ifndef KOAN_BIND_COORD_LIB_H
#define KOAN_BIND_COORD_LIB_H

#include "bind/bind_priv.h"

struct coord_op;
struct txn;

/* Element `at` as one of them; it lives as long as its list. Raises when it is none. */
const struct coord_op *bind_check_coord(struct lua_State *L, int at);
int bind_coord_compose(const struct coord_op *op, struct txn *t, struct err *e);
/* Pushes what became of it: a version, a count, or nil. */
int bind_coord_result(struct lua_State *L, const struct coord_op *op, const struct unit *u,
                      uint32_t place);

#endif
