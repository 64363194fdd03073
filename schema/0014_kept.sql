-- What definitions took away, for a while. Page: schema/entity-operations.md

-- Fields that an entity no longer has. Their values lie in kept_values, under the same gen.
CREATE TABLE kept_fields(
    gen INTEGER PRIMARY KEY,        -- given by entity_gens
    entity TEXT NOT NULL,
    field TEXT NOT NULL,
    decl TEXT NOT NULL,             -- how it was declared, JSON
    made INTEGER NOT NULL,          -- 0; else the gen of the migration that is about to take it away
    back INTEGER NOT NULL,          -- 0; else the gen of the migration that brings it back, or has; -1: given up
    removed_at INTEGER NOT NULL,
    until INTEGER NOT NULL,
    purge_at INTEGER NOT NULL,      -- when entity.sweep begins with it: `until`, or another time by `made` and `back`
    step INTEGER NOT NULL,          -- of the purge: 0 values, 1 entity_removed, 2 entity_history
    rid INTEGER NOT NULL            -- of that table, done up to here
);
CREATE INDEX kept_purge ON kept_fields(purge_at, gen);
CREATE TABLE kept_values(
    gen INTEGER NOT NULL,
    rid INTEGER NOT NULL,           -- of the record
    value TEXT NOT NULL             -- JSON
);
CREATE UNIQUE INDEX kept_value ON kept_values(gen, rid);
-- Entities that are declared no longer. Their tables stay as they are until purge_at.
CREATE TABLE kept_entities(
    entity TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    json TEXT NOT NULL,
    removed_at INTEGER NOT NULL,
    purge_at INTEGER NOT NULL,
    words INTEGER NOT NULL          -- 1: those for search were not all gathered
);
-- Changes up to this log position may speak of fields that are gone.
CREATE TABLE kept_marks(
    entity TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
);
-- Milliseconds that what it takes away is kept; -1: nothing is kept and nothing announced (version 1).
ALTER TABLE entity_migrations ADD COLUMN keep INTEGER NOT NULL DEFAULT -1;
-- 0: what became of each of its rows is to be announced.
ALTER TABLE entity_leftovers ADD COLUMN told INTEGER NOT NULL DEFAULT 1;
