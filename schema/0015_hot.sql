-- Domains whose state is in memory: where a start begins with each. Up to entry `seq`, of ledger time
-- `at`, its state is in the file state/DOMAIN-SEQ; or, where saved is 0, there was nothing yet.
CREATE TABLE local_hot(
    domain TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    saved INTEGER NOT NULL
);
-- Units behind the lowest of these positions that held operations on such a state and were not
-- applied: refused, or a repeat. The log alone does not tell. In the order of the log, which they
-- leave from its front.
CREATE TABLE local_hot_skips(
    seq INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    PRIMARY KEY (seq, unit)
) WITHOUT ROWID;
