-- What is built behind a definition that is in force already. Page: schema/entity-operations.md

-- One row for each entity whose indexes or search are not complete yet.
CREATE TABLE entity_builds(
    entity TEXT PRIMARY KEY,
    gen INTEGER NOT NULL,       -- rows are copied into table "entity_<name>.<gen>"; 0: none are
    search INTEGER NOT NULL,    -- 1: the words of records are being gathered
    rid INTEGER NOT NULL,       -- done up to this row
    scanned INTEGER NOT NULL,   -- 1: every row was seen
    retry INTEGER NOT NULL      -- violating rows behind this one are tried next
);
-- Rows that a unique index of a copy does not take: another one has their value.
CREATE TABLE entity_violations(
    gen INTEGER NOT NULL,
    rid INTEGER NOT NULL,
    ix TEXT NOT NULL            -- which index, without the name of the entity
);
CREATE UNIQUE INDEX entity_violations_row ON entity_violations(gen, rid);
-- Tables of no more use, "entity_<name>.<gen>": emptied a little at a time, then dropped.
CREATE TABLE entity_leftovers(
    gen INTEGER PRIMARY KEY,
    entity TEXT NOT NULL
);
-- The last gen that was given; no row: none was. (A row that a migration brings is not in the state hash.)
CREATE TABLE entity_gens(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
);
