/* Payloads of the operations: written here, read here. The layout is in
 * schema/entity-operations.md. */
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/payload.h"
#include "entity/entity_priv.h"
#include "ledger/txn.h"

static const char *const outcome_names[] = {"unchanged", "created",  "updated",
                                            "removed",   "restored", "purged"};

const char *entity_outcome_name(enum entity_outcome o)
{
    return outcome_names[o];
}

/* ---- writing ---- */

/* `name` is an id, or "partition/id": an id has no '/'. Version 2 has the partition; where there is
 * none the operation stays what it was. */
static struct buf *begin(struct txn *t, enum entity_op op, const struct entity_def *d,
                         const char *name)
{
    const char *slash = strchr(name, '/');
    struct buf *b = txn_begin(t, (uint16_t)op, slash != NULL ? 2 : 1);
    buf_add_text(b, d->name);
    buf_add_text(b, slash != NULL ? slash + 1 : name);
    if (slash != NULL)
        buf_add_bytes(b, name, (size_t)(slash - name));
    return b;
}

void entity_txn_define(struct txn *t, const struct entity_def *d)
{
    buf_add_text(txn_begin(t, ENTITY_OP_DEFINE, 1), d->json);
    txn_end(t);
}

void entity_txn_save(struct txn *t, const struct entity_def *d, const char *id,
                     enum entity_mode mode, uint64_t if_version, const struct entity_doc *doc)
{
    struct buf *b = begin(t, ENTITY_OP_SAVE, d, id);
    buf_add_u8(b, (uint8_t)mode);
    buf_add_u64(b, if_version);
    buf_add_u32(b, d->version);
    buf_add_bytes(b, buf_str(&doc->body), doc->body.len);
    buf_add_text(b, doc->keys.len > 0 ? buf_str(&doc->keys) : NULL);
    txn_end(t);
}

int entity_txn_patch(struct txn *t, const struct entity_def *d, const char *id, uint64_t if_version,
                     enum entity_patch_kind kind, const json_t *patch, struct err *e)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(ENTITY_RECORD_BYTES_MAX);
    int rc = json_print(patch, &text, e);
    if (rc < 0 || (rc = buf_check(&text, "a patch", e)) < 0)
        return rc;
    struct buf *b = begin(t, ENTITY_OP_PATCH, d, id);
    buf_add_u64(b, if_version);
    buf_add_u8(b, (uint8_t)kind);
    buf_add_bytes(b, buf_str(&text), text.len);
    txn_end(t);
    return 0;
}

void entity_txn_remove(struct txn *t, const struct entity_def *d, const char *id,
                       uint64_t if_version)
{
    buf_add_u64(begin(t, ENTITY_OP_REMOVE, d, id), if_version);
    txn_end(t);
}

void entity_txn_restore(struct txn *t, const struct entity_def *d, const char *id)
{
    begin(t, ENTITY_OP_RESTORE, d, id);
    txn_end(t);
}

void entity_txn_purge(struct txn *t, const struct entity_def *d, const char *id)
{
    begin(t, ENTITY_OP_PURGE, d, id);
    txn_end(t);
}

void entity_txn_sweep(struct txn *t, uint32_t rows)
{
    buf_add_u32(txn_begin(t, ENTITY_OP_SWEEP, 1), rows);
    txn_end(t);
}

void entity_txn_build(struct txn *t, uint32_t rows)
{
    buf_add_u32(txn_begin(t, ENTITY_OP_BUILD, 1), rows);
    txn_end(t);
}

void entity_txn_show(struct txn *t, const struct entity_def *d, const char *id, uint32_t bytes_max)
{
    buf_add_u64(begin(t, ENTITY_OP_SHOW, d, id), bytes_max);
    txn_end(t);
}

void entity_txn_if_version(struct txn *t, const struct entity_def *d, const char *id,
                           uint64_t version)
{
    buf_add_u64(begin(t, ENTITY_OP_IF_VERSION, d, id), version);
    txn_end(t);
}

void entity_txn_if_absent(struct txn *t, const struct entity_def *d, const char *id)
{
    begin(t, ENTITY_OP_IF_ABSENT, d, id);
    txn_end(t);
}

void entity_txn_if_exists(struct txn *t, const struct entity_def *d, const char *id)
{
    begin(t, ENTITY_OP_IF_EXISTS, d, id);
    txn_end(t);
}

/* ---- reading ---- */

static void read_key(struct cursor *c, uint8_t version, struct op_key *out)
{
    out->entity = cursor_bytes(c, &out->entity_len);
    out->id = cursor_bytes(c, &out->id_len);
    out->part[0] = '\0';
    if (version > 1)
        cursor_text(c, out->part, 1, ENTITY_NAME_MAX);
    if (out->entity == NULL || out->id == NULL || out->entity_len > ENTITY_NAME_MAX ||
        out->id_len == 0 || out->id_len > ENTITY_ID_MAX || memchr(out->id, '\0', out->id_len))
        c->bad = true;
}

int op_read_save(struct cursor *c, uint8_t version, struct save_op *out, struct err *e)
{
    *out = (struct save_op){.if_version = 0};
    read_key(c, version, &out->key);
    uint8_t mode = cursor_u8(c);
    out->mode = (enum entity_mode)mode;
    out->if_version = cursor_u64(c);
    out->def_version = cursor_u32(c);
    out->body = cursor_bytes(c, &out->body_len);
    out->keys = cursor_bytes(c, &out->keys_len);
    if (mode > ENTITY_REPLACE || out->body == NULL || out->body_len > ENTITY_RECORD_BYTES_MAX)
        c->bad = true;
    return cursor_whole(c, "entity.save", e);
}

int op_read_patch(struct cursor *c, uint8_t version, struct patch_op *out, struct err *e)
{
    *out = (struct patch_op){.if_version = 0};
    read_key(c, version, &out->key);
    out->if_version = cursor_u64(c);
    uint8_t kind = cursor_u8(c);
    out->kind = (enum entity_patch_kind)kind;
    out->patch = cursor_bytes(c, &out->patch_len);
    if (kind > ENTITY_PATCH_JSON || out->patch == NULL)
        c->bad = true;
    return cursor_whole(c, "entity.patch", e);
}

int op_read_remove(struct cursor *c, uint8_t version, bool has_version, struct remove_op *out,
                   struct err *e)
{
    *out = (struct remove_op){.version = 0};
    read_key(c, version, &out->key);
    if (has_version)
        out->version = cursor_u64(c);
    return cursor_whole(c, "entity operation", e);
}

void op_write_result(struct buf *out, const struct entity_result *r)
{
    buf_add_u8(out, (uint8_t)r->outcome);
    buf_add_u64(out, r->version);
    buf_add_u64(out, (uint64_t)r->created_at);
    buf_add_u64(out, (uint64_t)r->updated_at);
}

bool entity_result_parse(struct cursor *c, struct entity_result *out)
{
    uint8_t outcome = cursor_u8(c);
    out->outcome = (enum entity_outcome)outcome;
    out->version = cursor_u64(c);
    out->created_at = (int64_t)cursor_u64(c);
    out->updated_at = (int64_t)cursor_u64(c);
    return !c->bad && cursor_left(c) == 0 && outcome <= ENTITY_PURGED;
}
