/* with.c, for the files that read records. */
#ifndef KOAN_API_WITH_PRIV_H
#define KOAN_API_WITH_PRIV_H

#include "api/api_priv.h"
#include "entity/expand.h"

/* Checked on the request's thread; `fields` as in the query, or NULL. */
int api_with_new(struct http_request *req, const struct entity_def *d, const char *with,
                 const char *fields, struct entity_expand **out, struct err *e);
/* `rows` is a record or a list of them as JSON, and comes back larger. */
int api_with_apply(struct entity_expand *x, struct db *db, const char *scope, struct buf *rows,
                   struct err *e);
/* GET of one record that has ?with=. */
void api_with_get(struct http_request *req);

#endif
