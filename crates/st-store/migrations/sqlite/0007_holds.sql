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
