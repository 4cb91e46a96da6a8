-- What totals, positions and rules are answered from, so that no answer costs more with every job that
-- ever was or that waits. Triggers keep the numbers, whatever the statement is that changes a row; the
-- check of the file counts the rows again and compares.

-- How many jobs there are of each kind, of everybody and of each user. A user without jobs has no rows.
CREATE TABLE job_counts (
    status   TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL,
    jobs     INTEGER,
    PRIMARY KEY (status, provider, job_type)
) STRICT, WITHOUT ROWID;
CREATE TABLE user_job_counts (
    user_id  TEXT NOT NULL,
    status   TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL,
    jobs     INTEGER,
    PRIMARY KEY (user_id, status, provider, job_type)
) STRICT, WITHOUT ROWID;
-- How many jobs each user ever submitted, also of those that are no longer here.
CREATE TABLE user_submissions (
    user_id TEXT PRIMARY KEY NOT NULL,
    jobs    INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO job_counts (status, provider, job_type, jobs)
    SELECT status, provider, job_type, COUNT(*) FROM jobs GROUP BY status, provider, job_type;
INSERT INTO user_job_counts (user_id, status, provider, job_type, jobs)
    SELECT user_id, status, provider, job_type, COUNT(*) FROM jobs
    GROUP BY user_id, status, provider, job_type;
INSERT INTO user_submissions (user_id, jobs) SELECT user_id, COUNT(*) FROM jobs GROUP BY user_id;

CREATE TRIGGER job_added AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts (status, provider, job_type, jobs)
        VALUES (new.status, new.provider, new.job_type, 1)
        ON CONFLICT (status, provider, job_type) DO UPDATE SET jobs = jobs + 1;
    INSERT INTO user_job_counts (user_id, status, provider, job_type, jobs)
        VALUES (new.user_id, new.status, new.provider, new.job_type, 1)
        ON CONFLICT (user_id, status, provider, job_type) DO UPDATE SET jobs = jobs + 1;
    INSERT INTO user_submissions (user_id, jobs) VALUES (new.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET jobs = jobs + 1;
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
CREATE TRIGGER job_gone AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET jobs = jobs - 1
        WHERE status = old.status AND provider = old.provider AND job_type = old.job_type;
    UPDATE user_job_counts SET jobs = jobs - 1 WHERE user_id = old.user_id
        AND status = old.status AND provider = old.provider AND job_type = old.job_type;
    DELETE FROM user_job_counts WHERE user_id = old.user_id AND jobs = 0;
END;

CREATE TABLE approval_counts (
    status   TEXT PRIMARY KEY NOT NULL,
    requests INTEGER
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

-- How many entries have each status. Limits never use this: they count rows.
CREATE TABLE queue_counts (
    status  TEXT PRIMARY KEY NOT NULL,
    entries INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO queue_counts (status, entries)
    SELECT status, COUNT(*) FROM queue_entries GROUP BY status;

CREATE TRIGGER queue_entry_added AFTER INSERT ON queue_entries BEGIN
    INSERT INTO queue_counts (status, entries) VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_entry_moved AFTER UPDATE OF status ON queue_entries
    WHEN old.status <> new.status BEGIN
    UPDATE queue_counts SET entries = entries - 1 WHERE status = old.status;
    INSERT INTO queue_counts (status, entries) VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_entry_gone AFTER DELETE ON queue_entries BEGIN
    UPDATE queue_counts SET entries = entries - 1 WHERE status = old.status;
END;

-- How many entries each user has in the queue. A user without any has no row.
CREATE TABLE queue_users (
    user_id TEXT PRIMARY KEY NOT NULL,
    entries INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO queue_users (user_id, entries)
    SELECT user_id, COUNT(*) FROM queue_entries WHERE alive GROUP BY user_id;

CREATE TRIGGER queue_user_added AFTER INSERT ON queue_entries WHEN new.alive BEGIN
    INSERT INTO queue_users (user_id, entries) VALUES (new.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_user_moved AFTER UPDATE OF status, user_id ON queue_entries
    WHEN old.user_id <> new.user_id OR old.alive <> new.alive BEGIN
    UPDATE queue_users SET entries = entries - 1 WHERE user_id = old.user_id AND old.alive;
    DELETE FROM queue_users WHERE user_id = old.user_id AND entries = 0;
    INSERT INTO queue_users (user_id, entries) SELECT new.user_id, 1 WHERE new.alive
        ON CONFLICT (user_id) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_user_gone AFTER DELETE ON queue_entries WHEN old.alive BEGIN
    UPDATE queue_users SET entries = entries - 1 WHERE user_id = old.user_id;
    DELETE FROM queue_users WHERE user_id = old.user_id AND entries = 0;
END;

-- How many entries may be claimed now, by order key: by its milliseconds shifted by 8 bits, about a
-- quarter of a second, and by 17 bits, about two minutes. The position of an entry is two sums of few
-- rows and a count within its quarter of a second.
CREATE TABLE queue_depth (
    shift   INTEGER NOT NULL,
    bucket  INTEGER NOT NULL,
    waiting INTEGER,
    PRIMARY KEY (shift, bucket)
) STRICT, WITHOUT ROWID;

INSERT INTO queue_depth (shift, bucket, waiting)
    SELECT shift, deadline >> shift, COUNT(*) FROM queue_entries,
        (SELECT 8 AS shift UNION ALL SELECT 17)
    WHERE claimable GROUP BY 1, 2;

CREATE TRIGGER queue_depth_added AFTER INSERT ON queue_entries WHEN new.claimable BEGIN
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (8, new.deadline >> 8, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (17, new.deadline >> 17, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_depth_left AFTER UPDATE OF status, not_before, held, deadline
    ON queue_entries
    WHEN old.claimable AND (NOT new.claimable OR new.deadline <> old.deadline) BEGIN
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 8 AND bucket = old.deadline >> 8;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 17 AND bucket = old.deadline >> 17;
    DELETE FROM queue_depth WHERE shift = 8 AND bucket = old.deadline >> 8 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 17 AND bucket = old.deadline >> 17 AND waiting = 0;
END;
CREATE TRIGGER queue_depth_joined AFTER UPDATE OF status, not_before, held, deadline
    ON queue_entries
    WHEN new.claimable AND (NOT old.claimable OR new.deadline <> old.deadline) BEGIN
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (8, new.deadline >> 8, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (17, new.deadline >> 17, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_depth_gone AFTER DELETE ON queue_entries WHEN old.claimable BEGIN
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 8 AND bucket = old.deadline >> 8;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 17 AND bucket = old.deadline >> 17;
    DELETE FROM queue_depth WHERE shift = 8 AND bucket = old.deadline >> 8 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 17 AND bucket = old.deadline >> 17 AND waiting = 0;
END;
