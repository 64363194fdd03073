-- Sets of scripts that were deployed (koan deploy). The last row of script_deploys is the one in force.
-- Page: schema/script-operations.md
CREATE TABLE script_sets(
    hash TEXT PRIMARY KEY,
    files TEXT NOT NULL
);
CREATE TABLE script_deploys(
    seq INTEGER PRIMARY KEY,
    hash TEXT NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    principal TEXT NOT NULL,
    at INTEGER NOT NULL
);
