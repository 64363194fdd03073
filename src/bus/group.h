/* Groups - who listens to which topics, as scripts declare it. Pure rules: what a set of
 * declarations means, what changes from one set to the next, and what becomes of a message that
 * nobody listens to.
 *
 *     on "order.*" { group = "audit", batch = 100, run = ... }        in audit.lua
 *
 * A declaration is known by its pattern and its group, from one deploy to the next and on every
 * node; where it stands may change, and so may all else it says. A group that is not named has the
 * name of its file, without folders and ".lua". The same pattern twice in one group is refused:
 * nobody could say which of the two handlers is to run. One group may have several patterns, and
 * many groups the same one.
 *
 * A set keeps its declarations in the order of group and pattern, bytewise, so that whatever is
 * made from it comes out alike on every node. */
#ifndef KOAN_BUS_GROUP_H
#define KOAN_BUS_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct err;
struct groups;

enum {
    GROUP_NAME_MAX = 64,
    GROUPS_MAX = 10 * 1000,      /* declarations of a set */
    GROUPS_BYTES_MAX = 16 << 20, /* all that they say */
    UNROUTED_KEEP_MS = 7 * 24 * 60 * 60 * 1000
};

#define UNROUTED_QUEUE "unrouted"

struct group_declared {
    const char *pattern;
    const char *group; /* NULL: by the name of the file */
    const char *file;
    int line;
    const json_t *options; /* all else, an object; NULL: nothing */
};

struct group {
    const char *name, *pattern;
    const char *file;
    int line;
    const char *options; /* JSON, keys sorted */
};

/* Letters, digits, '.', '_' and '-', at most GROUP_NAME_MAX. ERR_INVALID. */
int group_check_name(const char *name, struct err *e);

/* On success the caller owns *out. Nothing of the list is kept. ERR_INVALID names pattern, group
 * and place of what is wrong, of a duplicate both places; ERR_TOO_LARGE past a limit; ERR_NOMEM. */
int groups_build(const struct group_declared *list, size_t count, struct groups **out,
                 struct err *e);
void groups_free(struct groups *g); /* takes NULL */
size_t groups_count(const struct groups *g);
const struct group *groups_at(const struct groups *g, size_t i);

/* Of the declarations of one group those may match a topic in several ways; this one is meant: the
 * last in the order of patterns, where words come behind '*' and that behind '#', so the one that
 * says more. NULL when none matches. The topic has passed topic_check(). */
const struct group *groups_pick(const struct groups *g, const char *name, const char *topic);

/* What a publisher or a topic says is to become of a message without listeners. */
enum unrouted { UNROUTED_KEEP, UNROUTED_DROP };
/* "keep" or "drop"; ERR_INVALID names the two. */
int unrouted_read(const char *word, enum unrouted *out, struct err *e);

enum group_route {
    GROUP_DELIVER, /* a record for each group */
    GROUP_REFUSE,  /* ERR_NOT_FOUND, and the unit with it */
    GROUP_KEEP,    /* discarded as `no_subscriber` in UNROUTED_QUEUE */
    GROUP_DROP     /* counted, that is all */
};
/* `matched` groups listen. Without any, `mandatory` comes first. */
enum group_route group_route(size_t matched, bool mandatory, enum unrouted unrouted);

#endif
