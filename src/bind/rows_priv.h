/* Rows - records that a script reads, many of them perhaps. Queries and counts may visit many rows,
 * so they go to the pool, one at a time for each script thread, and the coroutine waits; where it
 * cannot wait (in a callback of sort) they are made on the spot. What verbs.c and query.c share:
 * rows.c. */
#ifndef KOAN_BIND_ROWS_PRIV_H
#define KOAN_BIND_ROWS_PRIV_H

#include "base/buf.h"
#include "base/list.h"
#include "bind/bind_priv.h"
#include "entity/expand.h"
#include "entity/filter.h"
#include "entity/read.h"

enum { BIND_PAGE_BYTES = 8 << 20, BIND_STEPS_PER_ROW = 50 };

struct bind_rows {
    struct loop_work work;
    struct list node;
    struct bind_thread *thread;
    struct vm_run *run;
    int (*read)(struct bind_rows *r, struct db *db, struct err *e);
    const struct entity_def *def;
    const char *tenant;
    struct entity_query query;

    struct err err;
    struct entity_page page;
    struct buf text;
    struct filter *filter;
    struct entity_expand *expand;   /* NULL: nothing beside them */
    struct bind_snapshot *snapshot; /* NULL: as it is now */
    json_t *rows;
    int64_t count;
    size_t ids_count;
    const char *ids[ENTITY_GET_MANY_MAX];
};

/* Pushes one, which ends with what is pushed. */
struct bind_rows *bind_rows_push(lua_State *L);
/* `return bind_rows_read(L, r, k)`: k pushes what r->read() read, or raises. */
int bind_rows_read(lua_State *L, struct bind_rows *r, lua_KFunction k);
/* What stands beside them is wanted too: the text of `with`, or NULL. */
void bind_rows_with(lua_State *L, struct bind_rows *r, const struct entity_def *d, const char *with,
                    const char *fields);
/* Pushes that, as it was read. */
void bind_rows_tree(lua_State *L, struct bind_rows *r);

void bind_open_query(lua_State *L); /* query.c */

#endif
