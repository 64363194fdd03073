-- The changes of each entry, for feeds: as local_changes of another node they differ in how far back
-- they reach, so they do not count for the state hash. Page: schema/entity-operations.md
CREATE TABLE local_changes(
    seq INTEGER PRIMARY KEY,    -- of the entry
    at INTEGER NOT NULL,        -- its ledger time
    total INTEGER NOT NULL,     -- bytes of data up to this one, ever
    data BLOB NOT NULL
);
-- Everything behind `first` is kept.
CREATE TABLE local_feed(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    first INTEGER NOT NULL
);
INSERT INTO local_feed SELECT 1, seq FROM local_meta;
