-- Records made for a definition that is not in force yet. Page: schema/entity-operations.md

CREATE TABLE entity_migrations(
    entity TEXT PRIMARY KEY,
    gen INTEGER NOT NULL,           -- they are in table "entity_<name>.<gen>"
    def TEXT NOT NULL,              -- the definition to come
    made_by TEXT NOT NULL,          -- hash of the scripts that make them
    rid INTEGER NOT NULL,           -- made up to this row
    held_until INTEGER NOT NULL     -- writes are refused until then, ledger time
);
-- Rows that were written after that, and are to be made again.
CREATE TABLE entity_redo(
    gen INTEGER NOT NULL,
    rid INTEGER NOT NULL
);
CREATE UNIQUE INDEX entity_redo_row ON entity_redo(gen, rid);
-- Why the last migration of an entity was given up.
CREATE TABLE entity_halts(
    entity TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    list TEXT NOT NULL              -- JSON: [{"id", "error"}]
);
