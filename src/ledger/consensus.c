#include "ledger/consensus.h"

#include <string.h>

#include <raft.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

struct consensus {
    struct raft raft;
    struct raft_entry own; /* the entry being submitted */
    struct consensus_entry out;
};

_Static_assert((int)CONSENSUS_UNITS == (int)RAFT_COMMAND, "types are those of the core");
_Static_assert((int)CONSENSUS_BARRIER == (int)RAFT_BARRIER, "types are those of the core");
_Static_assert((int)CONSENSUS_MEMBERS == (int)RAFT_CHANGE, "types are those of the core");

static int consensus_failed(struct consensus *c, int rc, struct err *e)
{
    int code = ERR_INTERNAL;
    if (rc == RAFT_NOMEM)
        code = ERR_NOMEM;
    else if (rc == RAFT_NOTLEADER)
        code = ERR_NO_LEADER;
    else if (rc == RAFT_MALFORMED)
        code = ERR_CORRUPT;
    const char *more = c->raft.errmsg[0] != '\0' ? c->raft.errmsg : raft_strerror(rc);
    return err_set(e, code, "consensus: %s", more);
}

int consensus_members(uint64_t node, struct buf *out)
{
    struct raft_configuration conf;
    struct raft_buffer b;
    raft_configuration_init(&conf);
    int rc = raft_configuration_add(&conf, node, "", RAFT_VOTER);
    if (rc == 0)
        rc = raft_configuration_encode(&conf, &b);
    raft_configuration_close(&conf);
    if (rc != 0)
        return ERR_NOMEM;
    buf_add(out, b.base, b.len);
    raft_free(b.base);
    return buf_failed(out) ? ERR_NOMEM : 0;
}

int consensus_new(uint64_t node, uint32_t seed, struct consensus **out)
{
    struct consensus *c = mem_new(sizeof *c);
    if (raft_init(&c->raft, NULL, NULL, node, "") != 0) {
        mem_free(c);
        return ERR_NOMEM;
    }
    c->raft.tracer = NULL; /* it formats every trace into one static buffer, unwanted or not */
    raft_seed(&c->raft, seed);
    raft_set_pre_vote(&c->raft, true);
    *out = c;
    return 0;
}

void consensus_free(struct consensus *c)
{
    if (c == NULL)
        return;
    raft_close(&c->raft, NULL);
    mem_free(c);
}

/* One event through the core, its update in our words. */
static int consensus_step(struct consensus *c, struct raft_event *event, struct consensus_update *u,
                          struct err *e)
{
    struct raft_update up;
    *u = (struct consensus_update){0};
    event->capacity = 0;
    int rc = raft_step(&c->raft, event, &up);
    if (rc != 0)
        return consensus_failed(c, rc, e);
    u->state = up.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR);
    u->term = raft_current_term(&c->raft);
    u->vote = raft_voted_for(&c->raft);
    u->commit = raft_commit_index(&c->raft);
    u->leader = c->raft.state == RAFT_LEADER;
    if (up.flags & (RAFT_UPDATE_ENTRIES)) {
        ASSERT(up.entries.n == 1); /* more come only from peers */
        const struct raft_entry *entry = &up.entries.batch[0];
        c->out = (struct consensus_entry){.term = entry->term,
                                          .type = (enum consensus_type)entry->type,
                                          .data = entry->buf.base,
                                          .len = entry->buf.len};
        u->index = up.entries.index;
        u->entries = &c->out;
        u->count = 1;
    }
    return 0;
}

static int consensus_decode_members(const void *p, size_t n, struct raft_configuration *out,
                                    struct err *e)
{
    struct raft_buffer b = {.base = (void *)p, .len = n};
    if (n > 0 && raft_configuration_decode(&b, out) == 0)
        return 0;
    return err_set(e, ERR_CORRUPT, "the list of members cannot be read");
}

/* Are we the only voter among the newest members that the log knows? */
static int consensus_is_alone(const struct consensus *c, const struct consensus_start *s, bool *out,
                              struct err *e)
{
    const void *p = s->members;
    size_t n = s->members_len;
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i].type == CONSENSUS_MEMBERS) {
            p = s->entries[i].data;
            n = s->entries[i].len;
        }
    }
    *out = false;
    if (p == NULL)
        return 0;
    struct raft_configuration conf;
    int rc = consensus_decode_members(p, n, &conf, e);
    if (rc < 0)
        return rc;
    unsigned voters = 0;
    bool us = false;
    for (unsigned i = 0; i < conf.n; i++) {
        voters += conf.servers[i].role == RAFT_VOTER;
        us |= conf.servers[i].role == RAFT_VOTER && conf.servers[i].id == c->raft.id;
    }
    *out = us && voters == 1;
    raft_configuration_close(&conf);
    return 0;
}

