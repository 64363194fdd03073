/* Grants - the deliveries of the queue that a run works, and what becomes of them: one for a
 * handler of messages, as many as the batch has for one of batches. The leases that a script takes
 * itself are in claim.h.
 *
 * Whatever such a run writes holds only while all of them are its own (a condition each), and what
 * it writes last settles them, in the same unit: acked, but for those of which it has said
 * something else. */
#ifndef KOAN_BIND_GRANTS_H
#define KOAN_BIND_GRANTS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "queue/queue.h"

struct err;
struct txn;

struct bind_grant {
    struct uuid id;
    uint64_t token;
};

/* How one delivery ends. Zeroed it is a plain ack; freed with bind_outcome_fini(). */
struct bind_outcome {
    struct core_settle settle; /* its id, token and gate are not used */
    char gate[CORE_TEXT_MAX + 1];
    char *text; /* of a reject the reason, of an ack the result; NULL: none */
    size_t text_len;
};
void bind_outcome_init(struct bind_outcome *o);
void bind_outcome_fini(struct bind_outcome *o);
/* "ack" result, "nack" ms, "reject" reason, "release", "snooze" moment, "backoff" moment gate: from
 * the values at `at`, of which there are three. A word that is none of them is an ack. */
void bind_outcome_take(lua_State *L, int at, struct bind_outcome *o);

struct bind_grants {
    const struct bind_grant *list;
    size_t count;
};
/* What host.write() is told of them: an array of `held.count`, or NULL when it settles none. The
 * value at `at`: nil or false; true, acks; { result = text, [i] = { outcome, value } }. Owned by a
 * guard that is left on the stack. */
struct bind_outcome *bind_check_outcomes(lua_State *L, int at, struct bind_grants held);
void bind_grants_conditions(struct bind_grants held, struct txn *t);
int bind_grants_compose(struct bind_grants held, const struct bind_outcome *outcomes, struct txn *t,
                        struct err *e);

#endif
