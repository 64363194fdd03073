/* with.c, for the files that read records. */
#ifndef KOAN_API_WITH_PRIV_H
#define KOAN_API_WITH_PRIV_H

#include "api/api_priv.h"
#include "entity/expand.h"

/* Checked on the request's thread; `fields` as in the query, or NULL. */
int api_with_new(struct http_request *req, const struct entity_def *d, const char *with,
                 const char *fields, struct entity_expand **out, struct err *e);
struct api_with {
    struct entity_expand *expand;
    enum api_shape shape;
    bool viewed; /* views come after it */
};
/* `text` has records, and comes back larger. For views also as JSON, a new reference. */
int api_with_apply(const struct api_with *w, struct db *db, const char *scope, struct buf *text,
                   json_t **rows, struct err *e);
/* GET of one record that has ?with=. */
void api_with_get(struct http_request *req);

#endif
