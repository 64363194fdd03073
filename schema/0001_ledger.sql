-- What a ledger knows of itself: applied index and term, its time, the state hash at that point.
-- Written in the transaction of every entry. "local_" keeps it out of the state hash.
CREATE TABLE local_meta(
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
