-- Bytes of operations that living records of the queue still need, moved out of the log when it would
-- have to be kept too long for them: by place (log index * 2^24 + offset in the entry).
CREATE TABLE local_queue_bodies(
    place INTEGER PRIMARY KEY,
    op BLOB NOT NULL
);
-- Everything before log index `below` that is still needed is in there.
CREATE TABLE local_queue_spill(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    below INTEGER NOT NULL
);
