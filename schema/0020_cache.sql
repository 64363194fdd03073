-- What is kept because it was expensive to find out (src/coord/cache.c). Page: schema/coord-operations.md
--
-- `since` is the log index as of which the value was found out: a flush of one of its tags behind that makes it
-- worthless. `tags` are lines. Fresh until `fresh`, of use until `expires`.
CREATE TABLE coord_cache(
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    since INTEGER NOT NULL,
    fresh INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    tags TEXT NOT NULL,
    PRIMARY KEY(tenant, name)
);
CREATE INDEX coord_cache_due ON coord_cache(expires, tenant, name);
-- The last flush of a tag, kept longer than any value lives.
CREATE TABLE coord_flushes(
    tenant TEXT NOT NULL,
    tag TEXT NOT NULL,
    seq INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY(tenant, tag)
);
CREATE INDEX coord_flushes_due ON coord_flushes(expires, tenant, tag);
