-- Times are milliseconds since 1970 UTC, durations milliseconds. Enums are text; the words are those
-- of st_store::model. Every index of a task is partial: rows that are over, or set aside, are not in
-- it. `held` is why an entry is set aside: it takes no slot and no task sees it.

CREATE TABLE jobs (
    job_id           TEXT PRIMARY KEY NOT NULL,
    job_type         TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    provider         TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN
        ('pending', 'uploading', 'queued', 'running', 'completed', 'failed', 'cancelled')),
    config_name      TEXT,
    user_id          TEXT NOT NULL,
    team_id          TEXT,
    org_id           TEXT,
    correlation_id   TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    completed_at     INTEGER,
    cost_usd         REAL,
    hardware_type    TEXT,
    error_message    TEXT,
    output_url       TEXT,
    provider_job_id  TEXT,
    provider_account TEXT,
    metadata         TEXT NOT NULL
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
    entry_id              INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id                TEXT NOT NULL UNIQUE REFERENCES jobs (job_id) ON DELETE CASCADE,
    -- Copies of the job's own, which never change; '' is no team or no organization. The claim
    -- walks from group to group in an index that starts with them.
    user_id               TEXT NOT NULL,
    team_id               TEXT NOT NULL,
    org_id                TEXT NOT NULL,
    job_type              TEXT NOT NULL,
    provider              TEXT NOT NULL,
    status                TEXT NOT NULL CHECK (status IN
        ('blocked', 'pending', 'ready', 'running', 'completed', 'failed', 'cancelled')),
    priority              INTEGER NOT NULL,
    priority_override     INTEGER,
    -- waits_since + offset(priority): the order key.
    deadline              INTEGER NOT NULL,
    queued_at             INTEGER NOT NULL,
    run_after             INTEGER,
    waits_since           INTEGER NOT NULL,
    -- The epoch in which it was queued, or reconciled since.
    epoch                 INTEGER NOT NULL,
    started_at            INTEGER,
    completed_at          INTEGER,
    estimated_cost        REAL NOT NULL,
    attempt               INTEGER NOT NULL,
    failed_attempts       INTEGER NOT NULL,
    max_attempts          INTEGER NOT NULL,
    reclaims              INTEGER NOT NULL DEFAULT 0,
    panics                INTEGER NOT NULL DEFAULT 0,
    suspect_since         INTEGER,
    error_message         TEXT,
    token                 INTEGER NOT NULL,
    -- While it is pending: not to be claimed before; a date of the submitter or a pause.
    not_before            INTEGER,
    not_before_kind       TEXT CHECK (not_before_kind IN ('date', 'pause')),
    -- While it is ready: the attempt, and who acts for it until when.
    claimed_at            INTEGER,
    claim_provider_time   INTEGER,
    claim_account         TEXT,
    claim_guarantee       TEXT CHECK (claim_guarantee IN
        ('idempotency_key', 'chosen_name', 'held_submission', 'listed_marker')),
    claim_may_arrive_ms   INTEGER,
    claim_origin          TEXT CHECK (claim_origin IN ('new', 'reclaimed', 'restored')),
    lease_holder          TEXT,
    lease_until           INTEGER,
    cancel_requested_at   INTEGER,
    cancel_actor          TEXT,
    cancel_actor_name     TEXT,
    held                  TEXT CHECK (held IN ('damaged')),
    held_reason           TEXT
) STRICT;

CREATE INDEX queue_claimable
    ON queue_entries (user_id, team_id, org_id, job_type, provider, deadline, entry_id)
    WHERE status = 'pending' AND not_before IS NULL AND held IS NULL;
CREATE INDEX queue_delayed ON queue_entries (not_before)
    WHERE status = 'pending' AND not_before IS NOT NULL AND held IS NULL;
CREATE INDEX queue_order ON queue_entries (deadline, entry_id)
    WHERE status = 'pending' AND not_before IS NULL AND held IS NULL;
CREATE INDEX queue_waiting ON queue_entries (waits_since)
    WHERE status = 'pending' AND not_before IS NULL AND held IS NULL;
CREATE INDEX queue_in_slots ON queue_entries (user_id, team_id, org_id, job_type)
    WHERE status IN ('ready', 'running') AND held IS NULL;
CREATE INDEX queue_leases ON queue_entries (lease_until, entry_id)
    WHERE status = 'ready' AND held IS NULL;
CREATE INDEX queue_at_provider ON queue_entries (provider, job_id)
    WHERE status = 'running' AND held IS NULL;
CREATE INDEX queue_suspects ON queue_entries (provider, suspect_since)
    WHERE suspect_since IS NOT NULL AND held IS NULL;
CREATE INDEX queue_alive ON queue_entries (user_id, entry_id)
    WHERE status IN ('blocked', 'pending', 'ready', 'running');
CREATE INDEX queue_claims ON queue_entries (started_at, entry_id) WHERE started_at IS NOT NULL;
CREATE INDEX queue_held ON queue_entries (entry_id) WHERE held IS NOT NULL;

