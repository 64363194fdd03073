/* What send.c and publish.c share: a message on its way into a unit. */
#ifndef KOAN_BIND_SEND_PRIV_H
#define KOAN_BIND_SEND_PRIV_H

#include <lua.h>

#include "base/arena.h"
#include "base/buf.h"
#include "bus/bus.h"
#include "queue/queue.h"

struct bind_message {
    struct queue_message m;  /* of a send */
    struct bus_route *route; /* of a publish; else NULL */
    struct bus_message published;
    struct core_label needs[CORE_LABELS_MAX];
    const char *correlation, *traceparent;
    uint64_t script;
    struct arena arena;
    struct buf body, headers;
    struct buf own;             /* of one that is merged: the body that it was sent with */
    const struct bind_job *job; /* it is a run of this; NULL: it is none */
    bool is_fanned;
    struct uuid fan; /* of which fan-out */
    json_t *chain;   /* of this run; NULL: as its job declares */
    bool goes_on;    /* with `chain` */
};

/* Belongs to a guard that is left on the stack, which is what host.write() takes. */
struct bind_message *bind_message_new(lua_State *L);
int bind_message_text(const json_t *o, const char *key, struct bind_message *s, const char **out,
                      struct err *e);
/* delay, run_at; `*run_at` stays when neither is there. */
int bind_message_when(const json_t *o, int64_t now, int64_t *run_at, struct err *e);
/* Labels, added to `out`, of which `count` are there; their texts in `a`. NULL: none. */
int bind_needs_read(const json_t *needs, struct arena *a, struct core_label *out, uint8_t *count,
                    struct err *e);
int bind_message_headers(const json_t *o, struct bind_message *s, struct err *e);
int bind_message_body(struct bind_message *s, const json_t *body, struct err *e);
/* What host.message() gave, to be changed; raises when it is none. */
struct bind_message *bind_own_message(lua_State *L, int at);
/* All of it, for a queue. `text`: the body as JSON, of Koan's own; else NULL. */
int bind_message_make(lua_State *L, struct bind_message *s, const char *queue, const json_t *body,
                      const json_t *options, const char *text, struct err *e);
/* Behind the message that stands on top: its id, how long its body is, and the text by which it is
 * to be merged, or nil. */
int bind_message_push_id(lua_State *L, struct bind_message *s);
/* Raises: options that cannot be meant are a fault of the script, what may have come from whoever
 * it answers (a key, the size of the body) is refused. */
int bind_message_refuse(lua_State *L, const struct err *e);
/* Whose it is: correlation and traceparent of the run, the set that it is of. */
void bind_message_trace(lua_State *L, struct bind_message *s);

#endif
