-- What entities keep besides their rows. Pages: schema/entity-operations.md

-- Records removed from an entity with soft_remove, until purge_at. One id may be here more than once.
CREATE TABLE entity_removed(
    rid INTEGER PRIMARY KEY,
    entity TEXT NOT NULL,
    tenant TEXT NOT NULL,
    part TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    removed_at INTEGER NOT NULL,
    removed_by TEXT NOT NULL,
    purge_at INTEGER NOT NULL,
    def INTEGER NOT NULL,       -- version of the definition that checked the body
    body TEXT NOT NULL,
    keys TEXT
);
CREATE INDEX entity_removed_id ON entity_removed(entity, tenant, part, id);
CREATE INDEX entity_removed_purge ON entity_removed(purge_at);

-- Versions that were replaced, of entities with history, until purge_at.
CREATE TABLE entity_history(
    rid INTEGER PRIMARY KEY,
    entity TEXT NOT NULL,
    tenant TEXT NOT NULL,
    part TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    replaced_at INTEGER NOT NULL,
    replaced_by TEXT NOT NULL,
    how INTEGER NOT NULL,       -- 0 save, 1 patch, 2 remove, 3 expire, 4 cascade, 5 detach
    why TEXT,                   -- the reason of the envelope
    correlation TEXT,
    fields TEXT NOT NULL,       -- JSON list of the names that differ from the version after it
    purge_at INTEGER NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX entity_history_id ON entity_history(entity, tenant, part, id, version);
CREATE INDEX entity_history_purge ON entity_history(purge_at);
