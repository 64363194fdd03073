#include "base/topic.h"

#include <stdio.h>

#include "support/unit.h"

static struct topic_set *set_of(const char *const *patterns, size_t n)
{
    struct topic_set *s = topic_set_new();
    for (size_t i = 0; i < n; i++)
        assert_int_equal(topic_set_add(s, patterns[i], strlen(patterns[i]), (uint32_t)i, NULL), 0);
    return s;
}

/* The numbers found, as text. */
static const char *found(struct topic_set *s, const char *topic)
{
    static char text[512];
    size_t count, n = 0;
    const uint32_t *ids = topic_set_match(s, topic, strlen(topic), &count);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, i > 0 ? " %u" : "%u", ids[i]);
    return text;
}

TEST(a_topic_is_of_the_bytes_that_names_have)
{
    static const char *const good[] = {"a", "order.placed", "A-b_c.0", ".", "..", "a..b", ".a."};
    struct err e = ERR_INIT;
    char longest[TOPIC_MAX + 1];
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(topic_check(good[i], strlen(good[i]), &e), 0);
    memset(longest, 'x', sizeof(longest));
    assert_int_equal(topic_check(longest, TOPIC_MAX, &e), 0);
    assert_refused(topic_check(longest, TOPIC_MAX + 1, &e), ERR_INVALID, "at most 128");
    assert_refused(topic_check("", 0, &e), ERR_INVALID, "at least one");
    assert_refused(topic_check("order placed", 12, &e), ERR_INVALID, "0x20 at offset 5");
    assert_refused(topic_check("a/b", 3, &e), ERR_INVALID, "'/' at offset 1");
    assert_refused(topic_check("caf\xc3\xa9", 5, &e), ERR_INVALID, "0xc3 at offset 3");
    assert_refused(topic_check("a\0b", 3, &e), ERR_INVALID, "0x00 at offset 1");
    assert_refused(topic_check("order.*", 7, &e), ERR_INVALID, "wildcards are for patterns");
}

TEST(a_wildcard_is_a_word_of_its_own)
{
    static const char *const good[] = {"*", "#", "order.*", "#.placed", "*.*.#", "a.#.b", "a", "."};
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(topic_check_pattern(good[i], strlen(good[i]), &e), 0);
    assert_refused(topic_check_pattern("order*", 6, &e), ERR_INVALID, "'*' at offset 5");
    assert_refused(topic_check_pattern("a.##", 4, &e), ERR_INVALID, "'#' at offset 2");
    assert_refused(topic_check_pattern("*.#x", 4, &e), ERR_INVALID, "put '.' between");
    assert_refused(topic_check_pattern("a b", 3, &e), ERR_INVALID, "the words '*' and '#'");
    struct topic_set *s = topic_set_new();
    assert_refused(topic_set_add(s, "a*", 2, 1, &e), ERR_INVALID, "'*' at offset 1");
    assert_false(topic_set_remove(s, "a*", 2, 1));
    topic_set_free(s);
    topic_set_free(NULL);
}

TEST(patterns_match_as_their_wildcards_say)
{
    static const char *const patterns[] = {"order.placed", "order.*", "order.#",   "#",
                                           "*.placed",     "#.eu",    "order.*.*", "*..*"};
    struct topic_set *s = set_of(patterns, ARRAY_LEN(patterns));
    assert_string_equal(found(s, "order.placed"), "0 1 2 3 4");
    assert_string_equal(found(s, "order"), "2 3");
    assert_string_equal(found(s, "order.placed.eu"), "2 3 5 6");
    assert_string_equal(found(s, "eu"), "3 5");
    assert_string_equal(found(s, "a..b"), "3 7");
    assert_string_equal(found(s, "order."), "1 2 3");
    assert_string_equal(found(s, "Order.placed"), "3 4");
    topic_set_free(s);
}

TEST(a_number_is_found_once_and_numbers_ascend)
{
    struct topic_set *s = topic_set_new();
    static const char *const patterns[] = {"#", "a.*", "*.b", "a.b", "a.#", "#.b"};
    static const uint32_t ids[] = {TOPIC_ID_MAX - 1, 70000, 64, 63, 4096, 64};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        topic_set_add(s, patterns[i], strlen(patterns[i]), ids[i], NULL);
    assert_string_equal(found(s, "a.b"), "63 64 4096 70000 262143");
    assert_int_equal(topic_set_count(s), 6);
    topic_set_free(s);
}

