/* Topic - the names that messages are published under, the patterns that groups listen with, and a
 * set of patterns that says at once who listens to a topic. Pure.
 *
 * A topic is 1..TOPIC_MAX bytes of A-Z a-z 0-9 '.' '_' '-'. The dots divide it into words; a word
 * may be empty, so "a..b" has three. A pattern is a topic some of whose words are wildcards, each a
 * word of its own:
 *
 *     *    exactly one word                     order.*   order.placed, not order or
 * order.placed.eu #    any number of words, none too        order.#   order, order.placed,
 * order.placed.eu
 *
 * A set is a trie: a node for each word that patterns begin with alike, two more edges a node for
 * the wildcards. To match, the words of the topic move a set of nodes from one to the next; a node
 * is looked at at most once a word, whatever way leads to it. And a node with no '#' above it only
 * at the one word that it is as deep as. So the work is at most nodes + words x floating nodes,
 * which are those below a '#', and of these a set has at most TOPIC_FLOATING_MAX: the worst that a
 * set can be made to cost is some tens of milliseconds a match, where trying one pattern after the
 * other and "#.a.#.a.#.a" in all its ways would take for ever. The sets there are cost a
 * microsecond: of ten thousand patterns that begin with different words those of one are looked at.
 *
 * Runs of wildcards are kept in one form, all '*' and then at most one '#', which means the same:
 * "#.*.#" is "*.#". It keeps a node's '#' from having one of its own.
 *
 * Each pattern stands for a number of the caller's, a group's or a subscription's. Several patterns
 * may stand for one number, which is then still found once; the same pattern may be added for it
 * twice, and each add wants its own remove. Numbers come in ascending order, whatever the order in
 * which they were added: what is decided by a match is decided alike on every node.
 *
 * A set belongs to one thread at a time, for matching too: its scratch memory, which grows as
 * patterns are added so that a match allocates nothing, is part of it. */
#ifndef KOAN_BASE_TOPIC_H
#define KOAN_BASE_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct topic_set;

enum {
    TOPIC_MAX = 128,              /* bytes of a topic or pattern */
    TOPIC_ID_MAX = 1 << 18,       /* numbers are below it */
    TOPIC_PATTERNS_MAX = 1 << 18, /* of a set, each add counted */
    TOPIC_NODES_MAX = 1 << 20,    /* of a set: words that its patterns do not begin with alike */
    TOPIC_FLOATING_MAX = 1 << 14  /* of them, those behind a '#' */
};

/* ERR_INVALID names the first wrong byte by its offset, and what to write instead. */
int topic_check(const char *s, size_t n, struct err *e);
int topic_check_pattern(const char *s, size_t n, struct err *e);

/* One pattern against one topic, both checked before. */
bool topic_matches(const char *pattern, size_t pattern_n, const char *topic, size_t topic_n);

/* Never NULL. */
struct topic_set *topic_set_new(void);
void topic_set_free(struct topic_set *s); /* takes NULL */
/* ERR_INVALID for the pattern; ERR_TOO_LARGE past a limit above. On failure nothing is changed. */
int topic_set_add(struct topic_set *s, const char *pattern, size_t n, uint32_t id, struct err *e);
/* Undoes one add; false when there is none of that pattern (or one that means the same) and number.
 */
bool topic_set_remove(struct topic_set *s, const char *pattern, size_t n, uint32_t id);
/* Adds that were not undone. */
size_t topic_set_count(const struct topic_set *s);
/* The numbers whose patterns match, ascending, each once; the array is the set's and stays as it is
 * until the next call with this set. `topic` has passed topic_check(). */
const uint32_t *topic_set_match(struct topic_set *s, const char *topic, size_t n, size_t *count);
/* How many times the last match looked at a node; and how many nodes there are. */
size_t topic_set_looked(const struct topic_set *s);
size_t topic_set_nodes(const struct topic_set *s);

#endif
