-- A job that a person deleted leaves one event, which belongs to no row of jobs: the columns are NULL in
-- every other event.
ALTER TABLE events ADD COLUMN deleted_job TEXT;
ALTER TABLE events ADD COLUMN deleted_owner TEXT;

-- Jobs that were deleted, while what is kept of them outside of the database is not removed yet.
CREATE TABLE deleted_jobs (
    job_id   TEXT PRIMARY KEY NOT NULL,
    provider TEXT NOT NULL
) STRICT, WITHOUT ROWID;
