-- Settings that were set while the cluster runs (koan config set), and what was changed by whom. The last row of
-- setting_changes has the revision of the layer; a value that is null was unset.
-- Page: schema/setting-operations.md
CREATE TABLE settings(
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    principal TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE TABLE setting_changes(
    seq INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT,
    principal TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
);
