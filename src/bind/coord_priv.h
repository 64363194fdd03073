/* What coord_lib.c (values, counters), limit_lib.c and cache_lib.c share: the operations of coord
 * that scripts make. */
#ifndef KOAN_BIND_COORD_PRIV_H
#define KOAN_BIND_COORD_PRIV_H

#include "bind/coord_lib.h"
#include "coord/coord.h"

enum coord_kind {
    OP_PUT,
    OP_REMOVE,
    OP_VALUE_IS,
    OP_ADD,
    OP_COUNT_IS,
    OP_TAKE,
    OP_RELEASE,
    OP_CACHE,
    OP_FLUSH
};

struct coord_op {
    enum coord_kind kind;
    char name[COORD_KEY_BYTES + 1];
    uint64_t version;
    int64_t number;
    struct coord_put put;
    struct coord_take take;
    struct coord_cached cached;
    const char *tags[COORD_TAGS_MAX]; /* of `kept` */
    json_t *kept;
    struct coord_claim claim;
    char id[COORD_ID_BYTES + 1]; /* of the claim */
    struct buf value;
};

/* Argument `at` as a name, which lives as long as the argument; raises when it is none. */
const char *bind_coord_name(lua_State *L, int at, const char *what);
/* Pushes an operation on the name that is argument 1, called `what`. */
struct coord_op *bind_coord_push(lua_State *L, enum coord_kind kind, const char *what);
/* What coord refuses is refused where it is said: 1, for the operation on top, or raises. */
int bind_coord_checked(lua_State *L, const struct coord_op *op, const char *what);
/* The value of the operation, as JSON. */
void bind_coord_print(struct coord_op *op, const json_t *value, struct err *e);

/* limit_lib.c */
void bind_push_taken(lua_State *L, const struct coord_taken *taken);
void bind_open_limits(lua_State *L);
/* cache_lib.c */
void bind_open_cache(lua_State *L);

#endif
