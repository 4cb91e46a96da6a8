-- Times are milliseconds since 1970 UTC, durations milliseconds. Enums are text; the words are those
-- of st_store::model. `held` is why an entry is set aside: it takes no slot and no task sees it.
--
-- A job is one number in every table and index, its entry_id; its text is in `jobs` alone. What outlives
-- the job has the text, because it is asked for by that.
--
-- What is written with each step of a job avoids what SQLite can do at a price only: a list of more than
-- two words is a table that is made for one statement, and a statement with triggers that may refuse
-- anything must be able to undo itself, for which it copies every page that it writes. So words are
-- compared one by one, such references are checked at the commit, and the numbers that triggers keep
-- may be NULL as far as their tables are concerned.
--
-- Columns that are mostly NULL come last, where they are not stored.
--
-- Each index serves statements that say its condition. A job that is over is in few of them: those of
-- lists, of its events, of its provider job, and of what is deleted next.

CREATE TABLE jobs (
    -- Assigned in the order of submission, and never again.
    entry_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id           TEXT NOT NULL UNIQUE,
    job_type         TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    provider         TEXT NOT NULL,
    status           TEXT NOT NULL CHECK (
        status = 'pending' OR status = 'uploading' OR status = 'queued' OR status = 'running'
        OR status = 'completed' OR status = 'failed' OR status = 'cancelled'),
    user_id          TEXT NOT NULL,
    correlation_id   TEXT NOT NULL,
    created_at       INTEGER NOT NULL,
    metadata         TEXT NOT NULL,
    completed_at     INTEGER,
    started_at       INTEGER,
    provider_job_id  TEXT,
    provider_account TEXT,
    cost_usd         REAL,
    output_url       TEXT,
    config_name      TEXT,
    org_id           TEXT,
    team_id          TEXT,
    hardware_type    TEXT,
    error_message    TEXT
) STRICT;

-- One job of a provider belongs to one job of ours.
CREATE UNIQUE INDEX jobs_provider_job ON jobs (provider_job_id, provider)
    WHERE provider_job_id IS NOT NULL;
CREATE INDEX jobs_of_user ON jobs (user_id, created_at);
-- A list is merged from the kinds that its filter lets through: in an index that begins with a kind, its
-- jobs are in the list's order.
CREATE INDEX jobs_listed ON jobs (status, provider, job_type, job_id);
CREATE INDEX jobs_listed_of_user ON jobs (user_id, status, provider, job_type, job_id);

CREATE TABLE job_inputs (
    entry_id INTEGER PRIMARY KEY REFERENCES jobs (entry_id) ON DELETE CASCADE,
    input    TEXT NOT NULL
) STRICT;

