-- What the ledger knows of this copy: the entry whose state it is, its term and time, the state hash
-- after it, and the last hash kept for comparison. One row, written in the transaction of every
-- entry that changes rows; those that change none are caught up with within a second. "local_" keeps
-- it out of the state hash.
CREATE TABLE local_meta(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    term INTEGER NOT NULL,
    at INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    kept_seq INTEGER NOT NULL,
    kept_hash INTEGER NOT NULL
);
INSERT INTO local_meta VALUES(1, 0, 0, 0, 0, 0, 0);

-- Units that carry an id, remembered so that a repeat gives the first answer. n is entry * 1024 +
-- position in the entry: rows are added at one end and removed at the other.
CREATE TABLE ledger_repeats(
    n INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    code INTEGER NOT NULL,
    failed_op INTEGER NOT NULL,
    results BLOB
);
CREATE UNIQUE INDEX ledger_repeats_id ON ledger_repeats(id);
