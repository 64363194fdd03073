#include "base/topic.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

enum topic_kind { TOPIC_WORD, TOPIC_STAR, TOPIC_HASH };

struct topic_id {
    uint32_t id, adds;
};

struct topic_node {
    struct topic_node *parent, *star, *hash;
    uint64_t serial; /* in the keys of its edges; never used twice */
    uint64_t seen;   /* the step that it was last looked at in */
    uint32_t words;  /* edges of plain words that leave it */
    enum topic_kind kind;
    bool floating;        /* below a '#' */
    struct topic_id *ids; /* ascending */
    size_t id_count, id_cap;
    uint8_t word_n;
    char word[]; /* on the edge that leads here */
};

/* Invariants: 1. every node but the root has an id or an edge that leaves it. 2. a node of kind
 * TOPIC_HASH has neither `star` nor `hash`. 3. `now`, `next` have room for every node, `found` for
 * every add, `bits` for every id, `sums` a bit for each word of `bits`. 4. between matches `bits`
 * and `sums` are zero. */
struct topic_set {
    struct topic_node *root;
    struct map *edges; /* serial of the node, then the word: the node it leads to */
    size_t nodes, floating, adds;
    uint64_t serials, step;
    struct topic_node **now, **next;
    size_t now_n, next_n, room;
    uint32_t *found;
    size_t found_room;
    uint64_t *bits, *sums;
    size_t bits_n;
    size_t looked;
};

/* ---- Names ---- */

static bool topic_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

static int topic_check_length(const char *what, size_t n, struct err *e)
{
    if (n == 0)
        return err_set(e, ERR_INVALID, "a %s has at least one character", what);
    if (n > TOPIC_MAX)
        return err_set(e, ERR_INVALID, "a %s of %zu bytes; it has at most %d", what, n, TOPIC_MAX);
    return 0;
}

/* The byte as it can be shown in a message. */
static const char *topic_shown(char c, char out[8])
{
    unsigned char u = (unsigned char)c;
    if (u > ' ' && u < 0x7f)
        snprintf(out, 8, "'%c'", c);
    else
        snprintf(out, 8, "0x%02x", u);
    return out;
}

int topic_check(const char *s, size_t n, struct err *e)
{
    char shown[8];
    int rc = topic_check_length("topic", n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (topic_is_plain(s[i]))
            continue;
        bool wild = s[i] == '*' || s[i] == '#';
        rc = err_set(e, ERR_INVALID, "topic: %s at offset %zu: %s", topic_shown(s[i], shown), i,
                     wild ? "wildcards are for patterns; a topic has none"
                          : "a topic is of letters without accents, digits, '.', '_' and '-'");
    }
    return rc;
}

int topic_check_pattern(const char *s, size_t n, struct err *e)
{
    char shown[8];
    int rc = topic_check_length("pattern", n, e);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (topic_is_plain(s[i]))
            continue;
        bool wild = s[i] == '*' || s[i] == '#';
        bool whole = (i == 0 || s[i - 1] == '.') && (i + 1 == n || s[i + 1] == '.');
        if (!wild || !whole)
            rc = err_set(e, ERR_INVALID, "pattern: %s at offset %zu: %s", topic_shown(s[i], shown),
                         i,
                         wild ? "it stands for whole words; put '.' between it and its neighbours"
                              : "a pattern is of letters without accents, digits, '.', '_', '-', "
                                "and the words '*' and '#'");
    }
    return rc;
}

/* ---- The trie ---- */

struct topic_word {
    enum topic_kind kind;
    const char *s;
    size_t n;
};

/* The next word of what begins at *at, which then is behind it. */
static struct topic_word topic_next_word(const char *s, size_t n, size_t *at)
{
    const char *from = s + *at;
    const char *dot = memchr(from, '.', n - *at);
    struct topic_word w = {TOPIC_WORD, from, dot != NULL ? (size_t)(dot - from) : n - *at};
    if (w.n == 1 && (*from == '*' || *from == '#'))
        w.kind = *from == '*' ? TOPIC_STAR : TOPIC_HASH;
    *at += w.n + 1;
    return w;
}

/* The words of a pattern in the form that is kept: in each run of wildcards '*' before '#', and
 * that once. How many. */
