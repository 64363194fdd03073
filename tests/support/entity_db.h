/* A database with entities in it, without a ledger: units are applied as the ledger applies them.
 */
#ifndef KOAN_TESTS_SUPPORT_ENTITY_DB_H
#define KOAN_TESTS_SUPPORT_ENTITY_DB_H

#include "base/buf.h"
#include "base/json.h"
#include "db/db.h"
#include "entity/entity.h"
#include "ledger/txn.h"

struct err;

struct entity_db {
    char dir[64], path[96];
    struct db *writer, *reader;
    struct entities *entities;
    int64_t at;
    uint64_t seq;
    char tenant[32];
    struct buf results; /* of the last unit: length-prefixed */
};

struct entity_db *entity_db_open(void);
void entity_db_close(struct entity_db *f);
/* One unit in one entry. Ends the txn. */
int entity_db_apply(struct entity_db *f, struct txn *t, struct err *e);
/* The i-th operation's result of the last unit. */
struct entity_result entity_db_result(struct entity_db *f, uint32_t i);
int entity_db_define(struct entity_db *f, const char *json, struct err *e);
/* The definition; fails the test when it is refused. A reference. */
struct entity_def *entity_db_must_define(struct entity_db *f, const char *json);
int entity_db_save(struct entity_db *f, const struct entity_def *d, const char *id,
                   enum entity_mode mode, uint64_t if_version, const char *doc, struct err *e);
int entity_db_patch(struct entity_db *f, const struct entity_def *d, const char *id,
                    enum entity_patch_kind kind, const char *patch, struct err *e);
int entity_db_remove(struct entity_db *f, const struct entity_def *d, const char *id,
                     uint64_t if_version, struct err *e);
int entity_db_restore(struct entity_db *f, const struct entity_def *d, const char *id,
                      struct err *e);
/* Rows that went. */
uint32_t entity_db_sweep(struct entity_db *f, uint32_t rows);
/* One entity.build; true when there is more to do. */
bool entity_db_build(struct entity_db *f, uint32_t rows);
/* A migration without a function, as a deploy does it: begun; one batch, how many records it had,
 * or what it was refused for; switched. */
int entity_db_migrate(struct entity_db *f, const struct entity_def *to, int64_t keep_ms);
int entity_db_migrated(struct entity_db *f, const struct entity_def *to, int64_t *gen);
int entity_db_adopt(struct entity_db *f, const char *name, int64_t gen);
/* A new `struct entities` reads what is there, as after a restart. */
void entity_db_restart(struct entity_db *f);
/* A new reference, NULL when it is not there. */
json_t *entity_db_get(struct entity_db *f, const struct entity_def *d, const char *id);
json_t *entity_db_json(const char *text);
/* The first column of the first row, which must be there. */
int64_t entity_db_number(struct entity_db *f, const char *sql);

#endif
