-- What is asked for beside lists, and what decides about submissions: whether a rule is in use, and what one
-- user has in the queue.

CREATE INDEX approvals_of_rule ON approvals (rule_id) WHERE rule_id IS NOT NULL;

-- How many entries of each user await approval. A user without any has no row. Those in slots are few
-- and are counted; what is left of queue_users waits.
CREATE TABLE queue_blocked (
    user_id TEXT PRIMARY KEY NOT NULL,
    entries INTEGER
) STRICT, WITHOUT ROWID;

INSERT INTO queue_blocked (user_id, entries)
    SELECT user_id, COUNT(*) FROM queue_entries WHERE status = 'blocked' GROUP BY user_id;

CREATE TRIGGER queue_blocked_added AFTER INSERT ON queue_entries WHEN new.status = 'blocked' BEGIN
    INSERT INTO queue_blocked (user_id, entries) VALUES (new.user_id, 1)
        ON CONFLICT (user_id) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_blocked_left AFTER UPDATE OF status ON queue_entries
    WHEN old.status = 'blocked' AND new.status <> 'blocked' BEGIN
    UPDATE queue_blocked SET entries = entries - 1 WHERE user_id = old.user_id;
    DELETE FROM queue_blocked WHERE user_id = old.user_id AND entries = 0;
END;
CREATE TRIGGER queue_blocked_gone AFTER DELETE ON queue_entries WHEN old.status = 'blocked' BEGIN
    UPDATE queue_blocked SET entries = entries - 1 WHERE user_id = old.user_id;
    DELETE FROM queue_blocked WHERE user_id = old.user_id AND entries = 0;
END;

-- Who submitted the job of a request, and how many requests of each user have each status: one's own
-- requests are listed as everybody's are. A user without requests has no row.
ALTER TABLE approvals ADD COLUMN user_id TEXT;
UPDATE approvals SET user_id = (SELECT user_id FROM jobs j WHERE j.entry_id = approvals.entry_id);
CREATE INDEX approvals_listed_of_user ON approvals (user_id, status) WHERE status <> '';

CREATE TABLE user_approval_counts (
    user_id  TEXT NOT NULL,
    status   TEXT NOT NULL,
    requests INTEGER,
    PRIMARY KEY (user_id, status)
) STRICT, WITHOUT ROWID;

INSERT INTO user_approval_counts (user_id, status, requests)
    SELECT user_id, status, COUNT(*) FROM approvals WHERE user_id IS NOT NULL GROUP BY user_id, status;

CREATE TRIGGER user_approval_added AFTER INSERT ON approvals WHEN new.user_id IS NOT NULL BEGIN
    INSERT INTO user_approval_counts (user_id, status, requests) VALUES (new.user_id, new.status, 1)
        ON CONFLICT (user_id, status) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER user_approval_moved AFTER UPDATE OF status ON approvals
    WHEN old.status <> new.status AND new.user_id IS NOT NULL BEGIN
    UPDATE user_approval_counts SET requests = requests - 1
        WHERE user_id = old.user_id AND status = old.status;
    INSERT INTO user_approval_counts (user_id, status, requests) VALUES (new.user_id, new.status, 1)
        ON CONFLICT (user_id, status) DO UPDATE SET requests = requests + 1;
END;
CREATE TRIGGER user_approval_gone AFTER DELETE ON approvals WHEN old.user_id IS NOT NULL BEGIN
    UPDATE user_approval_counts SET requests = requests - 1
        WHERE user_id = old.user_id AND status = old.status;
    DELETE FROM user_approval_counts WHERE user_id = old.user_id AND requests = 0;
END;

-- A budget may also be of a number of jobs: its amount is that number, and its period means nothing where
-- jobs at once are counted.
ALTER TABLE budgets ADD COLUMN measure TEXT NOT NULL DEFAULT 'cost'
    CHECK (measure IN ('cost', 'concurrent_jobs', 'jobs_per_day'));
-- The number of the latest budget that follows the settings of a provider. They fall from -1, so that
-- those of people keep their own; none is given out again. Without a row none was given out.
CREATE TABLE settings_budget_numbers (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    latest INTEGER NOT NULL
) STRICT;
-- How many jobs are taken of it: those of the day, or those that are not over.
ALTER TABLE budget_periods ADD COLUMN jobs INTEGER NOT NULL DEFAULT 0;

-- How many jobs were submitted on a day (UTC), by whom and for which provider, whether or not they are
-- still here; '' is no team or no organization. A run that follows one by itself, which its metadata
-- number, is no submission. Days that are over are forgotten after a while.
CREATE TABLE daily_submissions (
    day      TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    team_id  TEXT NOT NULL,
    org_id   TEXT NOT NULL,
    provider TEXT NOT NULL,
    jobs     INTEGER NOT NULL,
    PRIMARY KEY (day, user_id, team_id, org_id, provider)
) STRICT, WITHOUT ROWID;

INSERT INTO daily_submissions (day, user_id, team_id, org_id, provider, jobs)
    SELECT date(created_at / 1000, 'unixepoch'), user_id, COALESCE(team_id, ''), COALESCE(org_id, ''),
        provider, COUNT(*)
    FROM jobs WHERE date(created_at / 1000, 'unixepoch') IS NOT NULL
    AND NOT (json_valid(metadata) AND json_extract(metadata, '$.run') IS NOT NULL)
    GROUP BY 1, 2, 3, 4, 5;

-- It was there to count the jobs of a day.
DROP INDEX jobs_of_user;