static size_t topic_words(const char *s, size_t n, struct topic_word out[TOPIC_MAX + 1])
{
    size_t count = 0;
    for (size_t at = 0; at <= n;) {
        struct topic_word w = topic_next_word(s, n, &at);
        bool after_hash = count > 0 && out[count - 1].kind == TOPIC_HASH;
        if (after_hash && w.kind == TOPIC_HASH)
            continue;
        out[count++] = w;
        if (after_hash && w.kind == TOPIC_STAR) {
            out[count - 1] = out[count - 2];
            out[count - 2] = w;
        }
    }
    return count;
}

/* A '#' takes as few words as it can; when the rest does not fit, the last one takes one more. That
 * is enough: what an earlier one could take the last can as well. */
bool topic_matches(const char *pattern, size_t pattern_n, const char *topic, size_t topic_n)
{
    struct topic_word want[TOPIC_MAX + 1], have[TOPIC_MAX + 1];
    size_t wants = topic_words(pattern, pattern_n, want), haves = topic_words(topic, topic_n, have);
    size_t w = 0, h = 0, hash = wants, taken = 0;
    while (h < haves) {
        if (w < wants && want[w].kind == TOPIC_HASH) {
            hash = w++;
            taken = h;
        } else if (w < wants &&
                   (want[w].kind == TOPIC_STAR ||
                    (want[w].n == have[h].n && memcmp(want[w].s, have[h].s, have[h].n) == 0))) {
            w++;
            h++;
        } else if (hash < wants) {
            w = hash + 1;
            h = ++taken;
        } else {
            return false;
        }
    }
    while (w < wants && want[w].kind == TOPIC_HASH)
        w++;
    return w == wants;
}

static struct topic_node *topic_word_edge(const struct topic_set *s, const struct topic_node *from,
                                          const char *word, size_t n)
{
    char key[sizeof(from->serial) + TOPIC_MAX];
    if (from->words == 0)
        return NULL;
    memcpy(key, &from->serial, sizeof(from->serial));
    memcpy(key + sizeof(from->serial), word, n);
    return map_get(s->edges, key, sizeof(from->serial) + n);
}

static struct topic_node *topic_edge(const struct topic_set *s, const struct topic_node *from,
                                     const struct topic_word *w)
{
    if (w->kind == TOPIC_WORD)
        return topic_word_edge(s, from, w->s, w->n);
    return w->kind == TOPIC_STAR ? from->star : from->hash;
}

static struct topic_node *topic_node_new(struct topic_set *s, struct topic_node *parent,
                                         const struct topic_word *w)
{
    struct topic_node *node = mem_new(sizeof(*node) + w->n);
    node->parent = parent;
    node->serial = ++s->serials;
    node->kind = w->kind;
    node->floating = parent != NULL && (parent->floating || parent->kind == TOPIC_HASH);
    node->word_n = (uint8_t)w->n;
    memcpy(node->word, w->s, w->n);
    s->nodes++;
    s->floating += node->floating;
    return node;
}

/* Sets or, with `to` NULL, cuts the edge from the node's parent. */
static void topic_link(struct topic_set *s, struct topic_node *node, struct topic_node *to)
{
    struct topic_node *from = node->parent;
    if (node->kind != TOPIC_WORD) {
        *(node->kind == TOPIC_STAR ? &from->star : &from->hash) = to;
        return;
    }
    char key[sizeof(from->serial) + TOPIC_MAX];
    memcpy(key, &from->serial, sizeof(from->serial));
    memcpy(key + sizeof(from->serial), node->word, node->word_n);
    if (to != NULL)
        map_put(s->edges, key, sizeof(from->serial) + node->word_n, to);
    else
        map_remove(s->edges, key, sizeof(from->serial) + node->word_n);
    from->words = to != NULL ? from->words + 1 : from->words - 1;
}

/* The node and its ancestors go as far as nothing needs them. */
static void topic_prune(struct topic_set *s, struct topic_node *node)
{
    while (node->parent != NULL && node->id_count == 0 && node->words == 0 && node->star == NULL &&
           node->hash == NULL) {
        struct topic_node *parent = node->parent;
        topic_link(s, node, NULL);
        s->floating -= node->floating;
        mem_free(node->ids);
        mem_free(node);
        s->nodes--;
        node = parent;
    }
}

struct topic_set *topic_set_new(void)
{
    static const struct topic_word none = {TOPIC_WORD, "", 0};
    struct topic_set *s = mem_new(sizeof(*s));
    s->edges = map_new();
    s->root = topic_node_new(s, NULL, &none);
    return s;
}