TEST(each_add_wants_its_own_remove)
{
    struct topic_set *s = topic_set_new();
    topic_set_add(s, "#.*", 3, 7, NULL);
    topic_set_add(s, "*.#", 3, 7, NULL); /* means the same */
    assert_string_equal(found(s, "a.b"), "7");
    assert_false(topic_set_remove(s, "*.#", 3, 8));
    assert_false(topic_set_remove(s, "#", 1, 7));
    assert_true(topic_set_remove(s, "*.#", 3, 7));
    assert_string_equal(found(s, "a.b"), "7");
    assert_true(topic_set_remove(s, "*.#", 3, 7));
    assert_false(topic_set_remove(s, "*.#", 3, 7));
    assert_string_equal(found(s, "a.b"), "");
    assert_int_equal(topic_set_nodes(s), 1);
    topic_set_free(s);
}

TEST(a_set_has_limits)
{
    struct topic_set *s = topic_set_new();
    struct err e = ERR_INIT;
    assert_refused(topic_set_add(s, "a", 1, TOPIC_ID_MAX, &e), ERR_TOO_LARGE, "262144 groups");
    for (uint32_t i = 0; i < TOPIC_PATTERNS_MAX; i++)
        topic_set_add(s, "a", 1, i % 8, NULL);
    assert_refused(topic_set_add(s, "a", 1, 1, &e), ERR_TOO_LARGE, "262144 patterns");
    assert_true(topic_set_remove(s, "a", 1, 1));
    assert_int_equal(topic_set_add(s, "a", 1, 1, &e), 0);
    topic_set_free(s);
}

TEST(what_floats_behind_a_hash_has_a_limit_of_its_own)
{
    struct topic_set *s = topic_set_new();
    struct err e = ERR_INIT;
    char pattern[32];
    int n = 0;
    for (uint32_t i = 0; i < TOPIC_FLOATING_MAX / 2; i++) {
        n = snprintf(pattern, sizeof(pattern), "k%u.#.a.b", i);
        assert_int_equal(topic_set_add(s, pattern, (size_t)n, 1, &e), 0);
    }
    size_t nodes = topic_set_nodes(s);
    assert_refused(topic_set_add(s, "#.a", 3, 1, &e), ERR_TOO_LARGE, "over 16384 words behind");
    assert_refused(topic_set_add(s, "x.#.a.b.c", 9, 1, &e), ERR_TOO_LARGE, "over 16384 words");
    assert_int_equal(topic_set_nodes(s), nodes);
    assert_int_equal(topic_set_add(s, "x.*.#", 5, 1, &e), 0); /* nothing behind it */
    assert_int_equal(topic_set_add(s, pattern, (size_t)n, 2, &e), 0);
    assert_int_equal(topic_set_add(s, pattern, (size_t)n - 2, 2, &e), 0);
    for (int i = 0; i < 2; i++)
        assert_true(topic_set_remove(s, pattern, (size_t)n, 1 + (uint32_t)i));
    assert_int_equal(topic_set_add(s, "#.a", 3, 1, &e), 0); /* the room of one ".b" */
    assert_refused(topic_set_add(s, "#.b", 3, 1, &e), ERR_TOO_LARGE, "behind a '#'");
    topic_set_free(s);
}

/* Trying a '#' in all its ways would take 2^60 steps. */
TEST(a_node_is_looked_at_once_a_word_whatever_leads_to_it)
{
    char topic[TOPIC_MAX + 1] = "", pattern[TOPIC_MAX + 1] = "";
    for (int i = 0; i < 60; i++)
        strncat(topic, "a.", 3);
    strncat(topic, "b", 2);
    struct topic_set *s = topic_set_new();
    for (int i = 0; i < 31; i++) {
        strncat(pattern, i == 0 ? "#.a" : ".#.a", 5);
        topic_set_add(s, pattern, strlen(pattern), 1, NULL);
    }
    assert_string_equal(found(s, topic), "");
    assert_true(topic_set_looked(s) <= 62 * topic_set_nodes(s));
    topic[strlen(topic) - 2] = '\0';
    assert_string_equal(found(s, topic), "1");
    topic_set_free(s);
    s = topic_set_new();
    topic_set_add(s, "#.#.#.a", 7, 1, NULL);
    assert_int_equal(topic_set_nodes(s), 3);
    topic_set_free(s);
}

TEST(ten_thousand_patterns_that_begin_otherwise_cost_as_much_as_one)
{
    struct topic_set *s = topic_set_new();
    char pattern[64];
    for (uint32_t i = 0; i < 10000; i++) {
        int n = snprintf(pattern, sizeof(pattern), "shop%u.order.*", i);
        topic_set_add(s, pattern, (size_t)n, i, NULL);
    }
    assert_string_equal(found(s, "shop4711.order.placed"), "4711");
    assert_int_equal(topic_set_looked(s), 4);
    topic_set_free(s);
}

/* ---- Against the plainest matcher there is ---- */

