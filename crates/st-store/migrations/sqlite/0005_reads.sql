-- What lists, totals, positions and rules are answered from, so that no answer costs more with every
-- job that ever was or that waits. Triggers keep the numbers, whatever the statement is that changes a
-- row; the check of the file counts the rows again and compares.

-- How many jobs there are of each kind, of everybody and of each user. A list is merged from the kinds
-- that its filter lets through: in an index that begins with a kind, its jobs are in the list's order.
CREATE TABLE job_counts (
    status   TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL,
    jobs     INTEGER NOT NULL,
    PRIMARY KEY (status, provider, job_type)
) STRICT, WITHOUT ROWID;
CREATE TABLE user_job_counts (
    user_id  TEXT NOT NULL,
    status   TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL,
    jobs     INTEGER NOT NULL,
    PRIMARY KEY (user_id, status, provider, job_type)
) STRICT, WITHOUT ROWID;

INSERT INTO job_counts (status, provider, job_type, jobs)
    SELECT status, provider, job_type, COUNT(*) FROM jobs GROUP BY status, provider, job_type;
INSERT INTO user_job_counts (user_id, status, provider, job_type, jobs)
    SELECT user_id, status, provider, job_type, COUNT(*) FROM jobs
    GROUP BY user_id, status, provider, job_type;

CREATE INDEX jobs_listed ON jobs (status, provider, job_type, job_id);
CREATE INDEX jobs_listed_of_user ON jobs (user_id, status, provider, job_type, job_id);

CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts (status, provider, job_type, jobs)
        VALUES (new.status, new.provider, new.job_type, 1)
        ON CONFLICT (status, provider, job_type) DO UPDATE SET jobs = jobs + 1;
    INSERT INTO user_job_counts (user_id, status, provider, job_type, jobs)
        VALUES (new.user_id, new.status, new.provider, new.job_type, 1)
        ON CONFLICT (user_id, status, provider, job_type) DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER job_moved AFTER UPDATE OF user_id, status, provider, job_type ON jobs
    WHEN old.status <> new.status OR old.provider <> new.provider OR old.job_type <> new.job_type
    OR old.user_id <> new.user_id BEGIN
    UPDATE job_counts SET jobs = jobs - 1
        WHERE status = old.status AND provider = old.provider AND job_type = old.job_type;
    UPDATE user_job_counts SET jobs = jobs - 1 WHERE user_id = old.user_id
        AND status = old.status AND provider = old.provider AND job_type = old.job_type;
    INSERT INTO job_counts (status, provider, job_type, jobs)
        VALUES (new.status, new.provider, new.job_type, 1)
        ON CONFLICT (status, provider, job_type) DO UPDATE SET jobs = jobs + 1;
    INSERT INTO user_job_counts (user_id, status, provider, job_type, jobs)
        VALUES (new.user_id, new.status, new.provider, new.job_type, 1)
        ON CONFLICT (user_id, status, provider, job_type) DO UPDATE SET jobs = jobs + 1;
END;
-- A user without jobs has no rows.
CREATE TRIGGER job_gone AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET jobs = jobs - 1
        WHERE status = old.status AND provider = old.provider AND job_type = old.job_type;
    UPDATE user_job_counts SET jobs = jobs - 1 WHERE user_id = old.user_id
        AND status = old.status AND provider = old.provider AND job_type = old.job_type;
    DELETE FROM user_job_counts WHERE user_id = old.user_id AND jobs = 0;
END;

-- The queue and the approvals as people list them. The condition holds for every row: only a statement
-- that says it can use the index, so that SQLite takes it for no other one in place of the small index
-- that is there for that.
CREATE INDEX queue_listed ON queue_entries (status, entry_id) WHERE status <> '';
CREATE INDEX approvals_listed ON approvals (status, approval_id) WHERE status <> '';

