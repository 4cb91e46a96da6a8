-- How many entries of each group could be claimed: the figures are read all the time, also beside a deep
-- queue. '' is no team or no organization. A group without any has no row.
CREATE TABLE queue_groups (
    user_id  TEXT NOT NULL,
    team_id  TEXT NOT NULL,
    org_id   TEXT NOT NULL,
    job_type TEXT NOT NULL,
    provider TEXT NOT NULL,
    waiting  INTEGER,
    PRIMARY KEY (user_id, team_id, org_id, job_type, provider)
) STRICT, WITHOUT ROWID;

INSERT INTO queue_groups (user_id, team_id, org_id, job_type, provider, waiting)
    SELECT user_id, team_id, org_id, job_type, provider, COUNT(*) FROM queue_entries
    WHERE claimable GROUP BY user_id, team_id, org_id, job_type, provider;

CREATE TRIGGER queue_group_added AFTER INSERT ON queue_entries WHEN new.claimable BEGIN
    INSERT INTO queue_groups (user_id, team_id, org_id, job_type, provider, waiting)
        VALUES (new.user_id, new.team_id, new.org_id, new.job_type, new.provider, 1)
        ON CONFLICT (user_id, team_id, org_id, job_type, provider) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_group_left
    AFTER UPDATE OF status, not_before, held, user_id, team_id, org_id, job_type, provider
    ON queue_entries
    WHEN old.claimable AND (NOT new.claimable
        OR (old.user_id, old.team_id, old.org_id, old.job_type, old.provider)
            <> (new.user_id, new.team_id, new.org_id, new.job_type, new.provider)) BEGIN
    UPDATE queue_groups SET waiting = waiting - 1 WHERE user_id = old.user_id AND team_id = old.team_id
        AND org_id = old.org_id AND job_type = old.job_type AND provider = old.provider;
    DELETE FROM queue_groups WHERE user_id = old.user_id AND team_id = old.team_id
        AND org_id = old.org_id AND job_type = old.job_type AND provider = old.provider
        AND waiting = 0;
END;
CREATE TRIGGER queue_group_joined
    AFTER UPDATE OF status, not_before, held, user_id, team_id, org_id, job_type, provider
    ON queue_entries
    WHEN new.claimable AND (NOT old.claimable
        OR (old.user_id, old.team_id, old.org_id, old.job_type, old.provider)
            <> (new.user_id, new.team_id, new.org_id, new.job_type, new.provider)) BEGIN
    INSERT INTO queue_groups (user_id, team_id, org_id, job_type, provider, waiting)
        VALUES (new.user_id, new.team_id, new.org_id, new.job_type, new.provider, 1)
        ON CONFLICT (user_id, team_id, org_id, job_type, provider) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_group_gone AFTER DELETE ON queue_entries WHEN old.claimable BEGIN
    UPDATE queue_groups SET waiting = waiting - 1 WHERE user_id = old.user_id AND team_id = old.team_id
        AND org_id = old.org_id AND job_type = old.job_type AND provider = old.provider;
    DELETE FROM queue_groups WHERE user_id = old.user_id AND team_id = old.team_id
        AND org_id = old.org_id AND job_type = old.job_type AND provider = old.provider
        AND waiting = 0;
END;
