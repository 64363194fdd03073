/* The operations as the ledger replays them. Each is one writing statement at most, behind all its
 * checks: so a lone one needs no savepoint. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "db/db.h"
#include "entity/build_priv.h"
#include "entity/kept_priv.h"
#include "entity/read_priv.h"
#include "ledger/txn.h"

enum { SHOW_SCOPE = TXN_ENVELOPE_TEXT_MAX + ENTITY_NAME_MAX + 2 /* tenant/partition */ };

/* What every operation begins with. */
struct change {
    struct row_change row;
    struct stored_row old;
    bool found;
    bool expired; /* `old` is there, but only because it was not swept yet */
    struct buf completed;
};

static void change_fini(struct change *c)
{
    stored_row_fini(&c->old);
    buf_fini(&c->completed);
}

static int change_begin(struct change *c, void *self, const struct apply *a,
                        const struct op_key *key, struct err *e)
{
    c->found = c->expired = false;
    stored_row_init(&c->old);
    buf_init(&c->completed, ENTITY_RECORD_BYTES_MAX);
    c->row = (struct row_change){.s = self, .a = a};
    c->row.def = entities_live(self, a, key->entity, key->entity_len, e);
    if (c->row.def == NULL)
        return e->code;
    c->row.key = (struct row_key){
        .tenant = a->env->tenant, .part = key->part, .id = key->id, .id_len = key->id_len};
    return 0;
}

/* The same, for what writes. */
static int write_begin(struct change *c, void *self, const struct apply *a,
                       const struct op_key *key, struct err *e)
{
    int rc = change_begin(c, self, a, key, e);
    return rc < 0 ? rc : migrate_check_held(c->row.def, a->at, e);
}

static int change_find(struct change *c, struct err *e)
{
    int rc = store_find(c->row.a->db, c->row.def, &c->row.key, &c->old, e);
    c->expired = rc > 0 && ttl_is_over(c->row.def, c->old.body, c->old.body_len, c->row.a->at);
    c->found = rc > 0 && !c->expired;
    return rc < 0 ? rc : 0;
}

static int absent(const struct change *c, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "there is no %s '%.*s'", c->row.def->name,
                   (int)c->row.key.id_len, c->row.key.id);
}

static int check_version(const struct change *c, uint64_t wanted, struct err *e)
{
    if (!c->found)
        return err_set(e, ERR_VERSION_MISMATCH, "%s '%.*s' is not there, version %llu was expected",
                       c->row.def->name, (int)c->row.key.id_len, c->row.key.id,
                       (unsigned long long)wanted);
    if (c->old.version != wanted)
        return err_set(e, ERR_VERSION_MISMATCH,
                       "%s '%.*s' is at version %llu, not %llu: read it again", c->row.def->name,
                       (int)c->row.key.id_len, c->row.key.id, (unsigned long long)c->old.version,
                       (unsigned long long)wanted);
    return 0;
}

/* if_version 0 means none was given, which `require_version` refuses for a row that exists. */
static int check_conditions(const struct change *c, uint64_t if_version, struct err *e)
{
    if (if_version > 0)
        return check_version(c, if_version, e);
    if (c->found && c->row.def->require_version)
        return err_set(e, ERR_INVALID,
                       "%s wants a version with every change: If-Match or if_version",
                       c->row.def->name);
    return 0;
}

static void created(const struct change *c, struct buf *result)
{
    struct entity_result r = {.outcome = ENTITY_CREATED,
                              .version = 1,
                              .created_at = c->row.a->at,
                              .updated_at = c->row.a->at};
    op_write_result(result, &r);
}

static int no_room(const struct change *c, struct err *e)
{
    if (c->completed.starved)
        return err_set(e, ERR_NOMEM, "no memory for a record of %s", c->row.def->name);
    return err_set(e, ERR_TOO_LARGE, "a record of %s has at most %d bytes", c->row.def->name,
                   ENTITY_RECORD_BYTES_MAX);
}

