/* The body of a message that is an arrival: refused with words, or read; and what is read, written
 * and read again is the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "canon/canon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(const struct canon_queued *q)
{
    struct err e = ERR_INIT;
    struct canon_queued other;
    struct buf b = BUF_INIT(CANON_QUEUE_BODY_MAX);
    int64_t at = q->arrival.arrived_at;
    if (canon_queued_print(&q->arrival, at, q->skip_distribution, &b, &e) == 0) {
        ASSERT(canon_queued_read(b.data, b.len, false, &other, &e) == 0);
        ASSERT(json_equal(q->arrival.data, other.arrival.data));
        ASSERT(other.arrival.arrived_at == at);
        ASSERT(other.arrival.observed_at == q->arrival.observed_at);
        canon_queued_fini(&other);
    }
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    struct canon_queued q;
    int rc = canon_queued_read((const char *)data, size, false, &q, &e);
    ASSERT(rc == e.code && (rc == 0) == (q.arrival.data != NULL && e.text[0] == '\0'));
    if (rc == 0)
        again(&q);
    canon_queued_fini(&q);
    rc = canon_queued_read((const char *)data, size, true, &q, NULL);
    ASSERT(rc != 0 || q.arrival.data != NULL || q.arrival.text != NULL);
    canon_queued_fini(&q);
    return 0;
}
