#include "ledger/segment_priv.h"

#include <stdio.h>

#include "base/buf.h"
#include "support/unit.h"

enum { SALT = 0x1122334455667788 & 0x7fffffff };

/* A segment in memory. */
struct memory {
    struct segment_source src;
    uint8_t *data;
    struct segment_header head;
    uint64_t at;
};

static int64_t memory_read(struct segment_source *s, void *p, size_t n, uint64_t at, struct err *e)
{
    struct memory *m = (struct memory *)s;
    (void)e;
    if (at >= m->src.size)
        return 0;
    if (n > m->src.size - at)
        n = (size_t)(m->src.size - at);
    memcpy(p, m->data + at, n);
    return (int64_t)n;
}

static void memory_init(struct memory *m, size_t size)
{
    *m = (struct memory){.src = {.read = memory_read, .size = size},
                         .data = mem_try(size),
                         .head = {.seq = 1, .salt = SALT, .first_index = 1},
                         .at = SEGMENT_PAGE};
    memset(m->data, 0, size);
}

static uint64_t memory_add(struct memory *m, uint64_t index, const char *text, uint64_t durable)
{
    uint64_t at = m->at;
    struct record r = {.type = 1,
                       .durable = (uint32_t)durable,
                       .index = index,
                       .term = 1,
                       .len = (uint32_t)strlen(text)};
    memcpy(m->data + at + RECORD_HEADER, text, r.len);
    record_seal(m->data + at, &r, SALT);
    m->at += record_size(r.len);
    return at;
}

static int count_each(void *arg, const struct record *r, uint64_t at, struct err *e)
{
    (void)at;
    (void)e;
    assert_int_equal(r->index, *(uint64_t *)arg + 1);
    ++*(uint64_t *)arg;
    return 0;
}

static uint64_t scan(struct memory *m, struct segment_end *end)
{
    uint64_t n = 0;
    assert_int_equal(segment_scan(&m->src, &m->head, count_each, &n, end, NULL), 0);
    return n;
}

TEST(the_bytes_of_a_record_never_change)
{
    uint8_t b[48] = {0};
    memcpy(b + RECORD_HEADER, "hello", 5);
    struct record r = {.type = 1, .group = 2, .durable = 4096, .index = 7, .term = 3, .len = 5};
    record_seal(b, &r, 0x1122334455667788);
    char text[97];
    for (int i = 0; i < 48; i++)
        sprintf(text + 2 * i, "%02x", b[i]);
    assert_string_equal(text, "6b526563"         /* kRec */
                              "470c9e56"         /* crc */
                              "05000000"         /* length */
                              "01000000"         /* type */
                              "02000000"         /* group */
                              "00100000"         /* durable */
                              "0700000000000000" /* index */
                              "0300000000000000" /* term */
                              "68656c6c6f000000");
}

TEST(the_bytes_of_a_header_never_change)
{
    AUTO(mem_freep) uint8_t *page = mem_new(SEGMENT_PAGE);
    struct segment_header h = {.seq = 9,
                               .salt = 0x1122334455667788,
                               .node = 5,
                               .group = 1,
                               .first_index = 100,
                               .prev_term = 4,
                               .created_ms = 1000,
                               .size = 65536};
    segment_header_encode(&h, page);
    char text[2 * SEGMENT_HEADER + 1];
    for (int i = 0; i < SEGMENT_HEADER; i++)
        sprintf(text + 2 * i, "%02x", page[i]);
    assert_string_equal(text, "4b4f414e4c4f470a010000009a127742"
                              "01000000000000000900000000000000"
                              "88776655443322110500000000000000"
                              "64000000000000000400000000000000"
                              "e8030000000000000000010000000000"
                              "0000000000000000");
    struct segment_header back;
    assert_int_equal(segment_header_decode(page, SEGMENT_PAGE, &back, NULL), 0);
    AUTO(mem_freep) uint8_t *again = mem_new(SEGMENT_PAGE);
    segment_header_encode(&back, again);
    assert_memory_equal(page, again, SEGMENT_PAGE);
}

TEST(a_changed_header_is_damage_and_a_newer_format_is_named)
{
    struct err e = ERR_INIT;
    AUTO(mem_freep) uint8_t *page = mem_new(SEGMENT_PAGE);
    struct segment_header h = {.seq = 9}, back;
    segment_header_encode(&h, page);
    page[48] ^= 1;
    assert_refused(segment_header_decode(page, SEGMENT_PAGE, &back, &e), ERR_CORRUPT, "checksum");
    page[0] = 0;
    assert_refused(segment_header_decode(page, SEGMENT_PAGE, &back, &e), ERR_CORRUPT,
                   "no segment header");
}

