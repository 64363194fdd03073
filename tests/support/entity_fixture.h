/* What tests of one entity begin and end with: a database and the definition. */
#ifndef KOAN_SUPPORT_ENTITY_FIXTURE_H
#define KOAN_SUPPORT_ENTITY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "support/entity_db.h"

struct fixture {
    struct entity_db *f;
    struct entity_def *d;
};

static inline int fixture_open(void **state, const char *definition)
{
    static struct fixture x;
    x.f = entity_db_open();
    x.d = entity_db_must_define(x.f, definition);
    *state = &x;
    return 0;
}

static inline int fixture_close(void **state)
{
    struct fixture *x = *state;
    entity_def_unref(x->d);
    entity_db_close(x->f);
    return 0;
}

static inline void save(struct fixture *x, const char *id, const char *doc)
{
    struct err e = ERR_INIT;
    if (entity_db_save(x->f, x->d, id, ENTITY_UPSERT, 0, doc, &e) != 0)
        fail_msg("%s: %s", id, e.text);
}

static inline bool is_there(struct fixture *x, const char *id)
{
    json_t *r = entity_db_get(x->f, x->d, id);
    json_decref(r);
    return r != NULL;
}

#endif
