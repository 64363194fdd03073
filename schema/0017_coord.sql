-- Who holds what, small values, and what is taken once (src/coord). Page: schema/coord-operations.md
--
-- coord_locks: one row per name that somebody holds or waits for; form 1 lease, 2 semaphore, 3 read-write lock.
CREATE TABLE coord_locks(
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    form INTEGER NOT NULL,
    n INTEGER NOT NULL,
    held INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    exclusive INTEGER NOT NULL,
    PRIMARY KEY(tenant, name)
);
-- Holders (token is the log index of the grant) and waiters (token 0) in the order in which they asked. `expires` is
-- when a holder lapses, until when a waiter waits.
CREATE TABLE coord_claims(
    place INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    claim TEXT NOT NULL,
    exclusive INTEGER NOT NULL,
    owner TEXT NOT NULL,
    meta TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    token INTEGER NOT NULL,
    since INTEGER NOT NULL,
    expires INTEGER NOT NULL
);
CREATE UNIQUE INDEX coord_claims_claim ON coord_claims(tenant, claim);
CREATE INDEX coord_claims_name ON coord_claims(tenant, name, token);
CREATE INDEX coord_claims_due ON coord_claims(expires);
CREATE TABLE coord_values(
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER,
    PRIMARY KEY(tenant, key)
);
CREATE INDEX coord_values_due ON coord_values(expires, tenant, key) WHERE expires IS NOT NULL;
CREATE TABLE coord_counters(
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY(tenant, name)
);
-- A bucket with `level` / `per` tokens at `at`; `full` is when it is full again, and as good as not there.
CREATE TABLE coord_limits(
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    rate INTEGER NOT NULL,
    per INTEGER NOT NULL,
    burst INTEGER NOT NULL,
    level INTEGER NOT NULL,
    at INTEGER NOT NULL,
    full INTEGER NOT NULL,
    PRIMARY KEY(tenant, name)
);
CREATE INDEX coord_limits_due ON coord_limits(full, tenant, name);
-- Begun (processed 0: `expires` ends the lease) or processed (1: `expires` ends what is remembered).
CREATE TABLE coord_inbox(
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    processed INTEGER NOT NULL,
    lease TEXT NOT NULL,
    owner TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY(tenant, key)
);
CREATE INDEX coord_inbox_due ON coord_inbox(expires, tenant, key);
-- What a tenant uses of what is limited: 1 claims, 2 keys, 3 bytes of them, 4 counters, 5 buckets, 6 inbox keys; 7 is
-- the last version that a key was given.
CREATE TABLE coord_use(
    tenant TEXT NOT NULL,
    what INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY(tenant, what)
);
