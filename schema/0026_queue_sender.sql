-- Who sent what was moved out of the log, and what caused it: of its unit's envelope, which stays
-- behind. NULL: moved by a program that did not keep it; or nothing caused it.
ALTER TABLE local_queue_bodies ADD COLUMN sender TEXT;
ALTER TABLE local_queue_bodies ADD COLUMN causation TEXT;
