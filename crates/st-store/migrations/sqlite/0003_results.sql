-- What becomes of what a job printed and made, where its provider deletes that some time after the job's
-- end. All four are NULL for a job whose results stay where they are.
ALTER TABLE jobs ADD COLUMN results TEXT CHECK (
    results = 'due' OR results = 'kept' OR results = 'lost');
-- Until when they can be read at the provider.
ALTER TABLE jobs ADD COLUMN output_expires_at INTEGER;
-- The folder with the outputs, where they were downloaded.
ALTER TABLE jobs ADD COLUMN output_path TEXT;
-- Why some of them were not fetched in time.
ALTER TABLE jobs ADD COLUMN results_lost TEXT;

-- The results that are to be fetched. A row goes when they are kept or lost, so there are no more than
-- jobs that ended lately.
CREATE TABLE results_due (
    entry_id   INTEGER PRIMARY KEY NOT NULL REFERENCES jobs (entry_id) ON DELETE CASCADE,
    provider   TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    -- When the next attempt is made.
    next_at    INTEGER NOT NULL,
    -- How many attempts have failed.
    attempts   INTEGER NOT NULL
) STRICT;

CREATE INDEX results_due_next ON results_due (provider, next_at);
-- What is deleted first is fetched first.
CREATE INDEX results_due_deadline ON results_due (provider, expires_at, entry_id, next_at);
