/* Queue: bodies moved out of the log. */
#include "queue/spill_priv.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/str.h"
#include "db/db.h"
#include "ledger/ledger.h"
#include "queue/core.h"
#include "queue/queue.h"

int spill_opened(struct spill *s, struct db *db, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *q = db_stmt_get(db, "SELECT below FROM local_queue_spill", e);
    int rc = q == NULL ? e->code : db_step(q, e);
    if (rc > 0)
        s->below = (uint64_t)db_col_int(q, 0);
    return rc < 0 ? rc : 0;
}

void spill_begin(struct spill *s, uint64_t index)
{
    if (s->target != 0 || index <= s->below)
        return;
    s->target = index;
    s->next = 1;
    core_spilled(s->core, CORE_PLACE(index, 0));
}

void spill_fini(struct spill *s)
{
    ledger_units_free(s->units);
    s->units = NULL;
    buf_fini(&s->entry);
}

void spill_committed(struct spill *s)
{
    if (!s->arrived)
        return;
    s->arrived = false;
    s->below = s->target;
    s->target = 0;
    s->entry_seq = 0;
    buf_fini(&s->entry);
    ledger_units_free(s->units);
    s->units = NULL;
}

/* What the step did is done again: from the first record, rows that are there are passed over. */
void spill_undo(struct spill *s)
{
    s->arrived = false;
    s->next = 1;
}

static int body_put(struct spill *s, uint64_t place, const void *p, size_t n)
{
    const struct envelope *env;
    if (ledger_units_at(s->units, (size_t)(place & 0xffffff), &env, s->err) != 0)
        return s->err->code;
    struct db_stmt *q = db_stmt_get(s->db,
                                    "INSERT OR IGNORE INTO local_queue_bodies(place, op, sender, "
                                    "causation) VALUES(?1, ?2, ?3, ?4)",
                                    s->err);
    if (q == NULL)
        return s->err->code;
    db_bind_str(q, 3, env->principal);
    db_bind_text(q, 4, env->causation, env->causation != NULL ? strlen(env->causation) : 0);
    db_bind_int(q, 1, (int64_t)place);
    db_bind_blob(q, 2, p, n);
    return db_run(q, s->err);
}

static int entry_load(struct spill *s, uint64_t seq)
{
    if (s->entry_seq == seq)
        return 0;
    if (s->entry.max == 0)
        buf_init(&s->entry, LEDGER_READ_MAX);
    buf_reset(&s->entry);
    s->entry_seq = 0;
    int rc = ledger_read(s->ledger, seq, &s->entry, s->err);
    if (s->units == NULL)
        s->units = ledger_units_new();
    if (rc == 0)
        rc = ledger_units_begin(s->units, s->entry.data, s->entry.len, s->err);
    if (rc == 0)
        s->entry_seq = seq;
    return rc;
}

/* The length of an operation stands before it. */
static int body_move(struct spill *s, uint64_t place)
{
    size_t offset = (size_t)(place & 0xffffff);
    struct cursor c;
    int rc = entry_load(s, place >> 24);
    if (rc < 0)
        return rc;
    if (offset < 4 || offset > s->entry.len)
        return err_set(s->err, ERR_CORRUPT, "log entry %llu has no operation at %zu",
                       (unsigned long long)(place >> 24), offset);
    cursor_init(&c, s->entry.data + offset - 4, s->entry.len - offset + 4);
    size_t n;
    const void *p = cursor_bytes(&c, &n);
    if (p == NULL)
        return err_set(s->err, ERR_CORRUPT, "log entry %llu: the operation at %zu is cut off",
                       (unsigned long long)(place >> 24), offset);
    s->bodies++;
    s->bytes += (uint32_t)n;
    return body_put(s, place, p, n);
}

static void place_each(void *arg, uint64_t place)
{
    struct spill *s = arg;
    if (s->rc == 0 && place >= CORE_PLACE(s->below, 0) && place < CORE_PLACE(s->target, 0))
        s->rc = body_move(s, place);
}

static int below_put(struct spill *s)
{
    struct db_stmt *q = db_stmt_get(
        s->db, "INSERT OR REPLACE INTO local_queue_spill(id, below) VALUES(1, ?1)", s->err);
    if (q == NULL)
        return s->err->code;
    db_bind_int(q, 1, (int64_t)s->target);
    return db_run(q, s->err);
}

