-- Parked arrivals that a person has rejected, outcome 6: who said so, and why.
-- Page: schema/canon.md
CREATE TABLE canon_rejected (
    arrival TEXT NOT NULL PRIMARY KEY,
    said TEXT NOT NULL          -- JSON: {"outcome": "rejected", "reason", "by"}
) WITHOUT ROWID;
