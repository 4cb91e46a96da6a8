-- Times are milliseconds since 1970 UTC. Enums are text; the words are those of st_store::model.
-- What is over leaves every index that a claim, a poll or an expiry looks at.

CREATE TABLE jobs (
    job_id          TEXT PRIMARY KEY NOT NULL,
    job_type        TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    provider        TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN
        ('pending', 'uploading', 'queued', 'running', 'completed', 'failed', 'cancelled')),
    config_name     TEXT,
    user_id         TEXT NOT NULL,
    team_id         TEXT,
    org_id          TEXT,
    correlation_id  TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    completed_at    INTEGER,
    cost_usd        REAL,
    hardware_type   TEXT,
    error_message   TEXT,
    output_url      TEXT,
    provider_job_id TEXT,
    metadata        TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One job of a provider belongs to one job of ours.
CREATE UNIQUE INDEX jobs_provider_job ON jobs (provider_job_id, provider)
    WHERE provider_job_id IS NOT NULL;
CREATE INDEX jobs_of_user ON jobs (user_id, created_at);

CREATE TABLE job_inputs (
    job_id TEXT PRIMARY KEY NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    input  TEXT NOT NULL
) STRICT;

CREATE TABLE queue_entries (
    entry_id            INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id              TEXT NOT NULL UNIQUE REFERENCES jobs (job_id) ON DELETE CASCADE,
    -- Copies of the job's own, which never change; '' is no team or no organization. The claim
    -- walks from group to group in an index that starts with them.
    user_id             TEXT NOT NULL,
    team_id             TEXT NOT NULL,
    org_id              TEXT NOT NULL,
    job_type            TEXT NOT NULL,
    provider            TEXT NOT NULL,
    status              TEXT NOT NULL CHECK (status IN
        ('blocked', 'pending', 'ready', 'running', 'completed', 'failed', 'cancelled')),
    priority            INTEGER NOT NULL,
    priority_override   INTEGER,
    -- queued_at + offset(priority): the order key, written once.
    deadline            INTEGER NOT NULL,
    queued_at           INTEGER NOT NULL,
    started_at          INTEGER,
    completed_at        INTEGER,
    estimated_cost      REAL NOT NULL,
    attempt             INTEGER NOT NULL,
    max_attempts        INTEGER NOT NULL,
    error_message       TEXT,
    token               INTEGER NOT NULL,
    lease_until         INTEGER,
    lease_since         INTEGER,
    resubmit_after      INTEGER,
    not_before          INTEGER,
    cancel_requested_at INTEGER
) STRICT;

CREATE INDEX queue_claimable
    ON queue_entries (user_id, team_id, org_id, job_type, deadline, entry_id, queued_at)
    WHERE status = 'pending' AND not_before IS NULL;
CREATE INDEX queue_delayed ON queue_entries (not_before)
    WHERE status = 'pending' AND not_before IS NOT NULL;
CREATE INDEX queue_order ON queue_entries (deadline, entry_id) WHERE status = 'pending';
CREATE INDEX queue_in_slots ON queue_entries (user_id, team_id, org_id, job_type)
    WHERE status IN ('ready', 'running');
CREATE INDEX queue_leases ON queue_entries (lease_until, entry_id) WHERE status = 'ready';
CREATE INDEX queue_at_provider ON queue_entries (provider, job_id) WHERE status = 'running';
CREATE INDEX queue_alive ON queue_entries (user_id, entry_id)
    WHERE status IN ('blocked', 'pending', 'ready', 'running');
CREATE INDEX queue_claims ON queue_entries (started_at, entry_id) WHERE started_at IS NOT NULL;

-- How many entries have each status, so that counting does not cost more with every job that ever
-- was. Limits never look here: they count rows.
CREATE TABLE queue_counts (
    status  TEXT PRIMARY KEY NOT NULL,
    entries INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER queue_entry_added AFTER INSERT ON queue_entries BEGIN
    INSERT INTO queue_counts (status, entries) VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_entry_moved AFTER UPDATE OF status ON queue_entries
    WHEN old.status <> new.status BEGIN
    UPDATE queue_counts SET entries = entries - 1 WHERE status = old.status;
    INSERT INTO queue_counts (status, entries) VALUES (new.status, 1)
        ON CONFLICT (status) DO UPDATE SET entries = entries + 1;
END;
CREATE TRIGGER queue_entry_gone AFTER DELETE ON queue_entries BEGIN
    UPDATE queue_counts SET entries = entries - 1 WHERE status = old.status;
END;

CREATE TABLE approval_rules (
    rule_id                 INTEGER PRIMARY KEY AUTOINCREMENT,
    name                    TEXT NOT NULL,
    description             TEXT NOT NULL,
    condition               TEXT NOT NULL,
    threshold               TEXT NOT NULL,
    is_active               INTEGER NOT NULL CHECK (is_active IN (0, 1)),
    priority                INTEGER NOT NULL,
    applies_to_provider     TEXT,
    applies_to_level        TEXT,
    exempt_levels           TEXT NOT NULL,
    required_approver_level TEXT NOT NULL,
    created_by              TEXT NOT NULL,
    created_at              INTEGER NOT NULL
) STRICT;

CREATE TABLE approvals (
    approval_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id        TEXT NOT NULL UNIQUE REFERENCES jobs (job_id) ON DELETE CASCADE,
    rule_id       INTEGER NOT NULL REFERENCES approval_rules (rule_id),
    status        TEXT NOT NULL CHECK (status IN
        ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    reason        TEXT NOT NULL,
    required_role TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    reviewed_by   TEXT,
    reviewed_at   INTEGER,
    review_notes  TEXT
) STRICT;

CREATE INDEX approvals_open ON approvals (expires_at, approval_id) WHERE status = 'pending';

CREATE TABLE events (
    event_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id         TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    correlation_id TEXT NOT NULL,
    at             INTEGER NOT NULL,
    source         TEXT NOT NULL,
    subject        TEXT NOT NULL CHECK (subject IN ('job', 'queue', 'approval')),
    from_status    TEXT,
    to_status      TEXT NOT NULL,
    approval_id    INTEGER,
    message        TEXT
) STRICT;

CREATE INDEX events_of_job ON events (job_id, event_id);

CREATE TABLE idempotency_keys (
    user_id    TEXT NOT NULL,
    key        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    job_id     TEXT NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_of_job ON idempotency_keys (job_id);
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

CREATE TABLE settings (
    name       TEXT PRIMARY KEY NOT NULL,
    value      TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
