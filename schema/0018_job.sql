-- Jobs: what is declared, and their schedules (src/job). Page: schema/job-operations.md
--
-- `definition` is JSON with sorted keys, or empty: no script declares the job any more. `at`: since when it says this.
CREATE TABLE job_defs(
    name TEXT PRIMARY KEY,
    definition TEXT NOT NULL,
    at INTEGER NOT NULL
);
-- The state of a schedule (src/job/schedule.h) from its first decision on. `spec` is what due times were worked out
-- from, `tick` the number of the last decision.
CREATE TABLE job_schedules(
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    spec TEXT NOT NULL,
    since INTEGER NOT NULL,
    decided INTEGER NOT NULL,
    covered INTEGER NOT NULL,
    window INTEGER NOT NULL,
    ended INTEGER,
    deferred INTEGER,
    running INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    pause_by TEXT NOT NULL,
    pause_reason TEXT NOT NULL,
    paused_at INTEGER NOT NULL,
    tick INTEGER NOT NULL
);
-- Decisions. kind: 1 a due time, 2 triggered, 3 backfilled.
CREATE TABLE job_ticks(
    name TEXT NOT NULL,
    tick INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    reason TEXT NOT NULL,
    due INTEGER NOT NULL,
    window_from INTEGER NOT NULL,
    window_to INTEGER NOT NULL,
    opening INTEGER,
    ticks INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    run BLOB,
    author TEXT NOT NULL,
    PRIMARY KEY(name, tick)
);
CREATE INDEX job_ticks_at ON job_ticks(at);
-- Runs that ticks have made, until the schedule has taken note of their end. outcome: 0 under way, 1 completed,
-- 2 discarded, 3 cancelled.
CREATE TABLE job_schedule_runs(
    run BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    place INTEGER NOT NULL,
    due INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    ended INTEGER
);
CREATE INDEX job_schedule_runs_name ON job_schedule_runs(name, place);
-- Jobs of which the last run that ended has failed: how often in a row, and since when.
CREATE TABLE job_failing(
    name TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    since INTEGER NOT NULL,
    at INTEGER NOT NULL,
    run BLOB NOT NULL
);
