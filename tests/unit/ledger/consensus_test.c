#include "ledger/consensus.h"

#include <raft.h>

#include "base/buf.h"
#include "support/unit.h"

enum { NODE = 77 };

struct fixture {
    struct consensus *c;
    struct consensus_update u;
    struct buf members;
};

/* A log with the list of members and `count` more entries of `term`. */
static int start(struct fixture *f, uint64_t term, size_t count, struct err *e)
{
    AUTO(mem_freep) struct consensus_entry *entries = mem_new_array(count + 1, sizeof *entries);
    entries[0] = (struct consensus_entry){
        .term = 1, .type = CONSENSUS_MEMBERS, .data = f->members.data, .len = f->members.len};
    for (size_t i = 1; i <= count; i++)
        entries[i] = (struct consensus_entry){.term = term, .type = CONSENSUS_UNITS};
    struct consensus_start s = {
        .now_ms = 1000, .term = term, .vote = NODE, .entries = entries, .count = count + 1};
    assert_int_equal(consensus_new(NODE, 1, &f->c), 0);
    return consensus_start(f->c, &s, &f->u, e);
}

static void begin(struct fixture *f)
{
    *f = (struct fixture){.c = NULL};
    buf_init(&f->members, 1 << 16);
    assert_int_equal(consensus_members(NODE, &f->members), 0);
}

static void end(struct fixture *f)
{
    consensus_free(f->c);
    buf_fini(&f->members);
}

TEST(a_lone_voter_leads_at_once_with_a_term_of_its_own_and_has_committed_its_log)
{
    struct fixture f;
    begin(&f);
    assert_int_equal(start(&f, 5, 9, NULL), 0);
    assert_true(f.u.leader);
    assert_true(f.u.state);
    assert_int_equal(f.u.term, 6);
    assert_int_equal(f.u.vote, NODE);
    assert_int_equal(f.u.commit, 10);
    assert_int_equal(f.u.count, 0);
    end(&f);
}

TEST(an_entry_is_committed_when_it_is_on_disk_and_not_before)
{
    struct fixture f;
    begin(&f);
    assert_int_equal(start(&f, 1, 0, NULL), 0);
    struct consensus_entry e = {.type = CONSENSUS_UNITS, .data = "x", .len = 1};
    assert_int_equal(consensus_submit(f.c, 1001, &e, &f.u, NULL), 0);
    assert_int_equal(f.u.index, 2);
    assert_int_equal(f.u.count, 1);
    assert_int_equal(f.u.entries[0].term, 2);
    assert_ptr_equal(f.u.entries[0].data, e.data);
    assert_int_equal(f.u.commit, 1);
    assert_int_equal(consensus_persisted(f.c, 1002, 2, &f.u, NULL), 0);
    assert_int_equal(f.u.commit, 2);
    end(&f);
}

TEST(a_lone_voter_stays_leader_while_time_passes)
{
    struct fixture f;
    begin(&f);
    assert_int_equal(start(&f, 1, 0, NULL), 0);
    for (int i = 0; i < 50; i++) {
        uint64_t at = consensus_deadline(f.c);
        assert_true(at > 1000);
        assert_int_equal(consensus_timeout(f.c, at, &f.u, NULL), 0);
        assert_true(f.u.leader);
        assert_int_equal(f.u.term, 2);
        assert_false(f.u.state);
    }
    end(&f);
}

TEST(a_start_behind_a_snapshot_needs_only_what_follows_it)
{
    struct fixture f;
    struct buf again = BUF_INIT(1 << 16);
    uint64_t index;
    begin(&f);
    struct consensus_entry entries[] = {{.term = 3, .type = CONSENSUS_UNITS},
                                        {.term = 4, .type = CONSENSUS_UNITS}};
    struct consensus_start s = {.now_ms = 1,
                                .term = 4,
                                .vote = NODE,
                                .snapshot_index = 1000,
                                .snapshot_term = 3,
                                .members = f.members.data,
                                .members_len = f.members.len,
                                .members_index = 1,
                                .entries = entries,
                                .count = 2};
    assert_int_equal(consensus_new(NODE, 1, &f.c), 0);
    assert_int_equal(consensus_start(f.c, &s, &f.u, NULL), 0);
    assert_true(f.u.leader);
    assert_int_equal(f.u.commit, 1002);
    struct consensus_entry e = {.type = CONSENSUS_UNITS, .data = "x", .len = 1};
    assert_int_equal(consensus_submit(f.c, 2, &e, &f.u, NULL), 0);
    assert_int_equal(f.u.index, 1003);
    assert_int_equal(consensus_persisted(f.c, 2, 1003, &f.u, NULL), 0);
    assert_int_equal(consensus_snapshot(f.c, 3, 1003, 900, &f.u, NULL), 0);
    assert_int_equal(consensus_committed_members(f.c, &again, &index), 0);
    assert_int_equal(index, 1);
    assert_int_equal(again.len, f.members.len);
    assert_memory_equal(again.data, f.members.data, again.len);
    buf_fini(&again);
    end(&f);
}

/* Two voters: we are one of them, and the other never answers. */
TEST(a_voter_among_others_does_not_lead_alone)
{
    struct fixture f;
    struct err e = ERR_INIT;
    struct raft_configuration conf;
    struct raft_buffer b;
    begin(&f);
    raft_configuration_init(&conf);
    assert_int_equal(raft_configuration_add(&conf, NODE, "a", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_add(&conf, NODE + 1, "b", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_encode(&conf, &b), 0);
    buf_reset(&f.members);
    buf_add(&f.members, b.base, b.len);
    raft_free(b.base);
    raft_configuration_close(&conf);
    assert_int_equal(start(&f, 5, 3, &e), 0);
    assert_false(f.u.leader);
    assert_false(f.u.state);
    assert_int_equal(f.u.term, 5);
    assert_int_equal(f.u.commit, 1); /* only the first entry is known to be */
    struct consensus_entry entry = {.type = CONSENSUS_UNITS, .data = "x", .len = 1};
    assert_int_equal(consensus_submit(f.c, 1001, &entry, &f.u, &e), ERR_NO_LEADER);
    for (int i = 0; i < 5; i++)
        assert_int_equal(consensus_timeout(f.c, consensus_deadline(f.c), &f.u, &e), 0);
    assert_false(f.u.leader);
    end(&f);
}

TEST(members_that_cannot_be_read_are_refused)
{
    struct fixture f;
    struct err e = ERR_INIT;
    begin(&f);
    f.members.data[0] = 9;
    assert_refused(start(&f, 1, 0, &e), ERR_CORRUPT, "members");
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(a_lone_voter_leads_at_once_with_a_term_of_its_own_and_has_committed_its_log),
        HEAP_TEST(an_entry_is_committed_when_it_is_on_disk_and_not_before),
        HEAP_TEST(a_lone_voter_stays_leader_while_time_passes),
        HEAP_TEST(a_start_behind_a_snapshot_needs_only_what_follows_it),
        HEAP_TEST(a_voter_among_others_does_not_lead_alone),
        HEAP_TEST(members_that_cannot_be_read_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
