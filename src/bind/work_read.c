/* What lies in the log of a message that was granted. The last entries stay in memory, since those
 * that are sent together come together. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "bind/work.h"
#include "db/db.h"

struct entry {
    uint64_t index;
    struct buf bytes;
};

struct place {
    const void *p;
    size_t n;
    uint64_t at;
};

struct work_reader {
    struct ledger *ledger;
    struct entry entries[WORK_ENTRIES];
    size_t entry_next;
    struct db *db; /* for those that are no more in the log */
    struct buf old;
};

static struct entry *entry_of(struct work_reader *w, uint64_t index, struct err *e)
{
    for (size_t i = 0; i < WORK_ENTRIES; i++)
        if (w->entries[i].index == index)
            return &w->entries[i];
    struct entry *n = &w->entries[w->entry_next++ % WORK_ENTRIES];
    buf_fini(&n->bytes);
    buf_init(&n->bytes, LEDGER_READ_MAX);
    n->index = 0;
    if (ledger_read(w->ledger, index, &n->bytes, e) != 0)
        return NULL;
    n->index = index;
    return n;
}

/* Whoever has waited for long may have outlived its part of the log. `*p` is good until the next
 * call; in it the operation stands at `*at`. */
static int place_read(struct work_reader *w, uint64_t place, struct place *out, struct err *e)
{
    const struct entry *n = entry_of(w, place >> 24, e);
    if (n != NULL) {
        *out = (struct place){n->bytes.data, n->bytes.len, place};
        return 0;
    }
    if (e->code != ERR_GONE)
        return e->code;
    err_clear(e);
    buf_reset(&w->old);
    int rc = queue_place_read(w->ledger, w->db, place, &w->old, e);
    *out = (struct place){w->old.data, w->old.len, 0};
    if (rc == 0)
        err_clear(e);
    return rc;
}

static char *keep(const char *text)
{
    return text != NULL ? mem_strdup(text) : NULL;
}

static int body_keep(struct delivery *d, const void *body, size_t n, struct err *e)
{
    d->body = mem_try(n + 1);
    if (d->body == NULL)
        return err_set(e, ERR_NOMEM, "a body of %zu bytes", n);
    if (n > 0)
        memcpy(d->body, body, n);
    d->body[n] = '\0';
    d->body_len = n;
    return 0;
}

/* Its body is not the one that it was sent with: edited, or replaced by a later send. */
static int body_read_other(struct work_reader *w, struct delivery *d, struct queue_stored *s,
                           struct err *e)
{
    const void *body = NULL;
    size_t n = 0;
    struct place at;
    int rc = place_read(w, d->grant.body, &at, e);
    if (rc != 0)
        return rc;
    if (d->grant.edited) {
        rc = queue_body_read(at.p, at.n, at.at, QUEUE_PLACE_EDIT, &body, &n, e);
    } else {
        rc = queue_message_read(at.p, at.n, at.at, s, e);
        body = s->body;
        n = s->body_len;
    }
    return rc != 0 ? rc : body_keep(d, body, n, e);
}

static char *header_text(const json_t *headers, const char *name)
{
    const char *text = json_string_value(json_object_get(headers, name));
    return text != NULL ? mem_strdup(text) : NULL;
}

/* What was published says so in its headers. */
static void topic_keep(struct delivery *d)
{
    if (d->headers == NULL || !str_starts(d->grant.queue, BUS_QUEUE_PREFIX))
        return;
    AUTO(json_unref) json_t *headers = json_read(d->headers, strlen(d->headers), NULL);
    d->topic = header_text(headers, BUS_HEADER_TOPIC);
    d->message_id = header_text(headers, BUS_HEADER_ID);
}

int work_read(struct work_reader *w, struct delivery *d, struct queue_stored *s, struct err *e)
{
    struct place at;
    if (place_read(w, d->grant.place, &at, e) != 0 ||
        queue_message_read(at.p, at.n, at.at, s, e) != 0)
        return e->code;
    d->held = (struct bind_grant){.id = s->id, .token = d->grant.token};
    uuid_format(&s->id, d->id);
    d->headers = keep(s->headers);
    d->key = keep(s->key);
    d->correlation = mem_strdup(s->correlation != NULL ? s->correlation : d->id);
    d->traceparent = keep(s->traceparent);
    d->type = keep(s->type);
    topic_keep(d);
    return d->grant.body != d->grant.place ? body_read_other(w, d, s, e)
                                           : body_keep(d, s->body, s->body_len, e);
}

int work_reader_open(struct ledger *l, struct work_reader **out, struct err *e)
{
    struct db_options o = {.path = ledger_db_path(l), .mode = DB_READER};
    struct work_reader *w = *out = mem_new(sizeof *w);
    w->ledger = l;
    buf_init(&w->old, LEDGER_READ_MAX);
    return db_open(&o, &w->db, e);
}

void work_reader_free(struct work_reader *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < WORK_ENTRIES; i++)
        buf_fini(&w->entries[i].bytes);
    buf_fini(&w->old);
    db_close(w->db);
    mem_free(w);
}
