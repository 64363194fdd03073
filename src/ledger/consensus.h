/* Consensus - who leads, and which entries are committed. The raft core behind a few functions.
 *
 * Pure: an event goes in with its time, an update comes out that the caller must carry out: first
 * persist term and vote, then append the entries, and report when they are on disk. It keeps of the
 * log only which terms its indexes have, never a payload, and knows neither disk nor clock.
 *
 * One voter is a cluster of one: it leads from the start and commits what it has persisted. Because
 * an entry that it wrote but never synced may already have reached a standby, a lone voter begins
 * every life with a new term: no two entries ever have the same index and term. */
#ifndef KOAN_LEDGER_CONSENSUS_H
#define KOAN_LEDGER_CONSENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct consensus;
struct err;

enum consensus_type { CONSENSUS_UNITS = 1, CONSENSUS_BARRIER = 2, CONSENSUS_MEMBERS = 3 };

struct consensus_entry {
    uint64_t term;
    enum consensus_type type;
    const void *data;
    size_t len;
};

/* What the caller must do after an event. */
struct consensus_update {
    bool state; /* persist term and vote before anything else */
    uint64_t term, vote;
    uint64_t index; /* entries to append, the first at this index */
    const struct consensus_entry *entries;
    size_t count;
    uint64_t commit; /* committed up to here */
    bool leader;
};

/* Where a log begins: what its checkpoint says. `members` is an encoded configuration. */
struct consensus_start {
    uint64_t now_ms;
    uint64_t term, vote;
    uint64_t snapshot_index, snapshot_term; /* 0: none */
    const void *members;
    size_t members_len;
    uint64_t members_index;
    const struct consensus_entry *entries; /* from snapshot_index + 1 on; data only of MEMBERS */
    size_t count;
};

/* The first entry of a new log: `node` alone, with a vote. */
int consensus_members(uint64_t node, struct buf *out);

int consensus_new(uint64_t node, uint32_t seed, struct consensus **out);
void consensus_free(struct consensus *c); /* takes NULL */
int consensus_start(struct consensus *c, const struct consensus_start *s,
                    struct consensus_update *u, struct err *e);
/* A new entry. ERR_NO_LEADER when this node does not lead. */
int consensus_submit(struct consensus *c, uint64_t now_ms, const struct consensus_entry *entry,
                     struct consensus_update *u, struct err *e);
/* Entries up to `index` are on disk. */
int consensus_persisted(struct consensus *c, uint64_t now_ms, uint64_t index,
                        struct consensus_update *u, struct err *e);
/* The time of consensus_deadline() has come. */
int consensus_timeout(struct consensus *c, uint64_t now_ms, struct consensus_update *u,
                      struct err *e);
uint64_t consensus_deadline(const struct consensus *c);
/* A checkpoint covers `index`; the log still has the entries from `first` on. */
int consensus_snapshot(struct consensus *c, uint64_t now_ms, uint64_t index, uint64_t first,
                       struct consensus_update *u, struct err *e);
/* The committed entry `index` holds these members. */
int consensus_apply_members(struct consensus *c, uint64_t now_ms, uint64_t index, const void *p,
                            size_t n, struct consensus_update *u, struct err *e);
/* The members as of the last committed change, for a checkpoint. */
int consensus_committed_members(const struct consensus *c, struct buf *out, uint64_t *index);

#endif
