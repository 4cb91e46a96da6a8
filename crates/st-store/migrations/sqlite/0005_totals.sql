-- The sums over the jobs that are over and still stored, by the day (UTC) on which they ended: figures
-- over days are read without reading jobs. What is deleted moves to daily_totals.
CREATE TABLE stored_totals (
    day      TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    status   TEXT NOT NULL CHECK (
        status = 'completed' OR status = 'failed' OR status = 'cancelled'),
    jobs     INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    seconds  INTEGER NOT NULL,
    PRIMARY KEY (day, user_id, provider, job_type, status)
) STRICT, WITHOUT ROWID;

INSERT INTO stored_totals (day, user_id, provider, job_type, status, jobs, cost_usd, seconds)
SELECT date(q.completed_at / 1000, 'unixepoch'), j.user_id, j.provider, j.job_type, j.status,
       count(*), total(j.cost_usd),
       sum(MAX(0, ifnull((j.completed_at - j.started_at) / 1000, 0)))
FROM jobs j JOIN queue_entries q ON q.entry_id = j.entry_id
WHERE NOT q.alive AND q.completed_at IS NOT NULL
      AND (j.status = 'completed' OR j.status = 'failed' OR j.status = 'cancelled')
GROUP BY 1, 2, 3, 4, 5;
