-- Webhooks that providers sent and that were dealt with, so that one which comes again is recognized. A
-- provider repeats one for minutes, so rows are deleted after some days.
CREATE TABLE received_webhooks (
    provider    TEXT NOT NULL,
    webhook_id  TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (provider, webhook_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX received_webhooks_oldest ON received_webhooks (received_at, provider, webhook_id);