static int forgotten_remove(struct spill *s)
{
    size_t count;
    const uint64_t *places = core_forgotten(s->core, &count);
    for (size_t i = 0; i < count; i++) {
        struct db_stmt *q =
            db_stmt_get(s->db, "DELETE FROM local_queue_bodies WHERE place = ?1", s->err);
        if (q == NULL)
            return s->err->code;
        db_bind_int(q, 1, (int64_t)places[i]);
        int rc = db_run(q, s->err);
        if (rc < 0)
            return rc;
    }
    if (count > 0)
        core_forgotten_clear(s->core);
    return 0;
}

int spill_step(struct spill *s, struct db *db, struct err *e)
{
    s->db = db;
    s->err = e;
    s->bodies = s->bytes = 0;
    s->rc = forgotten_remove(s);
    if (s->ledger == NULL) /* it is being opened: nothing of it can be read yet */
        return s->rc;
    for (uint32_t looked = 0; s->rc == 0 && s->target != 0 && looked < SPILL_RECORDS; looked++) {
        if (s->bodies >= SPILL_BODIES || s->bytes >= SPILL_BYTES)
            return 0;
        s->next = core_places(s->core, s->next, place_each, s);
        if (s->next != 0 || s->rc < 0)
            continue;
        s->arrived = true;
        return below_put(s);
    }
    return s->rc;
}

int spill_get(struct db *db, uint64_t place, struct buf *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *q = db_stmt_get(db, "SELECT op FROM local_queue_bodies WHERE place = ?1", e);
    if (q == NULL)
        return e->code;
    db_bind_int(q, 1, (int64_t)place);
    int rc = db_step(q, e);
    if (rc <= 0)
        return rc;
    size_t n;
    const void *p = db_col_blob(q, 0, &n);
    buf_add(out, p, n);
    rc = buf_check(out, "a message", e);
    return rc < 0 ? rc : 1;
}

static void sender_text(struct db_stmt *q, int col, char *out, size_t cap)
{
    const char *text = db_col_text(q, col, NULL);
    str_copy(out, cap, text != NULL ? text : "");
}

int queue_sender_read(struct db *reader, uint64_t place, struct queue_sender *out, struct err *e)
{
    AUTO(db_stmt_donep)
    struct db_stmt *q =
        db_stmt_get(reader, "SELECT sender, causation FROM local_queue_bodies WHERE place = ?1", e);
    *out = (struct queue_sender){.principal = ""};
    if (q == NULL)
        return e->code;
    db_bind_int(q, 1, (int64_t)place);
    int rc = db_step(q, e);
    if (rc <= 0)
        return rc;
    sender_text(q, 0, out->principal, sizeof out->principal);
    sender_text(q, 1, out->causation, sizeof out->causation);
    return 0;
}

int queue_place_read(struct ledger *l, struct db *reader, uint64_t place, struct buf *out,
                     struct err *e)
{
    size_t offset = (size_t)(place & 0xffffff);
    int rc = ledger_read(l, place >> 24, out, e);
    if (rc == 0 && offset <= out->len) {
        buf_consume(out, offset);
        return 0;
    }
    buf_reset(out);
    rc = rc != ERR_GONE || reader == NULL ? rc : spill_get(reader, place, out, e);
    if (rc > 0)
        return 0;
    return rc < 0 ? rc : err_set(e, ERR_GONE, "the record is no more: its bytes are not kept");
}

static int waiting_find(const struct buf *op, const struct core_waiting *w,
                        struct queue_stored *stored, const void **body, size_t *n, struct err *e)
{
    if (w->edited)
        return queue_body_read(op->data, op->len, 0, QUEUE_PLACE_EDIT, body, n, e);
    int rc = queue_message_read(op->data, op->len, 0, stored, e);
    *body = stored->body;
    *n = stored->body_len;
    return rc == 0 && stored->type != NULL
               ? err_field(e, ERR_INVALID, "unique_mode",
                           "the message that waits is %s, not JSON: nothing can be merged with it",
                           stored->type)
               : rc;
}

int queue_waiting_read(struct ledger *l, struct db *reader, const struct core_waiting *w,
                       struct buf *out, struct err *e)
{
    AUTO(buf_fini) struct buf op = BUF_INIT(LEDGER_READ_MAX);
    AUTO(mem_freep) struct queue_stored *stored = mem_new(sizeof *stored);
    const void *body = NULL;
    size_t n = 0;
    int rc = queue_place_read(l, reader, w->body, &op, e);
    if (rc == 0)
        rc = waiting_find(&op, w, stored, &body, &n, e);
    if (rc != 0)
        return rc;
    buf_add(out, body, n);
    return buf_check(out, "the body that waits", e);
}
