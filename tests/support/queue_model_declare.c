/* Declaring: option by option, what a script says is the script's. */
#include "support/queue_model_priv.h"

#include <string.h>

#include "base/err.h"

enum { OPTIONS = 23 };

#define FIELD(bit, member)                                                                         \
    case bit:                                                                                      \
        if (memcmp(&to->member, &from->member, sizeof to->member) == 0)                            \
            return true;                                                                           \
        if (take)                                                                                  \
            memcpy(&to->member, &from->member, sizeof to->member);                                 \
        return false

/* Is this option the same in both? If it is to be taken it is afterwards. */
static bool option_same(struct model_queue *to, const struct model_queue *from, uint32_t option,
                        bool take)
{
    switch (option) {
        FIELD(OPTION_CONCURRENCY, settings.concurrency);
        FIELD(OPTION_MAX, settings.max);
        FIELD(OPTION_MAX_BYTES, settings.max_bytes);
        FIELD(OPTION_OVERFLOW, settings.overflow);
        FIELD(OPTION_DEAD_TO, dead_to);
        FIELD(OPTION_ON_DEAD, settings.halt_on_dead);
        FIELD(OPTION_MANUAL, settings.manual);
        FIELD(OPTION_HANDLED, settings.handled);
        FIELD(OPTION_DUE, settings.due_ms);
        FIELD(OPTION_KEEP_COMPLETED, settings.keep_completed_ms);
        FIELD(OPTION_KEEP_DISCARDED, settings.keep_discarded_ms);
        FIELD(OPTION_KEEP_COUNT, settings.keep_count);
        FIELD(OPTION_DEDUP_WINDOW, settings.dedup_window_ms);
        FIELD(OPTION_BODY_MAX, settings.body_max);
        FIELD(OPTION_ATTEMPTS, says.attempts);
        FIELD(OPTION_BACKOFF, says.waits);
        FIELD(OPTION_TIMEOUT, says.timeout_ms);
        FIELD(OPTION_TTL, says.ttl_ms);
        FIELD(OPTION_DEADLINE, says.deadline_ms);
        FIELD(OPTION_PRIORITY, says.priority);
        FIELD(OPTION_LANE, says.lane);
        FIELD(OPTION_GATE, says.at);
        FIELD(OPTION_NEEDS, says.asks);
    default:
        PANIC("no such option");
    }
}

static void take(struct model_queue *to, const struct model_queue *from, uint32_t mask)
{
    for (uint32_t i = 0; i < OPTIONS; i++)
        if ((mask >> i & 1) != 0)
            option_same(to, from, 1u << i, true);
}

int model_declare_over(struct model_queue *want, const struct model_queue *is)
{
    bool handled = want->settings.handled;
    if (want->left) {
        take(want, is, OPTION_ALL);
        want->settings.handled = handled;
        return 0;
    }
    if (want->script[0] != '\0') {
        take(want, is, OPTION_ALL & ~(want->scripted | is->scripted));
        return 0;
    }
    for (uint32_t i = 0; i < OPTIONS; i++)
        if ((is->scripted >> i & 1) != 0 && !option_same(want, is, 1u << i, false))
            return ERR_CONFLICT;
    model_text(want->script, is->script);
    want->scripted = is->scripted;
    return 0;
}