static int update(struct change *c, struct new_body *b, struct buf *result, struct err *e)
{
    if (!ttl_complete(c->row.def, c->old.created_at, b, &c->completed))
        return no_room(c, e);
    struct entity_result r = {.outcome = ENTITY_UNCHANGED,
                              .version = c->old.version,
                              .created_at = c->old.created_at,
                              .updated_at = c->old.updated_at};
    if (!change_is_none(c->old.body, c->old.body_len, b->body, b->body_len)) {
        int rc = rows_update(&c->row, &c->old, b, e);
        if (rc < 0)
            return rc;
        r.outcome = ENTITY_UPDATED;
        r.version++;
        r.updated_at = c->row.a->at;
    }
    op_write_result(result, &r);
    return 0;
}

static int save(struct change *c, const struct save_op *op, struct new_body *b, struct buf *result,
                struct err *e)
{
    int rc;
    if (op->mode != ENTITY_CREATE || op->if_version > 0 || c->row.def->ttl) {
        if ((rc = change_find(c, e)) < 0 || (rc = check_conditions(c, op->if_version, e)) < 0)
            return rc;
        if (c->found && op->mode != ENTITY_CREATE)
            return (rc = lease_check(&c->row, false, e)) < 0 ? rc : update(c, b, result, e);
        if (op->mode == ENTITY_REPLACE)
            return absent(c, e);
    }
    if ((rc = lease_check(&c->row, true, e)) < 0)
        return rc;
    if (!ttl_complete(c->row.def, c->row.a->at, b, &c->completed))
        return no_room(c, e);
    /* Creating is one statement: the unique index finds out whether the id is taken. */
    rc = c->expired ? rows_revive(&c->row, &c->old, b, e) : rows_insert(&c->row, b, e);
    if (rc == 0)
        created(c, result);
    return rc;
}

static int save_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                      struct buf *result, struct err *e)
{
    struct save_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = op_read_save(payload, version, &op, e);
    if (rc < 0 || (rc = write_begin(&c, self, a, &op.key, e)) < 0)
        return rc;
    struct new_body b = {op.body, op.keys, op.body_len, op.keys_len};
    if (op.def_version == c.row.def->version)
        return save(&c, &op, &b, result, e);
    /* Checked under another definition: check it under this one. */
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    AUTO(json_unref) json_t *body = json_read(op.body, op.body_len, e);
    if (body == NULL)
        return ERR_INVALID;
    if ((rc = entity_doc_make(c.row.def, body, 0, &doc, NULL, e)) < 0)
        return rc;
    b = (struct new_body){buf_str(&doc.body), doc.keys.len > 0 ? buf_str(&doc.keys) : NULL,
                          doc.body.len, doc.keys.len};
    return save(&c, &op, &b, result, e);
}

static int patch_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                       struct buf *result, struct err *e)
{
    struct patch_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = op_read_patch(payload, version, &op, e);
    if (rc < 0 || (rc = write_begin(&c, self, a, &op.key, e)) < 0 || (rc = change_find(&c, e)) < 0)
        return rc;
    c.row.how = HOW_PATCH;
    if (!c.found && op.if_version == 0)
        return absent(&c, e);
    if ((rc = check_conditions(&c, op.if_version, e)) < 0 ||
        (rc = lease_check(&c.row, false, e)) < 0)
        return rc;
    AUTO(json_unref) json_t *patch = json_read(op.patch, op.patch_len, e);
    if (patch == NULL || (rc = change_check_patch(c.row.def, op.kind, patch, e)) < 0)
        return patch == NULL ? ERR_INVALID : rc;
    json_t *body = json_read(c.old.body, c.old.body_len, e);
    if (body == NULL)
        return err_set(e, ERR_CORRUPT, "%s '%.*s' is not JSON", c.row.def->name,
                       (int)c.row.key.id_len, c.row.key.id);
    AUTO(entity_doc_fini) struct entity_doc doc;
    entity_doc_init(&doc);
    if ((rc = change_patch(c.row.def, body, op.kind, patch, &doc, NULL, e)) < 0)
        return rc;
    struct new_body b = {buf_str(&doc.body), doc.keys.len > 0 ? buf_str(&doc.keys) : NULL,
                         doc.body.len, doc.keys.len};
    return update(&c, &b, result, e);
}