static struct raft_entry *consensus_old_entries(const struct consensus_start *s)
{
    struct raft_entry *entries = mem_try((s->count + 1) * sizeof *entries);
    for (size_t i = 0; entries != NULL && i < s->count; i++) {
        entries[i] = (struct raft_entry){
            .term = s->entries[i].term,
            .type = (enum raft_entry_type)s->entries[i].type,
            .buf = {.base = (void *)s->entries[i].data, .len = s->entries[i].len},
        };
    }
    return entries;
}

int consensus_start(struct consensus *c, const struct consensus_start *s,
                    struct consensus_update *u, struct err *e)
{
    bool alone;
    struct raft_snapshot_metadata meta = {.index = s->snapshot_index, .term = s->snapshot_term};
    int rc = consensus_is_alone(c, s, &alone, e);
    if (rc < 0)
        return rc;
    AUTO(mem_freep) struct raft_entry *entries = consensus_old_entries(s);
    if (entries == NULL)
        return err_set(e, ERR_NOMEM, "consensus: %zu entries", s->count);
    if (s->snapshot_index > 0) {
        meta.configuration_index = s->members_index;
        rc = consensus_decode_members(s->members, s->members_len, &meta.configuration, e);
        if (rc < 0)
            return rc;
    }
    struct raft_event event = {.time = s->now_ms, .type = RAFT_START};
    event.start.term = alone ? s->term + 1 : s->term;
    event.start.voted_for = alone ? c->raft.id : s->vote;
    event.start.metadata = s->snapshot_index > 0 ? &meta : NULL;
    event.start.start_index = s->snapshot_index + 1;
    event.start.entries = entries;
    event.start.n_entries = (unsigned)s->count;
    rc = consensus_step(c, &event, u, e);
    u->state |= alone;
    return rc;
}

int consensus_submit(struct consensus *c, uint64_t now_ms, const struct consensus_entry *entry,
                     struct consensus_update *u, struct err *e)
{
    c->own = (struct raft_entry){
        .term = raft_current_term(&c->raft),
        .type = (enum raft_entry_type)entry->type,
        .buf = {.base = (void *)entry->data, .len = entry->len},
        .batch = (void *)entry->data,
    };
    struct raft_event event = {.time = now_ms, .type = RAFT_SUBMIT};
    event.submit.entries = &c->own;
    event.submit.n = 1;
    return consensus_step(c, &event, u, e);
}

int consensus_persisted(struct consensus *c, uint64_t now_ms, uint64_t index,
                        struct consensus_update *u, struct err *e)
{
    struct raft_event event = {.time = now_ms, .type = RAFT_PERSISTED_ENTRIES};
    event.persisted_entries.index = index;
    return consensus_step(c, &event, u, e);
}

int consensus_timeout(struct consensus *c, uint64_t now_ms, struct consensus_update *u,
                      struct err *e)
{
    struct raft_event event = {.time = now_ms, .type = RAFT_TIMEOUT};
    return consensus_step(c, &event, u, e);
}

uint64_t consensus_deadline(const struct consensus *c)
{
    return raft_timeout(&c->raft);
}

static int consensus_copy_members(const struct raft_configuration *from,
                                  struct raft_configuration *to)
{
    raft_configuration_init(to);
    for (unsigned i = 0; i < from->n; i++) {
        const struct raft_server *s = &from->servers[i];
        int rc = raft_configuration_add(to, s->id, s->address, s->role);
        if (rc != 0) {
            raft_configuration_close(to);
            return rc;
        }
    }
    return 0;
}

int consensus_snapshot(struct consensus *c, uint64_t now_ms, uint64_t index, uint64_t first,
                       struct consensus_update *u, struct err *e)
{
    struct raft_event event = {.time = now_ms, .type = RAFT_SNAPSHOT};
    event.snapshot.metadata.index = index;
    event.snapshot.metadata.configuration_index = c->raft.configuration_committed_index;
    event.snapshot.trailing = first > index ? 0 : (unsigned)(index - first + 1);
    int rc = consensus_copy_members(&c->raft.configuration_committed,
                                    &event.snapshot.metadata.configuration);
    if (rc != 0)
        return consensus_failed(c, rc, e);
    return consensus_step(c, &event, u, e);
}

int consensus_apply_members(struct consensus *c, uint64_t now_ms, uint64_t index, const void *p,
                            size_t n, struct consensus_update *u, struct err *e)
{
    struct raft_event event = {.time = now_ms, .type = RAFT_CONFIGURATION};
    event.configuration.index = index;
    int rc = consensus_decode_members(p, n, &event.configuration.conf, e);
    return rc < 0 ? rc : consensus_step(c, &event, u, e);
}

int consensus_committed_members(const struct consensus *c, struct buf *out, uint64_t *index)
{
    struct raft_buffer b;
    if (raft_configuration_encode(&c->raft.configuration_committed, &b) != 0)
        return ERR_NOMEM;
    buf_add(out, b.base, b.len);
    raft_free(b.base);
    *index = c->raft.configuration_committed_index;
    return buf_failed(out) ? ERR_NOMEM : 0;
}
