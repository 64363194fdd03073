-- Requests that came with an Idempotency-Key, kept with what came of them for 24 hours of ledger
-- time: written by the unit that did the work (operation ledger.keep), so a key is there exactly if
-- its effect is. Rows are added at one end and removed at the other. `part` counts the units of one
-- request; `digest` is that of the request, `context` belongs to whoever proposed the unit.
CREATE TABLE ledger_once(
    n INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    part INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    digest BLOB NOT NULL,
    context BLOB,
    results BLOB
);
CREATE UNIQUE INDEX ledger_once_key ON ledger_once(tenant, principal, key, part);
