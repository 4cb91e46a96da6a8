-- Webhooks: who is sent which events, and how far.
CREATE TABLE webhooks (
    webhook_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name              TEXT NOT NULL,
    url               TEXT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'gone')),
    -- Words with commas between them; NULL for all.
    events            TEXT,
    user_id           TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    last_triggered_at INTEGER,
    -- What messages are signed with.
    secret            BLOB NOT NULL,
    -- The last event that is done with.
    position          INTEGER NOT NULL,
    -- Counts the changes of what is wanted and where, so that what was found out before is not believed.
    revision          INTEGER NOT NULL,
    -- How often which one could not be delivered, since when, and when it is tried again.
    attempts          INTEGER NOT NULL,
    failing_event     INTEGER CHECK ((failing_event IS NULL) = (attempts = 0)),
    failing_since     INTEGER CHECK ((failing_since IS NULL) = (attempts = 0)),
    next_at           INTEGER CHECK ((next_at IS NULL) = (attempts = 0)),
    -- Who delivers, and for how long nobody else does.
    lease_holder      TEXT,
    lease_until       INTEGER CHECK ((lease_until IS NULL) = (lease_holder IS NULL))
) STRICT;

-- The secrets before, with which messages are signed as well until then, the oldest first.
CREATE TABLE webhook_secrets (
    webhook_id INTEGER NOT NULL REFERENCES webhooks (webhook_id) ON DELETE CASCADE,
    number     INTEGER NOT NULL,
    secret     BLOB NOT NULL,
    used_until INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, number)
) STRICT, WITHOUT ROWID;

-- What became of the last messages of each webhook.
CREATE TABLE webhook_deliveries (
    webhook_id      INTEGER NOT NULL REFERENCES webhooks (webhook_id) ON DELETE CASCADE,
    -- Counted for each webhook, so that those beyond the bound are found without counting.
    number          INTEGER NOT NULL,
    -- NULL for a test. The event itself may be gone.
    event_id        INTEGER,
    event           TEXT NOT NULL,
    message_id      TEXT NOT NULL,
    correlation_id  TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (
        status IN ('delivered', 'retrying', 'given_up', 'dropped', 'gone', 'failed')),
    attempts        INTEGER NOT NULL,
    first_at        INTEGER NOT NULL,
    last_at         INTEGER NOT NULL,
    next_at         INTEGER,
    response_status INTEGER,
    took_ms         INTEGER NOT NULL,
    error           TEXT,
    PRIMARY KEY (webhook_id, number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX webhook_deliveries_of_event ON webhook_deliveries (webhook_id, event_id)
    WHERE event_id IS NOT NULL;
CREATE INDEX webhook_deliveries_by_time ON webhook_deliveries (first_at);
