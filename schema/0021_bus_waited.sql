-- The number that a pattern got when it was waited for the first time (src/bus). A message whose route is older is
-- held against those that came since. In bus_numbers, 4 is the last that was given out.
ALTER TABLE bus_patterns ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
CREATE INDEX bus_patterns_since ON bus_patterns(since);
