/* What records_write.c and bulk.c share. */
#ifndef KOAN_API_RECORDS_PRIV_H
#define KOAN_API_RECORDS_PRIV_H

#include "api/api_priv.h"

struct records_write {
    struct entity_write w;
    struct http_request *req;
    struct entity_def *def;
    bool by_name; /* PUT: the id came with the URL */
    void *more;   /* the caller's */
};

/* In the request's arena; `items` as well, or by the caller. Takes the reference. */
struct records_write *records_write_new(struct http_request *req, struct entity_def *d,
                                        struct entity_item *items, size_t count,
                                        void (*done)(struct entity_write *w));
/* Starts it; on failure done() runs as it would have later, with the error in `w->err`. */
void records_write_start(struct records_write *op);

/* A removal that was refused because others refer to the record says who; to one without a token
 * they may be nobody's business. */
void records_hide(const struct http_request *req, struct entity_item *it);

#endif
