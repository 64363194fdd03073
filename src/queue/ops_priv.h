/* Queue: the operations in their binary form. schema/queue-operations.md has the tables. */
#ifndef KOAN_QUEUE_OPS_PRIV_H
#define KOAN_QUEUE_OPS_PRIV_H

#include "base/payload.h"
#include "queue/queue.h"

enum queue_op {
    QUEUE_OP_DECLARE = 0x0200,
    QUEUE_OP_DROP = 0x0201,
    QUEUE_OP_PAUSE = 0x0202,
    QUEUE_OP_CLOSE = 0x0203,
    QUEUE_OP_LANE = 0x0204,
    QUEUE_OP_TENANT = 0x0205,
    QUEUE_OP_GATE = 0x0206,
    QUEUE_OP_GATE_CLOSE = 0x0207,
    QUEUE_OP_GATE_BACKOFF = 0x0208,
    QUEUE_OP_SEND = 0x0210,
    QUEUE_OP_SETTLE = 0x0211,
    QUEUE_IF_DELIVERY = 0x0212,
    QUEUE_OP_SEND_DISCARDED = 0x0213,
    QUEUE_OP_END = 0x0214,
    QUEUE_IF_OVER = 0x0215,
    QUEUE_OP_SEND_MANUAL = 0x0216,
    QUEUE_OP_WORKED = 0x0217,
    QUEUE_OP_FORGET = 0x0218,
    QUEUE_OP_OPEN = 0x0220,
    QUEUE_OP_RENEW = 0x0221,
    QUEUE_OP_LEAVE = 0x0222,
    QUEUE_OP_LAPSE = 0x0223,
    QUEUE_OP_LAPSE_RECORD = 0x0224,
    QUEUE_OP_TICK = 0x0225,
    QUEUE_OP_RETIRE = 0x0226,
    QUEUE_OP_WAKE = 0x0227,
    QUEUE_OP_UNREGISTER = 0x0228,
    QUEUE_OP_ABANDON = 0x0229,
    QUEUE_OP_CANCEL = 0x0230,
    QUEUE_OP_RETRY = 0x0231,
    QUEUE_OP_MOVE = 0x0232,
    QUEUE_OP_EDIT = 0x0233,
    QUEUE_OP_PURGE = 0x0234,
    QUEUE_OP_TEND = 0x0235,
};

/* Of QUEUE_OP_DECLARE: 1 has no due time, 2 not how it is sent to, 3 no script. */
enum { DECLARE_VERSION = 4 };
/* Of QUEUE_OP_EDIT: 1 takes any body, whatever the queue says of how long one may be. */
enum { EDIT_VERSION = 2, EDIT_LARGE_VERSION = 1 };
/* Of QUEUE_OP_SEND_MANUAL: 1 overrides what the queue said; from 3 on it is as a send of that. */
enum { MANUAL_VERSION = 3 };

/* Of QUEUE_OP_TEND: what is said. */
enum { TEND_OWNER = 1, TEND_DUE = 2, TEND_UNTIL = 4, TEND_KNOWN = 7 };

/* Behind a settle's fields in QUEUE_OP_WORKED. */
enum { WORKED_CANCELLED = 1, WORKED_FORGET = 2, WORKED_KNOWN = 3 };

/* What a send says: bits of its first field. A bit that this program does not know makes the
 * payload unreadable, never half read. */
enum {
    SEND_RUN_AT = 1 << 0,
    SEND_TTL = 1 << 1,
    SEND_DEADLINE = 1 << 2,
    SEND_TIMEOUT = 1 << 3,
    SEND_PRIORITY = 1 << 4,
    SEND_ATTEMPTS = 1 << 5,
    SEND_BACKOFF = 1 << 6,
    SEND_LANE = 1 << 7,
    SEND_KEY = 1 << 8,
    SEND_UNIQUE = 1 << 9,
    SEND_DEDUP = 1 << 10,
    SEND_GATES = 1 << 11,
    SEND_NEEDS = 1 << 12,
    SEND_CREATE = 1 << 13,
    SEND_TYPE = 1 << 14,
    SEND_HEADERS = 1 << 15,
    SEND_CORRELATION = 1 << 16,
    SEND_TRACE = 1 << 17,
    SEND_CORRELATION_ID = 1 << 18, /* as the 16 bytes of a UUID, which most of them are */
    SEND_DEDUP_MS = 1 << 19,       /* version 2 */
    SEND_LARGE = 1 << 20,          /* version 3, as are all before it */
    SEND_SCRIPT = 1 << 21,         /* version 4 */
    SEND_KNOWN = (1 << 22) - 1,
};

