-- Since when it is unknown what became of the submission of a claim; NULL while it is not in doubt.
-- A claim that was taken over is in doubt, and began to be so some time after it was made.
ALTER TABLE queue_entries ADD COLUMN unresolved_since INTEGER;
UPDATE queue_entries SET unresolved_since = claimed_at
    WHERE status = 'ready' AND claim_origin IN ('reclaimed', 'restored');

CREATE INDEX queue_unresolved ON queue_entries (provider)
    WHERE status = 'ready' AND unresolved_since IS NOT NULL AND held IS NULL;

-- Which providers have a job that is not over: one seek for each.
CREATE INDEX queue_providers ON queue_entries (provider)
    WHERE status IN ('blocked', 'pending', 'ready', 'running');
