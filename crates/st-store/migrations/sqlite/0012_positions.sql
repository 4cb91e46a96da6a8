-- How many entries may be claimed now is kept by parts of 32 ms and of two seconds too: with parts of a
-- quarter of a second, a position was counted within thousands of entries after a burst of submissions.
DROP TRIGGER queue_depth_added;
DROP TRIGGER queue_depth_left;
DROP TRIGGER queue_depth_joined;
DROP TRIGGER queue_depth_gone;

DELETE FROM queue_depth;
INSERT INTO queue_depth (shift, bucket, waiting)
    SELECT shift, deadline >> shift, COUNT(*) FROM queue_entries,
        (SELECT 5 AS shift UNION ALL SELECT 11 UNION ALL SELECT 17)
    WHERE claimable GROUP BY 1, 2;

CREATE TRIGGER queue_position_added AFTER INSERT ON queue_entries WHEN new.claimable BEGIN
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (5, new.deadline >> 5, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (11, new.deadline >> 11, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (17, new.deadline >> 17, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_position_left AFTER UPDATE OF status, not_before, held, deadline
    ON queue_entries
    WHEN old.claimable AND (NOT new.claimable OR new.deadline <> old.deadline) BEGIN
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 5 AND bucket = old.deadline >> 5;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 11 AND bucket = old.deadline >> 11;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 17 AND bucket = old.deadline >> 17;
    DELETE FROM queue_depth WHERE shift = 5 AND bucket = old.deadline >> 5 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 11 AND bucket = old.deadline >> 11 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 17 AND bucket = old.deadline >> 17 AND waiting = 0;
END;
CREATE TRIGGER queue_position_joined AFTER UPDATE OF status, not_before, held, deadline
    ON queue_entries
    WHEN new.claimable AND (NOT old.claimable OR new.deadline <> old.deadline) BEGIN
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (5, new.deadline >> 5, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (11, new.deadline >> 11, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
    INSERT INTO queue_depth (shift, bucket, waiting) VALUES (17, new.deadline >> 17, 1)
        ON CONFLICT (shift, bucket) DO UPDATE SET waiting = waiting + 1;
END;
CREATE TRIGGER queue_position_gone AFTER DELETE ON queue_entries WHEN old.claimable BEGIN
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 5 AND bucket = old.deadline >> 5;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 11 AND bucket = old.deadline >> 11;
    UPDATE queue_depth SET waiting = waiting - 1 WHERE shift = 17 AND bucket = old.deadline >> 17;
    DELETE FROM queue_depth WHERE shift = 5 AND bucket = old.deadline >> 5 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 11 AND bucket = old.deadline >> 11 AND waiting = 0;
    DELETE FROM queue_depth WHERE shift = 17 AND bucket = old.deadline >> 17 AND waiting = 0;
END;

-- The waits of the latest claims are read with each job that waits.
DROP INDEX queue_claims;
CREATE INDEX queue_latest_claims ON queue_entries (started_at, queued_at) WHERE started_at IS NOT NULL;
