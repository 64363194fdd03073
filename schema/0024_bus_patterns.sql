-- How many patterns are waited for, of all tenants, is bus_numbers 5: a new one looks for room without counting. Those that nobody
-- waits for any more are found by themselves.
INSERT INTO bus_numbers(what, value) SELECT 5, count(*) FROM bus_patterns;
CREATE INDEX bus_patterns_unused ON bus_patterns(waits) WHERE waits = 0;
