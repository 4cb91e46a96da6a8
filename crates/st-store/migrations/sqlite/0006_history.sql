-- What stays of the jobs that were deleted, by the day (UTC) on which they ended.
CREATE TABLE daily_totals (
    day      TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    status   TEXT NOT NULL CHECK (status IN ('completed', 'failed', 'cancelled')),
    jobs     INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    seconds  INTEGER NOT NULL,
    PRIMARY KEY (day, user_id, provider, job_type, status)
) STRICT, WITHOUT ROWID;

-- The highest ID of an event that was deleted: a reader that has not come so far has missed some.
ALTER TABLE life ADD COLUMN event_floor INTEGER NOT NULL DEFAULT 0;

-- Jobs that are over, the oldest first, and what keeps one of them from being deleted.
CREATE INDEX queue_over ON queue_entries (completed_at, entry_id)
    WHERE status IN ('completed', 'failed', 'cancelled') AND held IS NULL;
CREATE INDEX idempotency_keys_of_job ON idempotency_keys (job_id);
CREATE INDEX strays_of_job ON strays (job_id);
