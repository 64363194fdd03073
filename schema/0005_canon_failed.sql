-- Failed arrivals by age, to be removed; and what of a source has not come through, to know whether anything of it is left.
-- Page: schema/canon.md
CREATE INDEX canon_arrival_failed ON canon_arrival (at) WHERE outcome = 3;
CREATE INDEX canon_arrival_stuck ON canon_arrival (tenant, model, origin, source_id) WHERE outcome IN (2, 3);