/* Do the words of p match those of t? Both NULL at their end. */
static bool naive(const char *p, const char *t)
{
    if (p == NULL)
        return t == NULL;
    size_t pn = strcspn(p, "."), tn = t != NULL ? strcspn(t, ".") : 0;
    const char *p2 = p[pn] == '.' ? p + pn + 1 : NULL;
    const char *t2 = t != NULL && t[tn] == '.' ? t + tn + 1 : NULL;
    if (pn == 1 && *p == '#')
        return naive(p2, t) || (t != NULL && naive(p, t2));
    return t != NULL && ((pn == 1 && *p == '*') || (pn == tn && memcmp(p, t, pn) == 0)) &&
           naive(p2, t2);
}

static uint32_t seed = 2026;

static uint32_t chance(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static void words_of_chance(const char *const *words, uint32_t n, char *out)
{
    uint32_t count = 1 + chance(5);
    out[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        strncat(out, i > 0 ? "." : "", 2);
        strncat(out, words[chance(n)], 3);
    }
    if (out[0] == '\0')
        strncat(out, ".", 2);
}

enum { MODEL = 120 };

TEST(any_set_finds_what_trying_every_pattern_finds)
{
    static const char *const words[] = {"a", "b", "c", "", "*", "#"};
    static char model[MODEL][32];
    static bool here[MODEL];
    struct topic_set *s = topic_set_new();
    size_t count = 0, n, hits = 0;
    char topic[32];
    for (int step = 0; step < 40000; step++) {
        uint32_t i = chance(MODEL);
        if (here[i] && chance(step % 4000 < 3000 ? 3 : 1) == 0) {
            assert_true(topic_set_remove(s, model[i], strlen(model[i]), i));
            here[i] = false;
            count--;
        } else if (!here[i] && step % 4000 < 3000) {
            words_of_chance(words, 6, model[i]);
            assert_int_equal(topic_set_add(s, model[i], strlen(model[i]), i, NULL), 0);
            here[i] = true;
            count++;
        }
        words_of_chance(words, 4, topic);
        const uint32_t *ids = topic_set_match(s, topic, strlen(topic), &n);
        size_t at = 0;
        for (uint32_t k = 0; k < MODEL; k++)
            if (here[k] && naive(model[k], topic) && (at >= n || ids[at++] != k))
                fail_msg("%s does not find %s", topic, model[k]);
        assert_int_equal(at, n);
        hits += n;
        assert_int_equal(topic_set_count(s), count);
    }
    assert_true(hits > 100000);
    for (uint32_t k = 0; k < MODEL; k++)
        if (here[k])
            assert_true(topic_set_remove(s, model[k], strlen(model[k]), k));
    assert_int_equal(topic_set_nodes(s), 1); /* nothing is left behind */
    topic_set_free(s);
}

enum { WORDS = 4 };

/* The n-th name of up to four words of these; false: there are no more. */
static bool name_of(size_t n, const char *const *words, size_t count, char out[16])
{
    size_t of = count, length = 1;
    for (; n >= of && length < WORDS; length++) {
        n -= of;
        of *= count;
    }
    if (n >= of)
        return false;
    out[0] = '\0';
    for (size_t i = 0; i < length; i++, n /= count) {
        strcat(out, i > 0 ? "." : "");
        strcat(out, words[n % count]);
    }
    return true;
}

TEST(a_pattern_by_itself_matches_what_it_matches_in_a_set)
{
    static const char *const words[] = {"a", "b", "*", "#"};
    char pattern[16], topic[16];
    size_t pairs = 0;
    for (size_t i = 0; name_of(i, words, 4, pattern); i++) {
        struct topic_set *s = topic_set_new();
        assert_int_equal(topic_set_add(s, pattern, strlen(pattern), 0, NULL), 0);
        for (size_t k = 0; name_of(k, words, 2, topic); k++, pairs++) {
            size_t count;
            topic_set_match(s, topic, strlen(topic), &count);
            if (topic_matches(pattern, strlen(pattern), topic, strlen(topic)) != (count == 1))
                fail_msg("'%s' and '%s'", pattern, topic);
        }
        topic_set_free(s);
    }
    assert_int_equal(pairs, 340 * 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_topic_is_of_the_bytes_that_names_have),
        HEAP_TEST(a_wildcard_is_a_word_of_its_own),
        HEAP_TEST(patterns_match_as_their_wildcards_say),
        HEAP_TEST(a_number_is_found_once_and_numbers_ascend),
        HEAP_TEST(each_add_wants_its_own_remove),
        HEAP_TEST(a_set_has_limits),
        HEAP_TEST(what_floats_behind_a_hash_has_a_limit_of_its_own),
        HEAP_TEST(a_node_is_looked_at_once_a_word_whatever_leads_to_it),
        HEAP_TEST(ten_thousand_patterns_that_begin_otherwise_cost_as_much_as_one),
        HEAP_TEST(any_set_finds_what_trying_every_pattern_finds),
        HEAP_TEST(a_pattern_by_itself_matches_what_it_matches_in_a_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