CREATE TABLE approval_counts (
    status   TEXT PRIMARY KEY NOT NULL,
    requests INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO approval_counts (status, requests)
    SELECT status, COUNT(*) FROM approvals GROUP BY status;

CREATE TRIGGER approval_added AFTER INSERT ON approvals BEGIN
    INSERT INTO approval_counts (status, requests) VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER approval_moved AFTER UPDATE OF status ON approvals
    WHEN old.status <> new.status BEGIN
    UPDATE approval_counts SET requests = requests - 1 WHERE status = old.status;
    INSERT INTO approval_counts (status, requests) VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER approval_gone AFTER DELETE ON approvals BEGIN
    UPDATE approval_counts SET requests = requests - 1 WHERE status = old.status;
END;

-- How many entries each user has in the queue. A user without any has no row.
CREATE TABLE queue_users (
    user_id TEXT PRIMARY KEY NOT NULL,
    entries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO queue_users (user_id, entries)
    SELECT user_id, COUNT(*) FROM queue_entries
    WHERE status IN ('blocked', 'pending', 'ready', 'running') GROUP BY user_id;

CREATE TRIGGER queue_user_added AFTER INSERT ON queue_entries
    WHEN new.status IN ('blocked', 'pending', 'ready', 'running') BEGIN
    INSERT INTO queue_users (user_id, entries) VALUES (new.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_user_moved AFTER UPDATE OF status, user_id ON queue_entries
    WHEN old.user_id <> new.user_id
    OR old.status IN ('blocked', 'pending', 'ready', 'running')
    <> (new.status IN ('blocked', 'pending', 'ready', 'running')) BEGIN
    UPDATE queue_users SET entries = entries - 1 WHERE user_id = old.user_id
        AND old.status IN ('blocked', 'pending', 'ready', 'running');
    DELETE FROM queue_users WHERE user_id = old.user_id AND entries = 0;
    INSERT INTO queue_users (user_id, entries) SELECT new.user_id, 1
        WHERE new.status IN ('blocked', 'pending', 'ready', 'running')
        ON CONFLICT (user_id) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_user_gone AFTER DELETE ON queue_entries
    WHEN old.status IN ('blocked', 'pending', 'ready', 'running') BEGIN
    UPDATE queue_users SET entries = entries - 1 WHERE user_id = old.user_id;
    DELETE FROM queue_users WHERE user_id = old.user_id AND entries = 0;
END;

-- How many entries may be claimed now, by order key: by its milliseconds shifted by 8 bits, about a
-- quarter of a second, and by 17 bits, about two minutes. The position of an entry is two sums of few
-- rows and a count within its quarter of a second.
CREATE TABLE queue_depth (
    shift   INTEGER NOT NULL,
    bucket  INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    PRIMARY KEY (shift, bucket)
) STRICT, WITHOUT ROWID;

INSERT INTO queue_depth (shift, bucket, waiting)
    SELECT shift, deadline >> shift, COUNT(*) FROM queue_entries,
        (SELECT 8 AS shift UNION ALL SELECT 17)
    WHERE status = 'pending' AND not_before IS NULL AND held IS NULL GROUP BY 1, 2;

CREATE TRIGGER queue_depth_added AFTER INSERT ON queue_entries
    WHEN new.status = 'pending' AND new.not_before IS NULL AND new.held IS NULL BEGIN
    INSERT INTO queue_depth (shift, bucket, waiting)
        VALUES (8, new.deadline >> 8, 1), (17, new.deadline >> 17, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_depth_left AFTER UPDATE OF status, not_before, held, deadline
    ON queue_entries
    WHEN old.status = 'pending' AND old.not_before IS NULL AND old.held IS NULL
    AND (new.status <> 'pending' OR new.not_before IS NOT NULL OR new.held IS NOT NULL
    OR new.deadline <> old.deadline) BEGIN
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 8 AND bucket = old.deadline >> 8;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 17 AND bucket = old.deadline >> 17;
    DELETE FROM queue_depth WHERE shift = 8 AND bucket = old.deadline >> 8 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 17 AND bucket = old.deadline >> 17 AND waiting = 0;
END;
CREATE TRIGGER queue_depth_joined AFTER UPDATE OF status, not_before, held, deadline
    ON queue_entries
    WHEN new.status = 'pending' AND new.not_before IS NULL AND new.held IS NULL
    AND (old.status <> 'pending' OR old.not_before IS NOT NULL OR old.held IS NOT NULL
    OR new.deadline <> old.deadline) BEGIN
    INSERT INTO queue_depth (shift, bucket, waiting)
        VALUES (8, new.deadline >> 8, 1), (17, new.deadline >> 17, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_depth_gone AFTER DELETE ON queue_entries
    WHEN old.status = 'pending' AND old.not_before IS NULL AND old.held IS NULL BEGIN
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 8 AND bucket = old.deadline >> 8;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 17 AND bucket = old.deadline >> 17;
    DELETE FROM queue_depth WHERE shift = 8 AND bucket = old.deadline >> 8 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 17 AND bucket = old.deadline >> 17 AND waiting = 0;
END;

-- How many jobs each user ever submitted, also of those that are no longer here.
CREATE TABLE user_submissions (
    user_id TEXT PRIMARY KEY NOT NULL,
    jobs    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO user_submissions (user_id, jobs) SELECT user_id, COUNT(*) FROM jobs GROUP BY user_id;

CREATE TRIGGER job_submitted AFTER INSERT ON jobs BEGIN
    INSERT INTO user_submissions (user_id, jobs) VALUES (new.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET jobs = jobs + 1;
END;