static int remove_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                        struct buf *result, struct err *e)
{
    struct remove_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = op_read_remove(payload, version, true, &op, e);
    if (rc < 0 || (rc = write_begin(&c, self, a, &op.key, e)) < 0 || (rc = change_find(&c, e)) < 0)
        return rc;
    c.row.how = HOW_REMOVE;
    if (!c.found && op.version == 0)
        return absent(&c, e);
    if ((rc = check_conditions(&c, op.version, e)) < 0 ||
        (rc = lease_check(&c.row, false, e)) < 0 || (rc = removal_run(&c.row, &c.old, e)) < 0)
        return rc;
    struct entity_result r = {.outcome = ENTITY_REMOVED,
                              .version = c.old.version,
                              .created_at = c.old.created_at,
                              .updated_at = c.old.updated_at};
    op_write_result(result, &r);
    return 0;
}

static int restore_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                         struct buf *result, struct err *e)
{
    struct remove_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = op_read_remove(payload, version, false, &op, e);
    if (rc < 0 || (rc = write_begin(&c, self, a, &op.key, e)) < 0 ||
        (rc = lease_check(&c.row, false, e)) < 0 || (rc = removed_restore(&c.row, &c.old, e)) < 0)
        return rc;
    struct entity_result r = {.outcome = ENTITY_RESTORED,
                              .version = c.old.version,
                              .created_at = c.old.created_at,
                              .updated_at = a->at};
    op_write_result(result, &r);
    return 0;
}

static int purge_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                       struct buf *result, struct err *e)
{
    struct remove_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = op_read_remove(payload, version, false, &op, e);
    if (rc < 0 || (rc = change_begin(&c, self, a, &op.key, e)) < 0 ||
        (rc = change_find(&c, e)) < 0 || (rc = lease_check(&c.row, false, e)) < 0)
        return rc;
    bool is_there = c.found;
    if ((rc = removed_purge(&c.row, &c.old, e)) < 0 ||
        (rc = is_there ? 0 : history_forget(&c.row, e)) < 0)
        return rc;
    struct entity_result r = {.outcome = ENTITY_PURGED,
                              .version = c.old.version,
                              .created_at = c.old.created_at,
                              .updated_at = a->at};
    op_write_result(result, &r);
    return 0;
}

/* It may not refuse: what cannot be shown is not, unless the machine is at fault. */
static int show_over(int rc, const struct err *why, struct err *e)
{
    if (rc != ERR_IO && rc != ERR_NOMEM && rc != ERR_DISK_FULL && rc != ERR_CORRUPT &&
        rc != ERR_CANCELED)
        return 0;
    *e = *why;
    return rc;
}

/* The print of a record is the same on every node: definitions come through the log. */
static int show_apply(void *self, const struct apply *a, uint8_t version, struct cursor *payload,
                      struct buf *result, struct err *e)
{
    struct remove_op op;
    AUTO(change_fini) struct change c = {.found = false};
    struct err why = ERR_INIT;
    int rc = op_read_remove(payload, version, true, &op, &why);
    if (rc < 0 || (rc = change_begin(&c, self, a, &op.key, &why)) < 0 ||
        (rc = change_find(&c, &why)) < 0 || !c.found)
        return show_over(rc, &why, e);
    AUTO(buf_fini) struct buf out = BUF_INIT(READ_RECORD_MAX);
    char scope[SHOW_SCOPE], id[ENTITY_ID_MAX + 1];
    snprintf(scope, sizeof scope, "%s%s%s", a->env->tenant, *op.key.part != '\0' ? "/" : "",
             op.key.part);
    snprintf(id, sizeof id, "%.*s", (int)op.key.id_len, op.key.id);
    rc = entity_get(a->db, c.row.def, scope, id, &out, NULL, &why);
    if (rc == 0 && out.len <= op.version)
        buf_add(result, out.data, out.len);
    return show_over(rc, &why, e);
}

