/* All SQL of canon. Reads serve any connection; writes are for apply. */
#ifndef KOAN_CANON_STORE_H
#define KOAN_CANON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct canon_op_arrive;
struct canon_op_wait;
struct apply;
struct db;
struct db_rows;
struct err;

enum { STORE_ID = 257 };

/* A statement with its first parameters bound to texts; NULL with `e` set when it cannot be had. */
struct db_stmt;
struct db_stmt *store_query(struct db *db, const char *sql, const char *const *texts, size_t count,
                            struct err *e);
#define STORE_QUERY(db, sql, e, ...)                                                               \
    store_query(db, sql, (const char *const[]){__VA_ARGS__},                                       \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *), e)

struct store_source {
    char *origin, *source_id;
    uint64_t rev, last_hash, last_def;
    char golden[STORE_ID]; /* "" while parked */
    char arrival[40];
    int64_t observed_at;
    json_t *fields, *ever, *keys;
};
void store_source_fini(struct store_source *s);

struct store_golden {
    uint64_t rev, def, said;
    int lifecycle, readiness;
    char merged_into[STORE_ID];
};

/* 0, or ERR_NOT_FOUND without words. */
int store_source_get(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, struct store_source *out, struct err *e);
/* 0 when there is none. */
int store_source_rev(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, uint64_t *out, struct err *e);
int store_key_owner(struct db *db, const char *tenant, const char *model, const char *key,
                    char out[STORE_ID], struct err *e);
/* The same of many keys, the first column of `keys`: calls back for each that has an owner. */
int store_key_owners(struct db *db, const char *tenant, const char *model,
                     const struct db_rows *keys,
                     void (*found)(void *arg, size_t at, const char *owner), void *arg,
                     struct err *e);
int store_golden_get(struct db *db, const char *tenant, const char *model, const char *id,
                     struct store_golden *out, struct err *e);
/* Source records of a golden record; the callback owns what it is given. Stops when it returns
 * non-zero. */
typedef int store_source_cb(void *arg, struct store_source *s, struct err *e);
int store_sources_of(struct db *db, const char *tenant, const char *model, const char *golden,
                     store_source_cb *cb, void *arg, struct err *e);
/* 1: it is; 0: it is not, or not any more. */
int store_arrival_is_parked(struct db *db, const char *id, struct err *e);
/* The definition of a model: def 0 is the current one. A new string. */
int store_model_get(struct db *db, const char *name, uint64_t def, char **definition,
                    struct err *e);

/* ---- apply ---- */
int store_model_put(struct db *db, const char *name, uint64_t def, uint64_t seq,
                    const char *definition, struct err *e);
int store_arrival_put(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                      struct err *e);
int store_source_put(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                     struct err *e);
int store_source_remove(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                        struct err *e);
int store_key_put(struct db *db, const char *tenant, const char *model, const char *key,
                  const char *golden, struct err *e);
int store_keys_put(struct db *db, const char *tenant, const char *model, const char *keys,
                   const char *golden, struct err *e);
int store_keys_remove(struct db *db, const char *tenant, const char *model, const char *keys,
                      const char *golden, struct err *e);
int store_golden_put(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                     struct err *e);
int store_merge(struct db *db, const struct apply *a, const struct canon_op_arrive *op,
                const char *loser, struct err *e);
int store_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                const char *source_id, struct err *e);

/* ---- memo.c: what stage functions had from outside ---- */
/* *out is NULL when the arrival has none. */
int store_memo_get(struct db *db, const char *arrival, json_t **out, struct err *e);
int store_memo_drop(struct db *db, const char *arrival, struct err *e);
int store_memo_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, struct err *e);

/* ---- store_parked.c ---- */
/* Ids of what is parked of a source, or was until it was resumed or rejected: what may have a
 * record. Stops when the callback does not return 0. */
typedef int store_parked_cb(void *arg, const char *arrival, struct err *e);
int store_parked_of(struct db *db, const char *tenant, const char *model, const char *origin,
                    const char *source_id, store_parked_cb *each, void *arg, struct err *e);
int store_arrival_reject(struct db *db, const char *id, const char *rejected, struct err *e);
/* What is parked of a source whose documents go is withdrawn. */
int store_parked_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                       const char *source_id, struct err *e);

/* ---- store_part.c: a golden record that falls into parts ---- */
/* A number that grows with the order in which source records became known; *out stays as it is
 * when the database does not have this one. */
int store_source_since(struct db *db, const char *tenant, const char *model, const char *origin,
                       const char *source_id, int64_t *out, struct err *e);

/* ---- store_failed.c ---- */
/* When the oldest failed arrival came; ERR_NOT_FOUND, without words, when there is none. */
int store_failed_oldest(struct db *db, int64_t *at, struct err *e);
/* Removes the oldest that came at or before then; ERR_NOT_FOUND when there is none. */
int store_failed_remove(struct db *db, int64_t before, struct err *e);

/* ---- store_wait.c: parked arrivals that wait for a key ---- */
/* *due: a key has an owner by now and the arrival is to be taken up. */
int store_wait_put(struct db *db, const char *tenant, const struct canon_op_wait *w, bool *due,
                   struct err *e);
/* Whether anything waits at all. */
int store_waits(struct db *db, bool *out, struct err *e);
/* The keys of a JSON list have an owner: what waits for one of them is due. */
int store_wait_given(struct db *db, const char *tenant, const char *model, const char *keys,
                     int64_t *marked, struct err *e);
/* It waits no more. */
int store_wait_drop(struct db *db, const char *arrival, struct err *e);
/* The same for all of a source whose documents go. */
int store_wait_erase(struct db *db, const char *tenant, const char *model, const char *origin,
                     const char *source_id, struct err *e);
/* How often it was taken up; 0 when it does not wait. */
int store_wait_tries(struct db *db, const char *arrival, int *out, struct err *e);
struct store_due {
    int64_t rid;
    char arrival[40];
    char *tenant, *waiter;
};
void store_due_fini(struct store_due *d);
/* The first that is due behind `after`: 1, 0 when there is none. */
int store_wait_due(struct db *db, int64_t after, struct store_due *out, struct err *e);

#endif
