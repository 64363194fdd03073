/* A declaration as JSON. What is taken is driven for a while: its ticks come in order, each is
 * decided once, and it can be printed. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "job/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void schedule_drive(const struct schedule *s)
{
    AUTO(buf_fini) struct buf text = BUF_INIT(1 << 16);
    struct schedule_state st;
    int64_t now = INT64_C(1774656000000), last = now;
    schedule_state_init(&st, now);
    for (int i = 0; i < 20; i++) {
        struct schedule_due next;
        struct schedule_decision d;
        struct schedule_change change;
        if (!schedule_next(s, &st, &next))
            break;
        now = (next.at > now ? next.at : now) + (i % 3) * INT64_C(40000000);
        ASSERT(schedule_tick(s, &st, next.due, now, &d));
        ASSERT(!schedule_tick(s, &st, next.due, now, &d));
        ASSERT(d.due > last && d.ticks > 0);
        last = d.due;
        if (st.running > 0 && i % 2 == 0)
            schedule_ended(s, &st, now, SCHEDULE_FAILED, &change);
    }
    schedule_print(s, &text);
    ASSERT(!buf_failed(&text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    struct schedule s;
    json_t *o = json_read((const char *)data, size, &e);
    err_clear(&e);
    if (json_is_object(o)) {
        int rc = schedule_parse("fuzz", o, &s, &e);
        ASSERT(rc == 0 || (rc == ERR_INVALID && e.text[0] != '\0') || rc == ERR_NOT_FOUND);
        if (rc == 0)
            schedule_drive(&s);
    }
    json_decref(o);
    return 0;
}
