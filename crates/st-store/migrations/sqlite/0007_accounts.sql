-- Keys with which callers show who they are. Of a key only the SHA-256 of its secret part is stored. A
-- revoked key stays, so that the trail below can be explained.
CREATE TABLE api_keys (
    key_number      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The part of a key that is no secret.
    key_id          TEXT NOT NULL UNIQUE,
    secret_sha256   BLOB NOT NULL CHECK (length(secret_sha256) = 32),
    name            TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('viewer', 'researcher', 'lead', 'admin')),
    team_id         TEXT,
    org_id          TEXT,
    -- Words with commas between them; NULL where the key may do all that its role allows.
    scopes          TEXT,
    created_at      INTEGER NOT NULL,
    created_by      TEXT NOT NULL,
    created_by_name TEXT,
    expires_at      INTEGER,
    last_used_at    INTEGER,
    revoked_at      INTEGER,
    revoked_by      TEXT,
    revoked_by_name TEXT
) STRICT;

-- Who did what, when, to which object, and from where.
CREATE TABLE audit (
    audit_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at             INTEGER NOT NULL,
    -- NULL where it is not known who it was.
    actor          TEXT,
    actor_name     TEXT,
    key_id         TEXT,
    operation      TEXT NOT NULL,
    object         TEXT,
    job_id         TEXT,
    peer           TEXT,
    correlation_id TEXT,
    status         INTEGER NOT NULL,
    -- How many times, where a row stands for several.
    times          INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_of_actor ON audit (actor_name, at) WHERE actor_name IS NOT NULL;
CREATE INDEX audit_of_job ON audit (job_id, at) WHERE job_id IS NOT NULL;
