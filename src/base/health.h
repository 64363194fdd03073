/* Health - how the parts of a node are, as they last said themselves.
 *
 * A board holds one row a component. Whoever owns a component reports to it from time to time, from
 * any thread; who asks gets all rows and one word for the whole. A report holds for its ttl only:
 * past it nobody knows, and the row says so, so a part that died silently is never shown as well.
 *
 *     health_declare(board, "config.remote", true);              critical: it decides for the whole
 *     health_report(board, "config.remote", HEALTH_DEGRADED, 60000, "consul does not answer; the
 *                   settings of 09:14 stay in force", json_pack("{s:i}", "tries", 3));
 *
 * The whole: the worst among the critical ones; where one of those is unknown, or one that is not
 * critical is anything but healthy, it is degraded at best.
 *
 * Nothing here blocks for long, nothing fails: what is over a bound is cut, and the row says what.
 * The clock is handed in; it only has to grow. */
#ifndef KOAN_BASE_HEALTH_H
#define KOAN_BASE_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct buf;
struct health_board;

/* In order of badness, but for unknown, which counts as degraded in the whole. */
enum health_state { HEALTH_HEALTHY, HEALTH_UNKNOWN, HEALTH_DEGRADED, HEALTH_UNHEALTHY };

enum {
    HEALTH_COMPONENTS_MAX = 256, /* further ones are counted and make the whole degraded */
    HEALTH_NAME_MAX = 64,        /* bytes; longer names are cut */
    HEALTH_TTL_MIN_MS = 1000,
    HEALTH_TTL_MAX_MS = 15 * 60 * 1000,
    HEALTH_TTL_MS = 30 * 1000, /* where 0 is given */
    HEALTH_MESSAGE_MAX = 2048, /* bytes; cut at a character */
    HEALTH_FACTS_MAX = 32,     /* those behind are left out */
    HEALTH_FACTS_BYTES = 4096, /* of all facts together, as JSON text; the same */
};

struct health_board *health_board_new(uint64_t (*now_ms)(void *arg), void *arg);
void health_board_free(struct health_board *b); /* takes NULL */

/* All below take a NULL board and do nothing: a part need not know whether anybody looks. */

/* A component exists; unknown until it reports. Reporting declares it too, as not critical. */
void health_declare(struct health_board *b, const char *name, bool critical);
/* Replaces what it said before. `ttl_ms` is brought into its bounds; `message` and `facts` (an
 * object; this takes the reference) may be NULL. Texts and facts are copied. */
void health_report(struct health_board *b, const char *name, enum health_state state,
                   uint64_t ttl_ms, const char *message, json_t *facts);
void health_forget(struct health_board *b, const char *name); /* it exists no more */

const char *health_state_name(enum health_state s);
enum health_state health_worse(enum health_state a, enum health_state b);
/* The whole; and into `out`, unless it is NULL, a JSON array of the rows by name:
 * {"name","state","critical","age_s","ttl_s"[,"message"][,"facts"]}. Without `details` no message
 * and no facts: they may say more than everybody should know. HEALTH_HEALTHY for no rows. */
enum health_state health_overall(struct health_board *b, bool details, struct buf *out);

#endif
