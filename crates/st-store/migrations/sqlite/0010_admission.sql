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
