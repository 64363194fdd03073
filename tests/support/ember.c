#include "support/ember.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "ledger/ledger.h"

/* ---- the operations ---- */

static int ember_apply_add(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                           struct buf *result, struct err *e)
{
    (void)a, (void)version, (void)e;
    struct ember *m = self;
    uint32_t key = cursor_u32(p);
    m->now.numbers[key] += (int64_t)cursor_u64(p);
    buf_add_u64(result, (uint64_t)m->now.numbers[key]);
    return 0;
}

static int ember_apply_add_max(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                               struct buf *result, struct err *e)
{
    struct ember *m = self;
    struct cursor again = *p;
    uint32_t key = cursor_u32(&again);
    ember_apply_add(self, a, version, p, result, e);
    return m->now.numbers[key] <= EMBER_MAX ? 0 : err_set(e, ERR_CONFLICT, "number %u", key);
}

static int ember_apply_hold(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                            struct buf *result, struct err *e)
{
    (void)version, (void)result, (void)e;
    struct ember *m = self;
    const uint8_t *payload = p->p;
    uint32_t key = cursor_u32(p);
    size_t n = 0;
    const uint8_t *bytes = cursor_bytes(p, &n);
    m->now.held[key] = (struct ember_held){.seq = a->seq,
                                           .offset = a->offset + (uint32_t)(bytes - payload),
                                           .n = (uint32_t)n,
                                           .crc = hash_crc32c(0, bytes, n)};
    return 0;
}

static int ember_apply_drop(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                            struct buf *result, struct err *e)
{
    (void)a, (void)version, (void)result, (void)e;
    ((struct ember *)self)->now.held[cursor_u32(p)] = (struct ember_held){0};
    return 0;
}

static int ember_apply_is(void *self, const struct apply *a, uint8_t version, struct cursor *p,
                          struct buf *result, struct err *e)
{
    (void)a, (void)version, (void)result;
    const struct ember *m = self;
    uint32_t key = cursor_u32(p);
    int64_t n = (int64_t)cursor_u64(p);
    return m->now.numbers[key] == n ? 0 : err_set(e, ERR_VERSION_MISMATCH, "number %u", key);
}

/* ---- the domain ---- */

static int ember_entry(void *self, const struct apply *a, struct err *e)
{
    (void)e;
    struct ember *m = self;
    m->before_entry = m->now;
    m->now.entries++;
    m->now.at = a->at;
    return 0;
}

static void ember_unit(void *self, const struct apply *a)
{
    (void)a;
    struct ember *m = self;
    m->before_unit = m->now;
}

static void ember_undo(void *self, bool entry_too)
{
    struct ember *m = self;
    m->now = entry_too ? m->before_entry : m->before_unit;
}

static uint64_t ember_hash(void *self)
{
    const struct ember_state *s = &((struct ember *)self)->now;
    uint64_t h = hash64(s->entries, &s->at, sizeof s->at);
    h = hash64(h, s->numbers, sizeof s->numbers);
    for (int i = 0; i < EMBER_KEYS; i++) {
        h = hash64(h, &s->held[i].seq, sizeof s->held[i].seq);
        h = hash64(h, &s->held[i].crc, sizeof s->held[i].crc);
    }
    return s->entries == 0 ? 0 : h;
}

struct domain ember_domain(struct ember *m)
{
    static const struct domain_op ops[] = {
        {.type = EMBER_ADD,
         .version_max = 1,
         .safety = DOMAIN_ATOMIC,
         .name = "ember.add",
         .apply = ember_apply_add},
        {.type = EMBER_ADD_MAX,
         .version_max = 1,
         .name = "ember.add_max",
         .apply = ember_apply_add_max},
        {.type = EMBER_HOLD,
         .version_max = 1,
         .safety = DOMAIN_SURE,
         .name = "ember.hold",
         .apply = ember_apply_hold},
        {.type = EMBER_DROP,
         .version_max = 1,
         .safety = DOMAIN_SURE,
         .name = "ember.drop",
         .apply = ember_apply_drop},
        {.type = EMBER_IS,
         .version_max = 1,
         .is_condition = true,
         .name = "ember.is",
         .apply = ember_apply_is},
    };
    static const struct domain_hot hot = {.entry = ember_entry, .hash = ember_hash};
    return (struct domain){.name = "ember",
                           .self = m,
                           .hot = &hot,
                           .ops = ops,
                           .ops_count = ARRAY_LEN(ops),
                           .unit = ember_unit,
                           .undo = ember_undo};
}

/* ---- units ---- */

void ember_add(struct unit *u, uint16_t type, uint32_t key, int64_t n)
{
    struct buf *b = txn_begin(&u->txn, type, 1);
    buf_add_u32(b, key);
    buf_add_u64(b, (uint64_t)n);
    txn_end(&u->txn);
}

void ember_hold(struct unit *u, uint32_t key, const void *p, size_t n)
{
    struct buf *b = txn_begin(&u->txn, EMBER_HOLD, 1);
    buf_add_u32(b, key);
    buf_add_bytes(b, p, n);
    txn_end(&u->txn);
}

void ember_drop(struct unit *u, uint32_t key)
{
    struct buf *b = txn_begin(&u->txn, EMBER_DROP, 1);
    buf_add_u32(b, key);
    txn_end(&u->txn);
}