-- How many entries have each status, so that counting does not cost more with every job that ever
-- was. Limits never use this: they count rows.
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

-- When submissions were last accepted, of two different jobs: whether a failure is the job's own
-- depends on what happens to others.
CREATE TABLE provider_acceptances (
    provider   TEXT PRIMARY KEY NOT NULL,
    latest_job TEXT NOT NULL,
    latest_at  INTEGER NOT NULL,
    other_job  TEXT,
    other_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Provider jobs that carry our markers and belong to no job. They outlive their job.
CREATE TABLE strays (
    provider        TEXT NOT NULL,
    provider_job_id TEXT NOT NULL,
    account         TEXT,
    job_id          TEXT NOT NULL,
    attempt         INTEGER NOT NULL,
    -- NULL where the job is no longer known.
    user_id         TEXT,
    team_id         TEXT,
    org_id          TEXT,
    job_type        TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    found_at        INTEGER NOT NULL,
    cancel_attempts INTEGER NOT NULL,
    next_cancel_at  INTEGER NOT NULL,
    PRIMARY KEY (provider, provider_job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX strays_due ON strays (provider, next_cancel_at, provider_job_id);

-- Attempts that did not arrive, whose marker is looked for a few times more. They outlive their job.
CREATE TABLE rechecks (
    job_id        TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    provider      TEXT NOT NULL,
    account       TEXT,
    claimed_at    INTEGER NOT NULL,
    provider_time INTEGER,
    ended_at      INTEGER NOT NULL,
    done          INTEGER NOT NULL,
    due_at        INTEGER NOT NULL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

CREATE INDEX rechecks_due ON rechecks (provider, due_at, job_id, attempt);

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
    -- What requires it: a rule, or a budget that leaves no room.
    rule_id       INTEGER REFERENCES approval_rules (rule_id),
    budget_id     INTEGER,
    status        TEXT NOT NULL CHECK (status IN
        ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    reason        TEXT NOT NULL,
    required_role TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    ttl_ms        INTEGER NOT NULL,
    reviewed_by   TEXT,
    settled_at    INTEGER,
    review_notes  TEXT,
    CHECK ((rule_id IS NULL) <> (budget_id IS NULL))
) STRICT;

CREATE INDEX approvals_open ON approvals (expires_at, approval_id) WHERE status = 'pending';

CREATE TABLE events (
    event_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    actor          TEXT NOT NULL,
    actor_name     TEXT,
    correlation_id TEXT NOT NULL,
    subject        TEXT NOT NULL CHECK (subject IN
        ('job', 'queue', 'approval', 'provider', 'limits')),
    job_id         TEXT REFERENCES jobs (job_id) ON DELETE CASCADE,
    approval_id    INTEGER,
    provider       TEXT,
    from_status    TEXT,
    to_status      TEXT,
    message        TEXT
) STRICT;

CREATE INDEX events_of_job ON events (job_id, event_id) WHERE job_id IS NOT NULL;

-- Keys outlive their job, so that a repeated submission never runs it again.
CREATE TABLE idempotency_keys (
    user_id    TEXT NOT NULL,
    key        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    job_id     TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);

-- One row, or none while the defaults apply.
CREATE TABLE limits (
    id                       INTEGER PRIMARY KEY CHECK (id = 1),
    max_concurrent           INTEGER NOT NULL,
    user_max_concurrent      INTEGER NOT NULL,
    team_max_concurrent      INTEGER NOT NULL,
    org_max_concurrent       INTEGER NOT NULL,
    local_job_max_concurrent INTEGER NOT NULL,
    fair_share               INTEGER NOT NULL CHECK (fair_share IN (0, 1)),
    changed_at               INTEGER NOT NULL
) STRICT;

CREATE TABLE provider_settings (
    provider   TEXT NOT NULL,
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (provider, name)
) STRICT, WITHOUT ROWID;

-- What the store records about itself.

-- Written when nothing else is, to find out whether the disk still works.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    at INTEGER NOT NULL
) STRICT;

-- Which life of the database this is, and in which file it was begun. A file with another inode or
-- another time of birth is a copy. Each copying of the write-ahead log into the database is counted
-- here first: a database with a lower number than its record is older than the log beside it.
-- clock_shift is by how many milliseconds waits were moved in total because the clock was set, so that
-- a move of which it is unknown whether it was stored is not made twice.
CREATE TABLE life (
    id           INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    epoch        INTEGER NOT NULL,
    file_inode   INTEGER NOT NULL,
    file_born_at INTEGER,
    checkpoints  INTEGER NOT NULL DEFAULT 0,
    clock_shift  INTEGER NOT NULL DEFAULT 0
) STRICT;

-- One row for each later life. No event has an ID between last_event_before and first_event_after:
-- readers that are there saw events that are lost.
CREATE TABLE epochs (
    epoch             INTEGER PRIMARY KEY NOT NULL,
    began_at          INTEGER NOT NULL,
    reason            TEXT NOT NULL,
    last_event_before INTEGER NOT NULL,
    first_event_after INTEGER NOT NULL
) STRICT;
