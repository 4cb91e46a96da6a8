-- When a confirmed clock last wrote an event; NULL while none has. At a start the clock is compared
-- with this, because a wrong one may have written the events since. Of what is here already, the
-- newest event is taken for one that was right.
ALTER TABLE life ADD COLUMN confirmed_at INTEGER;
UPDATE life SET confirmed_at = (SELECT at FROM events ORDER BY event_id DESC LIMIT 1);

-- Strays that ended lately: the provider deletes their input, but they are not what a lost submission
-- became.
CREATE TABLE ended_strays (
    provider        TEXT NOT NULL,
    provider_job_id TEXT NOT NULL,
    ended_at        INTEGER NOT NULL,
    PRIMARY KEY (provider, provider_job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_strays_oldest ON ended_strays (ended_at, provider, provider_job_id);

-- A late search for attempt 0 is one for every attempt that a lost life of the database may have made
-- of the job; its claimed_at is when the job was queued. provider_ended_at is when the attempt ended by
-- the provider's time; NULL where that is not known.
ALTER TABLE rechecks ADD COLUMN provider_ended_at INTEGER;