TEST(a_scan_ends_where_nothing_follows)
{
    struct memory m;
    struct segment_end end;
    memory_init(&m, 1 << 16);
    assert_int_equal(scan(&m, &end), 0);
    assert_int_equal(end.at, SEGMENT_PAGE);
    memory_add(&m, 1, "one", 4096);
    memory_add(&m, 2, "", m.at);
    memory_add(&m, 3, "three", m.at);
    assert_int_equal(scan(&m, &end), 3);
    assert_int_equal(end.at, m.at);
    assert_int_equal(end.damage, 0);
    assert_int_equal(end.leftover, 0);
    mem_free(m.data);
}

TEST(records_of_an_earlier_life_of_the_file_are_not_ours)
{
    struct memory m;
    struct segment_end end;
    memory_init(&m, 1 << 16);
    for (uint64_t i = 1; i < 20; i++)
        memory_add(&m, i, "old", m.at);
    m.head.salt++;
    assert_int_equal(scan(&m, &end), 0);
    assert_int_equal(end.damage, 0);
    assert_int_equal(end.leftover, 0);
    mem_free(m.data);
}

TEST(a_torn_last_record_is_the_end)
{
    struct memory m;
    struct segment_end end;
    memory_init(&m, 1 << 16);
    memory_add(&m, 1, "one", 4096);
    uint64_t torn = memory_add(&m, 2, "two two two", m.at);
    m.data[torn + RECORD_HEADER] ^= 1;
    assert_int_equal(scan(&m, &end), 1);
    assert_int_equal(end.at, torn);
    assert_int_equal(end.damage, 0);
    mem_free(m.data);
}

TEST(a_bad_record_before_a_later_synced_one_is_damage)
{
    struct memory m;
    struct segment_end end;
    memory_init(&m, 1 << 16);
    memory_add(&m, 1, "one", 4096);
    uint64_t bad = memory_add(&m, 2, "two", m.at);
    uint64_t proof = memory_add(&m, 3, "three", m.at);
    m.data[bad + 8] ^= 0x10; /* also when its length is wrong */
    assert_int_equal(scan(&m, &end), 1);
    assert_int_equal(end.at, bad);
    assert_int_equal(end.damage, proof);
    mem_free(m.data);
}

TEST(a_record_of_the_same_unfinished_write_proves_nothing)
{
    struct memory m;
    struct segment_end end;
    memory_init(&m, 1 << 16);
    memory_add(&m, 1, "one", 4096);
    uint64_t durable = m.at;
    uint64_t torn = memory_add(&m, 2, "two", durable);
    memory_add(&m, 3, "three", durable);
    m.data[torn] ^= 1;
    assert_int_equal(scan(&m, &end), 1);
    assert_int_equal(end.at, torn);
    assert_int_equal(end.damage, 0);
    assert_int_equal(end.leftover, m.at);
    mem_free(m.data);
}

TEST(records_larger_than_the_window_are_read_whole)
{
    struct memory m;
    struct segment_end end;
    memory_init(&m, 8 << 20);
    size_t n = 3 << 20;
    AUTO(mem_freep) char *text = mem_try(n + 1);
    memset(text, 'x', n);
    text[n] = '\0';
    memory_add(&m, 1, "small", 4096);
    memory_add(&m, 2, text, m.at);
    memory_add(&m, 3, "small", m.at);
    assert_int_equal(scan(&m, &end), 3);
    assert_int_equal(end.at, m.at);
    mem_free(m.data);
}

TEST(any_flipped_bit_of_a_record_is_noticed)
{
    struct memory m;
    memory_init(&m, 1 << 16);
    memory_add(&m, 1, "payload", 4096);
    uint8_t *p = m.data + SEGMENT_PAGE;
    for (size_t bit = 0; bit < 8 * (RECORD_HEADER + 7); bit++) {
        struct record r;
        size_t need;
        p[bit / 8] = (uint8_t)(p[bit / 8] ^ 1u << bit % 8);
        assert_int_not_equal(record_open(p, 48, SALT, &r, &need), 1);
        p[bit / 8] = (uint8_t)(p[bit / 8] ^ 1u << bit % 8);
    }
    mem_free(m.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(the_bytes_of_a_record_never_change),
        HEAP_TEST(the_bytes_of_a_header_never_change),
        HEAP_TEST(a_changed_header_is_damage_and_a_newer_format_is_named),
        HEAP_TEST(a_scan_ends_where_nothing_follows),
        HEAP_TEST(records_of_an_earlier_life_of_the_file_are_not_ours),
        HEAP_TEST(a_torn_last_record_is_the_end),
        HEAP_TEST(a_bad_record_before_a_later_synced_one_is_damage),
        HEAP_TEST(a_record_of_the_same_unfinished_write_proves_nothing),
        HEAP_TEST(records_larger_than_the_window_are_read_whole),
        HEAP_TEST(any_flipped_bit_of_a_record_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
