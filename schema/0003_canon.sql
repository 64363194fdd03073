-- Canon: models, arrivals, source records, key owners, and what belongs to a golden record besides its entity row.
-- Page: schema/canon.md

-- Every version of a model that was ever current; the one with the greatest seq is. A golden record names the version it was made
-- with, so `why` can always make its footprint again.
CREATE TABLE canon_model (
    name TEXT NOT NULL,
    def INTEGER NOT NULL,       -- hash of the definition
    seq INTEGER NOT NULL,       -- log position at which it became current
    definition TEXT NOT NULL,   -- sorted JSON
    PRIMARY KEY (name, def)
) WITHOUT ROWID;

-- What was sent, for ever, with what came of it.
CREATE TABLE canon_arrival (
    rid INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    origin TEXT NOT NULL,
    source_id TEXT NOT NULL,
    at INTEGER NOT NULL,        -- ledger time, ms
    observed_at INTEGER NOT NULL,
    def INTEGER NOT NULL,
    outcome INTEGER NOT NULL,   -- 0 canonized, 1 noop, 2 parked, 3 failed, 4 withdrawn, 5 resumed
    phase INTEGER NOT NULL,     -- parked, failed: 0 intake, 1 validate, 2 aggregate, 3 project
    reason TEXT,
    evidence TEXT,              -- JSON
    golden TEXT,
    body TEXT,                  -- JSON as sent; NULL after erasure
    work TEXT,                  -- parked behind intake: JSON as intake left it
    tags TEXT,                  -- JSON object
    changes TEXT                -- JSON object: field -> new value
);
CREATE INDEX canon_arrival_golden ON canon_arrival (golden) WHERE golden IS NOT NULL;
CREATE INDEX canon_arrival_parked ON canon_arrival (tenant, model, id) WHERE outcome = 2;

-- What each (origin, source id) says. golden is NULL while all it sent is parked.
CREATE TABLE canon_source (
    rid INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    origin TEXT NOT NULL,
    source_id TEXT NOT NULL,
    rev INTEGER NOT NULL,       -- random, another one with every change
    golden TEXT,
    observed_at INTEGER NOT NULL,
    arrival TEXT NOT NULL,      -- the one that said what it says now
    fields TEXT NOT NULL,       -- JSON: what it says now
    ever TEXT,                  -- JSON: first, least and greatest of what it ever said, once it said more than one thing
    keys TEXT NOT NULL,         -- JSON list: every key value it ever gave
    last_hash INTEGER NOT NULL, -- of the last document stored, to know an exact repeat
    last_def INTEGER NOT NULL,
    UNIQUE (source_id, origin, model, tenant) -- what differs most comes first: comparing keys was a tenth of an arrival
);
CREATE INDEX canon_source_golden ON canon_source (golden) WHERE golden IS NOT NULL;

-- A key value has one owner.
CREATE TABLE canon_key (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    key TEXT NOT NULL,
    golden TEXT NOT NULL,
    PRIMARY KEY (key, model, tenant)
) WITHOUT ROWID;

CREATE TABLE canon_golden (
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    id TEXT NOT NULL,
    rev INTEGER NOT NULL,       -- random, another one with every change of its source records
    def INTEGER NOT NULL,
    lifecycle INTEGER NOT NULL, -- 0 active, 1 superseded, 2 withdrawn
    readiness INTEGER NOT NULL, -- 0 complete, 1 requires_manual_review
    merged_into TEXT,           -- superseded: always the live survivor
    views TEXT,                 -- JSON object
    said INTEGER NOT NULL,      -- hash of what its source records say together, under which model and entity
    PRIMARY KEY (id, model, tenant)
) WITHOUT ROWID;
CREATE INDEX canon_golden_merged ON canon_golden (merged_into) WHERE merged_into IS NOT NULL;