static void topic_free_nodes(struct topic_node *node)
{
    /* Depth is bounded by the words of a pattern; words' nodes are the map's. */
    for (struct topic_node *next; node != NULL; node = next) {
        if (node->star != NULL)
            topic_free_nodes(node->star);
        next = node->hash;
        mem_free(node->ids);
        mem_free(node);
    }
}

static void topic_free_word(void *node)
{
    topic_free_nodes(node);
}

void topic_set_free(struct topic_set *s)
{
    if (s == NULL)
        return;
    map_free(s->edges, topic_free_word);
    topic_free_nodes(s->root);
    mem_free(s->now);
    mem_free(s->next);
    mem_free(s->found);
    mem_free(s->bits);
    mem_free(s->sums);
    mem_free(s);
}

size_t topic_set_count(const struct topic_set *s)
{
    return s->adds;
}

size_t topic_set_nodes(const struct topic_set *s)
{
    return s->nodes;
}

/* ---- Adding and removing ---- */

/* Memory as large as invariant 3 wants it with one more add of that id and so many more nodes. */
static void topic_make_room(struct topic_set *s, size_t nodes, uint32_t id)
{
    if (s->nodes + nodes > s->room) {
        s->room = (s->nodes + nodes) * 2;
        mem_free(s->now);
        mem_free(s->next);
        s->now = mem_new_array(s->room, sizeof(struct topic_node *));
        s->next = mem_new_array(s->room, sizeof(struct topic_node *));
    }
    if (s->adds == s->found_room) {
        s->found_room = s->found_room > 0 ? s->found_room * 2 : 16;
        mem_free(s->found);
        s->found = mem_new_array(s->found_room, sizeof(*s->found));
    }
    if (id / 64 >= s->bits_n) {
        while (id / 64 >= s->bits_n)
            s->bits_n = s->bits_n > 0 ? s->bits_n * 2 : 64;
        mem_free(s->bits);
        mem_free(s->sums);
        s->bits = mem_new_array(s->bits_n, sizeof(*s->bits));
        s->sums = mem_new_array(s->bits_n / 64, sizeof(*s->sums));
    }
}