CREATE TABLE queue_entries (
    entry_id              INTEGER PRIMARY KEY REFERENCES jobs (entry_id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED,
    -- Copies of the job's own, which never change; '' is no team or no organization. The claim
    -- walks from group to group in an index that starts with them.
    user_id               TEXT NOT NULL,
    team_id               TEXT NOT NULL,
    org_id                TEXT NOT NULL,
    job_type              TEXT NOT NULL,
    provider              TEXT NOT NULL,
    status                TEXT NOT NULL CHECK (
        status = 'blocked' OR status = 'pending' OR status = 'ready' OR status = 'running'
        OR status = 'completed' OR status = 'failed' OR status = 'cancelled'),
    -- Whether it may be claimed now, as far as the entry itself is concerned.
    claimable             INTEGER AS (status = 'pending' AND not_before IS NULL AND held IS NULL),
    -- Whether it takes a slot. At most as many do as the limits allow.
    in_slot               INTEGER AS (status IN ('ready', 'running') AND held IS NULL),
    -- Whether it is not over.
    alive                 INTEGER AS
        (status <> 'completed' AND status <> 'failed' AND status <> 'cancelled'),
    priority              INTEGER NOT NULL,
    -- waits_since + offset(priority): the order key.
    deadline              INTEGER NOT NULL,
    queued_at             INTEGER NOT NULL,
    waits_since           INTEGER NOT NULL,
    -- The epoch in which it was queued, or reconciled since.
    epoch                 INTEGER NOT NULL,
    estimated_cost        REAL NOT NULL,
    attempt               INTEGER NOT NULL,
    failed_attempts       INTEGER NOT NULL,
    max_attempts          INTEGER NOT NULL,
    reclaims              INTEGER NOT NULL DEFAULT 0,
    panics                INTEGER NOT NULL DEFAULT 0,
    token                 INTEGER NOT NULL,
    started_at            INTEGER,
    completed_at          INTEGER,
    priority_override     INTEGER,
    run_after             INTEGER,
    error_message         TEXT,
    suspect_since         INTEGER,
    -- While it is pending: not to be claimed before; a date of the submitter or a pause.
    not_before            INTEGER,
    not_before_kind       TEXT CHECK (not_before_kind IN ('date', 'pause')),
    -- While it is ready: the attempt, and who acts for it until when.
    claimed_at            INTEGER,
    claim_provider_time   INTEGER,
    claim_account         TEXT,
    claim_guarantee       TEXT CHECK (
        claim_guarantee = 'idempotency_key' OR claim_guarantee = 'chosen_name'
        OR claim_guarantee = 'held_submission' OR claim_guarantee = 'listed_marker'),
    claim_may_arrive_ms   INTEGER,
    claim_origin          TEXT CHECK (
        claim_origin = 'new' OR claim_origin = 'reclaimed' OR claim_origin = 'restored'),
    lease_holder          TEXT,
    lease_until           INTEGER,
    -- Since when it is unknown what became of the submission of a claim; NULL while it is not in doubt.
    unresolved_since      INTEGER,
    cancel_requested_at   INTEGER,
    cancel_actor          TEXT,
    cancel_actor_name     TEXT,
    held                  TEXT CHECK (held IN ('damaged')),
    held_reason           TEXT
) STRICT;

CREATE INDEX queue_claimable ON queue_entries (user_id, team_id, org_id, job_type, provider, deadline)
    WHERE claimable;
CREATE INDEX queue_order ON queue_entries (deadline) WHERE claimable;
CREATE INDEX queue_waiting ON queue_entries (waits_since) WHERE claimable;
CREATE INDEX queue_delayed ON queue_entries (not_before)
    WHERE status = 'pending' AND not_before IS NOT NULL AND held IS NULL;
-- They are few: what is asked of them is found by reading all of it.
CREATE INDEX queue_in_slots ON queue_entries (user_id, team_id, org_id, job_type, provider)
    WHERE in_slot;
CREATE INDEX queue_suspects ON queue_entries (provider, suspect_since)
    WHERE suspect_since IS NOT NULL AND held IS NULL;
CREATE INDEX queue_claims ON queue_entries (started_at) WHERE started_at IS NOT NULL;
CREATE INDEX queue_held ON queue_entries (entry_id) WHERE held IS NOT NULL;
-- Jobs that are over, the oldest first.
CREATE INDEX queue_over ON queue_entries (completed_at)
    WHERE NOT alive AND held IS NULL;
-- The queue as people list it. The condition holds for every row: only a statement that says it can
-- use the index, so that SQLite takes it for no other one in place of the small index that is there
-- for that.
CREATE INDEX queue_listed ON queue_entries (status) WHERE status <> '';

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
CREATE INDEX strays_of_job ON strays (job_id);

-- Strays that ended lately: the provider deletes their input, but they are not what a lost submission
-- became.
CREATE TABLE ended_strays (
    provider        TEXT NOT NULL,
    provider_job_id TEXT NOT NULL,
    ended_at        INTEGER NOT NULL,
    PRIMARY KEY (provider, provider_job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX ended_strays_oldest ON ended_strays (ended_at, provider, provider_job_id);

-- Attempts that did not arrive, whose marker is looked for a few times more. They outlive their job.
-- A search for attempt 0 is one for every attempt that a lost life of the database may have made of the
-- job; its claimed_at is when the job was queued.
CREATE TABLE rechecks (
    job_id            TEXT NOT NULL,
    attempt           INTEGER NOT NULL,
    provider          TEXT NOT NULL,
    account           TEXT,
    claimed_at        INTEGER NOT NULL,
    provider_time     INTEGER,
    ended_at          INTEGER NOT NULL,
    -- By the provider's time; NULL where that is not known.
    provider_ended_at INTEGER,
    done              INTEGER NOT NULL,
    due_at            INTEGER NOT NULL,
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
    entry_id      INTEGER NOT NULL UNIQUE REFERENCES jobs (entry_id) ON DELETE CASCADE,
    -- What requires it: a rule, or a budget that leaves no room.
    rule_id       INTEGER REFERENCES approval_rules (rule_id),
    budget_id     INTEGER,
    status        TEXT NOT NULL CHECK (
        status = 'pending' OR status = 'approved' OR status = 'rejected' OR status = 'expired'
        OR status = 'cancelled'),
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

CREATE INDEX approvals_open ON approvals (expires_at) WHERE status = 'pending';
CREATE INDEX approvals_listed ON approvals (status) WHERE status <> '';

CREATE TABLE events (
    event_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id       INTEGER REFERENCES jobs (entry_id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED,
    at             INTEGER NOT NULL,
    subject        TEXT NOT NULL CHECK (
        subject = 'job' OR subject = 'queue' OR subject = 'approval' OR subject = 'provider'
        OR subject = 'limits'),
    to_status      TEXT,
    from_status    TEXT,
    actor          TEXT NOT NULL,
    actor_name     TEXT,
    message        TEXT,
    -- NULL where it is the job's own.
    correlation_id TEXT,
    approval_id    INTEGER,
    provider       TEXT
) STRICT;

CREATE INDEX events_of_job ON events (entry_id) WHERE entry_id IS NOT NULL;

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
CREATE INDEX idempotency_keys_of_job ON idempotency_keys (job_id);

-- One row, or none while the defaults apply.
CREATE TABLE limits (
    id                       INTEGER PRIMARY KEY CHECK (id = 1),
    max_concurrent           INTEGER NOT NULL,
    user_max_concurrent      INTEGER NOT NULL,
    team_max_concurrent      INTEGER NOT NULL,
    org_max_concurrent       INTEGER NOT NULL,
    local_job_max_concurrent INTEGER NOT NULL,
    fair_share               INTEGER NOT NULL CHECK (fair_share IN (0, 1)),
    -- Under fair share: after which time a user who was granted nothing goes first, and after which
    -- time what an owner used counts half.
    starvation_seconds       INTEGER NOT NULL,
    usage_half_life_hours    INTEGER NOT NULL,
    changed_at               INTEGER NOT NULL
) STRICT;

CREATE TABLE provider_settings (
    provider   TEXT NOT NULL,
    name       TEXT NOT NULL,
    value      TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (provider, name)
) STRICT, WITHOUT ROWID;

-- What a person put on hold: nothing in the scope is claimed until the row is gone. scope_id is '' for
-- everything.
CREATE TABLE holds (
    scope         TEXT NOT NULL CHECK (scope IN ('all', 'user', 'team', 'org', 'provider')),
    scope_id      TEXT NOT NULL,
    reason        TEXT,
    by_actor      TEXT NOT NULL,
    by_actor_name TEXT,
    since         INTEGER NOT NULL,
    PRIMARY KEY (scope, scope_id)
) STRICT, WITHOUT ROWID;

-- How much the jobs of a scope may cost in a period. scope_id is '' for everything; amounts are
-- millionths of a US dollar.
CREATE TABLE budgets (
    budget_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    scope      TEXT NOT NULL CHECK (scope IN ('all', 'user', 'team', 'org', 'provider')),
    scope_id   TEXT NOT NULL,
    period     TEXT NOT NULL CHECK (period IN ('daily', 'weekly', 'monthly')),
    amount     INTEGER NOT NULL,
    action     TEXT NOT NULL CHECK (action IN ('warn', 'block', 'require_approval', 'stop')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX budgets_of_scope ON budgets (scope, scope_id);

-- What is taken of a budget in the period that begins on a day: what jobs that ended in it cost, and
-- what jobs that were submitted in it and are not over are estimated to cost.
CREATE TABLE budget_periods (
    budget_id INTEGER NOT NULL REFERENCES budgets (budget_id) ON DELETE CASCADE,
    start     TEXT NOT NULL,
    spent     INTEGER NOT NULL,
    reserved  INTEGER NOT NULL,
    PRIMARY KEY (budget_id, start)
) STRICT, WITHOUT ROWID;

-- What jobs and strays cost that ended on a day, whether or not there is a budget; '' is no team, no
-- organization, or a user who is not known.
CREATE TABLE spending (
    day      TEXT NOT NULL,
    provider TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    team_id  TEXT NOT NULL,
    org_id   TEXT NOT NULL,
    spent    INTEGER NOT NULL,
    PRIMARY KEY (day, provider, user_id, team_id, org_id)
) STRICT, WITHOUT ROWID;

-- How much an owner may use beside others; 1 where there is no row.
CREATE TABLE share_weights (
    scope    TEXT NOT NULL CHECK (scope IN ('user', 'team', 'org')),
    scope_id TEXT NOT NULL,
    weight   REAL NOT NULL,
    PRIMARY KEY (scope, scope_id)
) STRICT, WITHOUT ROWID;

-- What an owner used of the slots, in slot-hours, as it counted at used_at. At check_at nothing of it
-- is left, unless the half-life was changed since.
CREATE TABLE share_usage (
    scope      TEXT NOT NULL CHECK (scope IN ('user', 'team', 'org')),
    scope_id   TEXT NOT NULL,
    slot_hours REAL NOT NULL,
    used_at    INTEGER NOT NULL,
    check_at   INTEGER NOT NULL,
    PRIMARY KEY (scope, scope_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX share_usage_due ON share_usage (check_at);

-- The entries whose slot is charged to their owners, and since when. A row goes when its slot is free.
CREATE TABLE share_charges (
    entry_id   INTEGER PRIMARY KEY NOT NULL,
    charged_at INTEGER NOT NULL
) STRICT;

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
-- a move of which it is unknown whether it was stored is not made twice. confirmed_at is when a
-- confirmed clock last wrote an event, NULL while none has: at a start the clock is compared with it,
-- because a wrong one may have written the events since. event_floor is the highest ID of an event that
-- was deleted: a reader that has not come so far has missed some.
CREATE TABLE life (
    id           INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    epoch        INTEGER NOT NULL,
    file_inode   INTEGER NOT NULL,
    file_born_at INTEGER,
    checkpoints  INTEGER NOT NULL DEFAULT 0,
    clock_shift  INTEGER NOT NULL DEFAULT 0,
    confirmed_at INTEGER,
    event_floor  INTEGER NOT NULL DEFAULT 0
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

-- When each user was last granted a slot: under fair share, one who was granted nothing for an hour
-- goes first. A row is dropped when it is old and its user has nothing in the queue; check_at is when
-- that is checked next.
CREATE TABLE user_grants (
    user_id    TEXT PRIMARY KEY NOT NULL,
    granted_at INTEGER NOT NULL,
    check_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX user_grants_due ON user_grants (check_at, user_id);

-- What stays of the jobs that were deleted, by the day (UTC) on which they ended.
CREATE TABLE daily_totals (
    day      TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    provider TEXT NOT NULL,
    job_type TEXT NOT NULL CHECK (job_type IN ('local', 'cloud')),
    status   TEXT NOT NULL CHECK (
        status = 'completed' OR status = 'failed' OR status = 'cancelled'),
    jobs     INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    seconds  INTEGER NOT NULL,
    PRIMARY KEY (day, user_id, provider, job_type, status)
) STRICT, WITHOUT ROWID;