/* What a send does not say is as its queue says since version 3; in versions 1 and 2 it is as the
 * core says. */
enum { SEND_VERSION = 4, SEND_PLAIN_VERSION = 3, SEND_SAYS_ALL_VERSION = 2 };

/* A send read back: texts point into `texts`, the body into the payload. */
struct send_view {
    struct core_send send;
    struct core_backoff backoff;
    struct core_label needs[CORE_LABELS_MAX];
    const char *type, *headers, *correlation, *traceparent;
    uint64_t script;
    const uint8_t *body;
    size_t body_len;
    char *texts; /* the next free byte of `room` */
    char room[2 * (CORE_LABELS_MAX + CORE_GATES_MAX + 6) * (CORE_TEXT_MAX + 1) +
              QUEUE_HEADERS_BYTES + QUEUE_TYPE_BYTES + 4096];
};
int send_decode(struct cursor *c, uint8_t version, struct send_view *v, struct err *e);
/* The result that queue_sent_read() reads. */
void sent_add(struct buf *result, const struct core_sent *s);

struct settle_view {
    struct core_settle settle;
    const uint8_t *text;
    size_t text_len;
    char gate[CORE_TEXT_MAX + 1], queue[CORE_TEXT_MAX + 1];
};
int settle_decode(struct cursor *c, struct settle_view *v, struct err *e);

/* How a queue is sent to: as a send, the same bits with the same fields. The texts are copied to
 * *room, which moves on. */
struct sending_view {
    struct core_send send;
    struct core_backoff backoff;
    struct core_label needs[CORE_LABELS_MAX];
};
enum { SENDING_ROOM = (2 * CORE_LABELS_MAX + CORE_GATES_MAX + 1) * (CORE_TEXT_MAX + 1) };
void sending_add(struct buf *b, const struct core_send *s); /* NULL: it says nothing */
/* NULL: it says nothing. */
const struct core_send *sending_read(struct cursor *c, struct sending_view *v, char **room);

struct queue_view {
    struct core_queue queue;
    struct sending_view sending;
    char name[CORE_TEXT_MAX + 1], dead_to[CORE_TEXT_MAX + 1], script[CORE_TEXT_MAX + 1];
    char room[SENDING_ROOM];
};
int declare_decode(struct cursor *c, uint8_t version, struct queue_view *v, struct err *e);

struct tend_view {
    struct uuid id;
    struct core_tend tend;
    char owner[CORE_OWNER_MAX + 1];
};
int tend_decode(struct cursor *c, struct tend_view *v, struct err *e);

struct consumer_view {
    struct core_consumer consumer;
    struct core_label labels[CORE_LABELS_MAX];
    const char *queues[CORE_SUBSCRIBED_MAX], *only[CORE_LABELS_MAX];
    char *texts;
    char room[(3 * CORE_LABELS_MAX + CORE_SUBSCRIBED_MAX + 1) * (CORE_TEXT_MAX + 1)];
};
int consumer_decode(struct cursor *c, uint8_t version, struct consumer_view *v, struct err *e);

/* u16 length and bytes; NULL is written as length 0xffff. */
void short_add(struct buf *b, const char *text);
/* Copied to *room, which moves on; `max` bytes at most. NULL where NULL was written, or bad. */
const char *short_read(struct cursor *c, char **room, size_t max);
int op_bad(const char *what, struct err *e);
/* As txn_begin(), in version 1: of all operations but what says otherwise. */
struct buf *op_begin(struct txn *t, enum queue_op type);
/* A body that a record may have, else ERR_TOO_LARGE. */
int op_body_check(size_t n, struct err *e);
int op_text_fits(const char *text, size_t max, const char *field, struct err *e);
/* `count` short texts into out, at most `max`; how many there are. */
uint32_t op_texts_read(struct cursor *c, uint32_t count, uint32_t max, const char **out,
                       char **room);
/* A u8 count; of each: short name, short text, u32 number. Read, they are at most CORE_LABELS_MAX.
 */
void op_labels_add(struct buf *b, const struct core_label *labels, uint8_t count);
uint8_t op_labels_read(struct cursor *c, struct core_label *labels, char **room);

#endif
