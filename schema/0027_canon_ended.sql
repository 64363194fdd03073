-- Arrivals that were parked and are no more, resumed (5) or rejected (6): whoever erases a source finds
-- their records.
-- Page: schema/canon.md
CREATE INDEX canon_arrival_ended ON canon_arrival (tenant, model, origin, source_id) WHERE outcome IN (5, 6);
