-- What stage functions had from outside, kept with the arrival, so that going on with it does not ask again.
-- Page: schema/canon.md
CREATE TABLE canon_memo (
    arrival TEXT NOT NULL PRIMARY KEY,
    memo TEXT NOT NULL          -- JSON object: name -> {"value": ...}
) WITHOUT ROWID;