/* Where the id stands among those of the node, or would. */
static size_t topic_id_at(const struct topic_node *node, uint32_t id)
{
    size_t low = 0, high = node->id_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (node->ids[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void topic_id_add(struct topic_node *node, uint32_t id)
{
    size_t at = topic_id_at(node, id);
    if (at < node->id_count && node->ids[at].id == id) {
        node->ids[at].adds++;
        return;
    }
    if (node->id_count == node->id_cap) {
        size_t cap = node->id_cap > 0 ? node->id_cap * 2 : 2;
        struct topic_id *ids = mem_new_array(cap, sizeof(*ids));
        if (node->id_count > 0)
            memcpy(ids, node->ids, node->id_count * sizeof(*ids));
        mem_free(node->ids);
        node->ids = ids;
        node->id_cap = cap;
    }
    memmove(&node->ids[at + 1], &node->ids[at], (node->id_count - at) * sizeof(*node->ids));
    node->ids[at] = (struct topic_id){id, 1};
    node->id_count++;
}

/* How many nodes the pattern has already, and where they end. */
static size_t topic_walk(const struct topic_set *s, const struct topic_word *words, size_t count,
                         struct topic_node **last)
{
    size_t have = 0;
    *last = s->root;
    for (struct topic_node *to; have < count; have++) {
        to = topic_edge(s, *last, &words[have]);
        if (to == NULL)
            break;
        *last = to;
    }
    return have;
}

static int topic_check_limits(const struct topic_set *s, const struct topic_word *words,
                              size_t have, size_t count, struct err *e)
{
    size_t hash = 0;
    while (hash < count && words[hash].kind != TOPIC_HASH)
        hash++;
    size_t fixed = hash + 1 > have ? hash + 1 : have;
    if (s->floating + (count > fixed ? count - fixed : 0) > TOPIC_FLOATING_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "the patterns have over %d words behind a '#'; say with which word a topic "
                       "begins, and '*' where it is one word that may be any",
                       TOPIC_FLOATING_MAX);
    if (s->adds >= TOPIC_PATTERNS_MAX || s->nodes + count - have > TOPIC_NODES_MAX)
        return err_set(e, ERR_TOO_LARGE,
                       "%d patterns of %d words in all are as many as there can be; use wildcards",
                       TOPIC_PATTERNS_MAX, TOPIC_NODES_MAX);
    return 0;
}

int topic_set_add(struct topic_set *s, const char *pattern, size_t n, uint32_t id, struct err *e)
{
    struct topic_word words[TOPIC_MAX + 1];
    struct topic_node *node;
    int rc = topic_check_pattern(pattern, n, e);
    if (rc != 0)
        return rc;
    if (id >= TOPIC_ID_MAX)
        return err_set(e, ERR_TOO_LARGE, "more than %d groups", TOPIC_ID_MAX);
    size_t count = topic_words(pattern, n, words);
    size_t have = topic_walk(s, words, count, &node);
    rc = topic_check_limits(s, words, have, count, e);
    if (rc != 0)
        return rc;
    topic_make_room(s, count - have, id);
    for (; have < count; have++) {
        node = topic_node_new(s, node, &words[have]);
        topic_link(s, node, node);
    }
    topic_id_add(node, id);
    s->adds++;
    return 0;
}

bool topic_set_remove(struct topic_set *s, const char *pattern, size_t n, uint32_t id)
{
    struct topic_word words[TOPIC_MAX + 1];
    if (topic_check_pattern(pattern, n, NULL) != 0)
        return false;
    size_t count = topic_words(pattern, n, words);
    struct topic_node *node;
    if (topic_walk(s, words, count, &node) < count)
        return false;
    size_t at = topic_id_at(node, id);
    if (at == node->id_count || node->ids[at].id != id)
        return false;
    s->adds--;
    if (--node->ids[at].adds > 0)
        return true;
    node->id_count--;
    memmove(&node->ids[at], &node->ids[at + 1], (node->id_count - at) * sizeof(*node->ids));
    topic_prune(s, node);
    return true;
}

/* ---- Matching ---- */

/* The node is reached with what was read so far, and so is what needs no word to reach from it. */
static void topic_enter(struct topic_set *s, struct topic_node *node)
{
    if (node == NULL || node->seen == s->step)
        return;
    node->seen = s->step;
    s->next[s->next_n++] = node;
    s->looked++;
    if (node->hash != NULL)
        topic_enter(s, node->hash);
}

static void topic_turn(struct topic_set *s)
{
    struct topic_node **now = s->now;
    s->now = s->next;
    s->now_n = s->next_n;
    s->next = now;
    s->next_n = 0;
    s->step++;
}

/* What is marked goes into `found` in order, and the marks go. */
static size_t topic_gather(struct topic_set *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->bits_n / 64; i++) {
        for (; s->sums[i] != 0; s->sums[i] &= s->sums[i] - 1) {
            size_t at = i * 64 + (size_t)__builtin_ctzll(s->sums[i]);
            for (; s->bits[at] != 0; s->bits[at] &= s->bits[at] - 1)
                s->found[count++] = (uint32_t)(at * 64 + (size_t)__builtin_ctzll(s->bits[at]));
        }
    }
    return count;
}

static void topic_mark(struct topic_set *s, const struct topic_node *node)
{
    for (size_t i = 0; i < node->id_count; i++) {
        uint32_t id = node->ids[i].id;
        s->bits[id / 64] |= UINT64_C(1) << id % 64;
        s->sums[id / 4096] |= UINT64_C(1) << id / 64 % 64;
    }
}

const uint32_t *topic_set_match(struct topic_set *s, const char *topic, size_t n, size_t *count)
{
    ASSERT(n <= TOPIC_MAX);
    *count = 0;
    s->looked = 0;
    if (s->adds == 0)
        return s->found;
    s->next_n = 0;
    s->step++;
    topic_enter(s, s->root);
    for (size_t at = 0; at <= n;) {
        struct topic_word w = topic_next_word(topic, n, &at);
        topic_turn(s);
        for (size_t i = 0; i < s->now_n; i++) {
            struct topic_node *node = s->now[i];
            if (node->kind == TOPIC_HASH)
                topic_enter(s, node);
            topic_enter(s, node->star);
            topic_enter(s, topic_word_edge(s, node, w.s, w.n));
        }
    }
    for (size_t i = 0; i < s->next_n; i++)
        topic_mark(s, s->next[i]);
    *count = topic_gather(s);
    return s->found;
}

size_t topic_set_looked(const struct topic_set *s)
{
    return s->looked;
}
