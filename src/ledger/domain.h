/* Domain - what a module brings so that the ledger can apply its operations.
 *
 * A domain hands in a table of operations. The ledger calls them while it applies an entry, inside
 * one SQLite transaction, on its own thread, in log order, on every node alike. So an apply
 * function is deterministic: it reads its payload, the database and `struct apply`; never a clock,
 * the network, a file, Lua, or state that may differ between nodes. Memory that it keeps as a cache
 * of the database must follow rollbacks: see `undo`.
 *
 * Hot domains. A row in SQLite for everything that lives a second is too slow for some. Such a
 * domain has `hot`: its state is in memory, and only its hot operations (and the time of entries)
 * change it; the log, which has them all, is what it is made of. From time to time the state is
 * saved whole, into a file of its own. A start loads the file of entry P and runs again what the
 * log has behind it up to entry A, the last that the database has applied:
 *
 *     entry(); per unit that was applied and has hot operations: unit(), these; committed()
 *
 * which must come to the same memory as the first time. So a hot operation decides by its payload,
 * by `struct apply` and by the domain's memory alone. It may write to the database, but not when it
 * is run again: `db` is NULL then, what it wrote is there. Conditions are not run again, nor is
 * `close`; which units were not applied (refused, or repeats) the database knows since P. Behind A
 * everything is applied as usual. An entry all of whose operations are of hot domains, and which
 * has written nothing to the database, leaves A where it was: what it did is done again. Neither
 * operations of a hot domain nor any `close` may read local_meta, which then says less than the
 * entry before; all other operations may.
 *
 * `undo` takes back in memory what the unit or the entry did; for an entry it comes after entry(),
 * also where that failed. A state may hold places of bytes in the log instead of the bytes (seq and
 * apply.offset, ledger_read()); the log is kept as long as keep() says. */
#ifndef KOAN_LEDGER_DOMAIN_H
#define KOAN_LEDGER_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct cursor;
struct db;
struct envelope;
struct err;
struct hot_in;
struct hot_out;

/* Where we are while an operation is applied. */
struct apply {
    struct db *db;              /* the writer, inside a transaction; NULL: run again, see above */
    uint64_t seq;               /* log index of the entry */
    uint32_t unit;              /* position of the unit in the entry, from 0 */
    int64_t at;                 /* ledger time of the entry, ms */
    const struct envelope *env; /* of an operation never NULL, nor tenant and principal inside */
    /* Where the payload of this operation lies in that of the entry. With seq it is the place of
     * these bytes in the log, for ever. */
    uint32_t offset;
    /* Not NULL: a domain may take for granted what nearly always holds, if it learns in this entry
     * and before it answers `close` when it did not. Then it sets this and fails with ERR_CANCELED,
     * and the entry is rolled back and applied again at once, with NULL here: nothing may be taken
     * for granted then. The outcome must be the same either way. */
    bool *doubt;
};

/* What an operation leaves behind when it refuses, and whether it may. A unit needs no savepoint
 * (which would copy every page that it touches) when its first operation is at least DOMAIN_ATOMIC
 * and all behind it are DOMAIN_SURE. */
enum domain_safety {
    DOMAIN_PARTIAL = 0, /* may refuse after it has written */
    DOMAIN_ATOMIC = 1,  /* checks everything before its first write */
    DOMAIN_SURE = 2,    /* never refuses once the conditions of its unit hold */
};

struct domain_op {
    uint16_t type;
    uint8_t version_max; /* versions 1..version_max are understood */
    bool is_condition;   /* evaluated before all operations of the unit, may not write */
    enum domain_safety safety;
    const char *name; /* "entity.save" */
    /* 0 and bytes of a result appended to `result`, or the code with which the unit fails. ERR_IO,
     * ERR_NOMEM, ERR_DISK_FULL, ERR_CORRUPT and ERR_CANCELED are not refusals, they speak of this
     * machine: the whole entry is rolled back, and is tried again later or the node stops. */
    int (*apply)(void *domain, const struct apply *a, uint8_t version, struct cursor *payload,
                 struct buf *result, struct err *e);
    bool hot; /* it changes the domain's memory: run again by a start. Not of a condition */
};

/* What a domain brings whose state lives in memory; its name has at most 28 bytes. Only keep(),
 * crowded() and soon() may be NULL. On the ledger's thread. */
struct domain_hot {
    /* An entry begins, whichever it is, before its units: time moves on. Only codes as of `close`.
     */
    int (*entry)(void *self, const struct apply *a, struct err *e);
    /* The whole state, as of the last applied entry, in pieces; and back, into a domain that was
     * opened and has seen nothing. What is not saved is not loaded: it begins empty. While it is
     * saved nothing is applied: a state of 50 MB is a pause of some 50 ms. */
    int (*save)(void *self, struct hot_out *out, struct err *e);
    int (*load)(void *self, struct hot_in *in, struct err *e);
    /* The lowest log index of which bytes are still read, UINT64_MAX: none. The log is kept from
     * there. It may be asked at any time between entries. */
    uint64_t (*keep)(void *self);
    /* The log is larger than it should be, because of what keep() holds before `index`: move that
     * into the database (tables local_*), a bounded part in the `close` of each coming entry, so
     * that keep() rises. Said again as long as it is so. A saved state may be older than what was
     * moved: `opened` comes before load(), and can look. */
    void (*crowded)(void *self, uint64_t index);
    /* A running sum over the state, 0 while there is none: part of the state hash that is kept
     * every LEDGER_HASH_ENTRIES and compared. */
    uint64_t (*hash)(void *self);
    /* An operation of the domain will be applied, behind others of its entry: what it looks at in
     * memory can be on its way to the processor. Twice for each of an entry, the second time
     * `again`, so that what the first brought can be followed. Changes nothing, may be left out. */
    void (*soon)(void *self, uint16_t type, struct cursor payload, bool again);
};
/* Pieces may have any size, and need not be read as they were written. ERR_CORRUPT where there is
 * no more. */
int hot_put(struct hot_out *out, const void *p, size_t n, struct err *e);
int hot_get(struct hot_in *in, void *p, size_t n, struct err *e);

struct domain {
    const char *name;
    void *self;
    const struct domain_hot *hot; /* NULL: all of its state is in the database */
    const struct domain_op *ops;
    size_t ops_count;
    /* After migrations, before the first entry is applied: load caches. May be NULL. */
    int (*opened)(void *self, struct db *db, struct err *e);
    /* The operations of a unit are about to be applied. May be NULL. */
    void (*unit)(void *self, const struct apply *a);
    /* The unit may be undone by itself: what is kept back of those before it is to be written now,
     * and nothing of it kept back. Codes as of `close`. May be NULL. */
    int (*alone)(void *self, const struct apply *a, struct err *e);
    /* All units of the entry are applied; what was gathered meanwhile can be written before it is
     * committed. Only ERR_ codes that speak of this machine. May be NULL. */
    int (*close)(void *self, const struct apply *a, struct err *e);
    /* The current unit (entry_too: the current entry) was rolled back: drop cached state that it
     * may have changed. May be NULL. */
    void (*undo)(void *self, bool entry_too);
    /* The entry is committed: announce. On the ledger's thread; must not block. May be NULL. */
    void (*committed)(void *self, uint64_t seq, int64_t at);
};

#endif
