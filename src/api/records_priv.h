/* What records_write.c and bulk.c share. */
#ifndef KOAN_API_RECORDS_PRIV_H
#define KOAN_API_RECORDS_PRIV_H

#include "api/once_priv.h"

struct records_write {
    struct entity_write w;
    struct http_request *req;
    struct entity_def *def;
    void *more;        /* the caller's */
    bool recalled;     /* items were done by an earlier request with the same key */
    uint64_t kept_seq; /* the highest log index of those */
    uint64_t lease;    /* token of the record's lease; 0: none was brought */
};

/* In the request's arena; `items` as well, or by the caller. Takes the reference. */
struct records_write *records_write_new(struct http_request *req, struct entity_def *d,
                                        struct entity_item *items, size_t count,
                                        void (*done)(struct entity_write *w));
/* X-Koan-Lease: TOKEN, of the record of this id; NULL: it has none of its own, and a token makes no
 * sense. False: answered. */
bool records_lease(struct http_request *req, const char *id);
/* Starts it; on failure done() runs as it would have later, with the error in `w->err`. */
void records_write_start(struct records_write *op);

/* A removal that was refused because others refer to the record says who; to one without a token
 * they may be nobody's business. */
void records_hide(const struct http_request *req, struct entity_item *it);

/* Of a request with a key (once_priv.h), kept beside the results of a unit: how many items it has,
 * and their ids. -1: it is not of that form. */
void records_context(const struct entity_write *w, size_t first, size_t count, struct buf *out);
int records_kept_count(const struct api_kept *k);
/* Fills ids and results of so many items. `context` (may be NULL) is left where records_context()
 * ended, `shown` (may be NULL) gets what a lone item showed. False: it is not of that form. */
bool records_kept_items(const struct api_kept *k, struct entity_item *items, size_t count,
                        struct cursor *context, struct buf *shown);

#endif
