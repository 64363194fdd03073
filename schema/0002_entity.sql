-- Definitions of entities, as normalised JSON. An entity's rows are in a table of their own,
-- "entity_<name>", which entity.define makes.
CREATE TABLE entity_defs(
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    json TEXT NOT NULL,
    defined_at INTEGER NOT NULL
);
