-- Topics: who listens, what is kept, who waits (src/bus). Page: schema/bus-operations.md
--
-- bus_numbers: the last that was given out: 1 revision of the routes, 2 position of a retained message, 3 of a message
-- that met a wait.
CREATE TABLE bus_numbers(
    what INTEGER PRIMARY KEY,
    value INTEGER NOT NULL
);
CREATE TABLE bus_groups(
    tenant TEXT NOT NULL,
    grp TEXT NOT NULL,
    pattern TEXT NOT NULL,
    source TEXT NOT NULL,
    options TEXT NOT NULL,
    file TEXT NOT NULL,
    line INTEGER NOT NULL,
    PRIMARY KEY(tenant, grp, pattern)
);
-- `unrouted` 0: messages without listeners are kept, 1: dropped.
CREATE TABLE bus_topics(
    tenant TEXT NOT NULL,
    pattern TEXT NOT NULL,
    source TEXT NOT NULL,
    retain INTEGER NOT NULL,
    unrouted INTEGER NOT NULL,
    file TEXT NOT NULL,
    line INTEGER NOT NULL,
    PRIMARY KEY(tenant, pattern)
);
-- Groups with a place among the retained messages: 1 is fed from `next` on, 2 has all of them, 3 is declared no more
-- and had all before `next`.
CREATE TABLE bus_places(
    tenant TEXT NOT NULL,
    grp TEXT NOT NULL,
    state INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY(tenant, grp)
);
CREATE TABLE bus_retained(
    position INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    topic TEXT NOT NULL,
    at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    id BLOB NOT NULL,
    key TEXT,
    type TEXT,
    headers TEXT,
    correlation TEXT,
    traceparent TEXT,
    body BLOB NOT NULL
);
CREATE INDEX bus_retained_due ON bus_retained(until);
-- `met` is the number of the message in bus_met; 0 while none has come.
CREATE TABLE bus_waits(
    place INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    record BLOB NOT NULL,
    name TEXT NOT NULL,
    pattern TEXT NOT NULL,
    key TEXT NOT NULL,
    until INTEGER NOT NULL,
    met INTEGER NOT NULL
);
CREATE UNIQUE INDEX bus_waits_record ON bus_waits(tenant, record, name);
CREATE INDEX bus_waits_open ON bus_waits(tenant, pattern, key) WHERE met = 0;
CREATE INDEX bus_waits_met ON bus_waits(met) WHERE met > 0;
CREATE INDEX bus_waits_due ON bus_waits(until);
CREATE TABLE bus_met(
    number INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    topic TEXT NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    key TEXT,
    type TEXT,
    headers TEXT,
    body BLOB NOT NULL,
    waits INTEGER NOT NULL
);
-- Patterns that are waited for, and by how many; 0: not any more, until the routes change for another reason.
CREATE TABLE bus_patterns(
    tenant TEXT NOT NULL,
    pattern TEXT NOT NULL,
    waits INTEGER NOT NULL,
    PRIMARY KEY(tenant, pattern)
);
-- What a tenant uses of what is limited: 1 bytes of retained messages, 2 waits.
CREATE TABLE bus_use(
    tenant TEXT NOT NULL,
    what INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY(tenant, what)
);
