-- When a confirmed clock last wrote an event; NULL while none has. At a start the clock is compared
-- with this, because a wrong one may have written the events since. Of what is here already, the
-- newest event is taken for one that was right.
ALTER TABLE life ADD COLUMN confirmed_at INTEGER;
UPDATE life SET confirmed_at = (SELECT at FROM events ORDER BY event_id DESC LIMIT 1);
