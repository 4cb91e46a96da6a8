-- Fair share: after which time a user who was granted nothing goes first, and after which time what
-- an owner used counts half.
ALTER TABLE limits ADD COLUMN starvation_seconds INTEGER NOT NULL DEFAULT 3600;
ALTER TABLE limits ADD COLUMN usage_half_life_hours INTEGER NOT NULL DEFAULT 168;

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

CREATE INDEX share_usage_due ON share_usage (check_at, scope, scope_id);

-- The entries whose slot is charged to their owners, and since when. A row goes when its slot is free.
CREATE TABLE share_charges (
    entry_id   INTEGER PRIMARY KEY NOT NULL,
    charged_at INTEGER NOT NULL
) STRICT;