/* ---- conditions ---- */

static int condition_begin(struct change *c, void *self, const struct apply *a, uint8_t version,
                           struct cursor *payload, uint64_t *wanted, struct remove_op *op,
                           struct err *e)
{
    int rc = op_read_remove(payload, version, wanted != NULL, op, e);
    if (rc < 0 || (rc = change_begin(c, self, a, &op->key, e)) < 0)
        return rc;
    if (wanted != NULL)
        *wanted = op->version;
    return change_find(c, e);
}

static int if_version_apply(void *self, const struct apply *a, uint8_t version,
                            struct cursor *payload, struct buf *result, struct err *e)
{
    (void)result;
    struct remove_op op;
    uint64_t wanted;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = condition_begin(&c, self, a, version, payload, &wanted, &op, e);
    return rc < 0 ? rc : check_version(&c, wanted, e);
}

static int if_absent_apply(void *self, const struct apply *a, uint8_t version,
                           struct cursor *payload, struct buf *result, struct err *e)
{
    (void)result;
    struct remove_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = condition_begin(&c, self, a, version, payload, NULL, &op, e);
    if (rc == 0 && c.found)
        rc = err_set(e, ERR_VERSION_MISMATCH, "%s '%.*s' exists already", c.row.def->name,
                     (int)c.row.key.id_len, c.row.key.id);
    return rc;
}

static int if_exists_apply(void *self, const struct apply *a, uint8_t version,
                           struct cursor *payload, struct buf *result, struct err *e)
{
    (void)result;
    struct remove_op op;
    AUTO(change_fini) struct change c = {.found = false};
    int rc = condition_begin(&c, self, a, version, payload, NULL, &op, e);
    if (rc == 0 && !c.found)
        rc = err_set(e, ERR_VERSION_MISMATCH, "%s '%.*s' is not there", c.row.def->name,
                     (int)c.row.key.id_len, c.row.key.id);
    return rc;
}

const struct domain_op entity_ops[] = {
    {ENTITY_OP_DEFINE, 1, false, false, "entity.define", define_apply, false},
    {ENTITY_OP_SAVE, 2, false, true, "entity.save", save_apply, false},
    {ENTITY_OP_PATCH, 2, false, true, "entity.patch", patch_apply, false},
    {ENTITY_OP_REMOVE, 2, false, true, "entity.remove", remove_apply, false},
    {ENTITY_OP_RESTORE, 2, false, true, "entity.restore", restore_apply, false},
    {ENTITY_OP_PURGE, 2, false, true, "entity.purge", purge_apply, false},
    {ENTITY_OP_SWEEP, 1, false, true, "entity.sweep", sweep_apply, false},
    {ENTITY_OP_BUILD, 1, false, false, "entity.build", build_apply, false},
    {ENTITY_OP_SHOW, 2, false, DOMAIN_SURE, "entity.show", show_apply, false},
    {ENTITY_OP_MIGRATE, 2, false, false, "entity.migrate", migrate_apply, false},
    {ENTITY_OP_MIGRATED, 1, false, false, "entity.migrated", migrated_apply, false},
    {ENTITY_OP_ADOPT, 1, false, false, "entity.adopt", adopt_apply, false},
    {ENTITY_OP_HALT, 1, false, false, "entity.halt", halt_apply, false},
    {ENTITY_OP_RETIRE, 1, false, false, "entity.retire", retire_apply, false},
    {ENTITY_OP_IF_VERSION, 2, true, true, "version", if_version_apply, false},
    {ENTITY_OP_IF_ABSENT, 2, true, true, "absent", if_absent_apply, false},
    {ENTITY_OP_IF_EXISTS, 2, true, true, "exists", if_exists_apply, false},
};
const size_t entity_ops_count = ARRAY_LEN(entity_ops);
