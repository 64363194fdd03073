-- Parked arrivals that wait for an identity key of a model: a parent that has not come yet.
-- Page: schema/canon.md
CREATE TABLE canon_wait (
    rid INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,        -- whose key is missing
    key TEXT NOT NULL,
    arrival TEXT NOT NULL,      -- the parked one
    waiter TEXT NOT NULL,       -- its model
    tries INTEGER NOT NULL,     -- how often it was taken up and parked again since the key was last given
    due INTEGER NOT NULL        -- 1: the key has an owner, to be taken up
);
CREATE INDEX canon_wait_key ON canon_wait (tenant, model, key);
CREATE INDEX canon_wait_arrival ON canon_wait (arrival);
CREATE INDEX canon_wait_due ON canon_wait (rid) WHERE due = 1;
