-- Runs of jobs, what is more to them than the queue keeps (src/job/run.h). Page: schema/job-operations.md
--
-- job_runs: state 1 open, 2 completed, 3 discarded, 4 cancelled; kind 0 submitted, 1 tick, 2 trigger, 3 backfill, 4
-- started; flags 1 cancelled, 2 terminated, 4 counted, 8 its chain went on. `print` is the fingerprint of the record;
-- `chain` what follows, as JSON; `args` the body, where the end may need it; `fan` what counts it; `undo` its undo run.
CREATE TABLE job_runs(
    id BLOB PRIMARY KEY,
    print INTEGER NOT NULL,
    tenant TEXT NOT NULL,
    job TEXT NOT NULL,
    schedule TEXT NOT NULL,
    kind INTEGER NOT NULL,
    state INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    chain TEXT NOT NULL,
    correlation TEXT NOT NULL,
    args BLOB,
    window_from INTEGER,
    window_to INTEGER,
    scheduled_at INTEGER,
    fan BLOB,
    undo BLOB,
    steps INTEGER NOT NULL,
    undoable INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    ended INTEGER
);
CREATE INDEX job_runs_open ON job_runs(print) WHERE state = 1;
-- Finished steps in their order; kind 0 done, 1 sleep; undo 0 none, 1 to be undone if need be, 2 undone.
CREATE TABLE job_steps(
    run BLOB NOT NULL,
    ordinal INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    undo INTEGER NOT NULL,
    result TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY(run, ordinal)
);
CREATE UNIQUE INDEX job_steps_name ON job_steps(run, name);
-- Progress in millionths (1000001: nothing said), and the newest of the log; `cut` bytes of it are gone.
CREATE TABLE job_notes(
    run BLOB PRIMARY KEY,
    fraction INTEGER NOT NULL,
    text TEXT NOT NULL,
    log TEXT NOT NULL,
    cut INTEGER NOT NULL,
    at INTEGER NOT NULL
);
-- Counters of fan-outs: so many runs, of which so many have ended; the last one submits `on_done`.
CREATE TABLE job_fans(
    id BLOB PRIMARY KEY,
    tenant TEXT NOT NULL,
    parent BLOB,
    total INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    on_done TEXT NOT NULL,
    args TEXT NOT NULL,
    correlation TEXT NOT NULL,
    opened INTEGER NOT NULL,
    done INTEGER
);
CREATE INDEX job_fans_parent ON job_fans(parent);
