-- What people did with runs and why, the newest 50 of each; verb 1 cancel, 2 retry. Page: schema/job-operations.md
CREATE TABLE job_history(
    run BLOB NOT NULL,
    n INTEGER NOT NULL,
    at INTEGER NOT NULL,
    verb INTEGER NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY(run, n)
);
