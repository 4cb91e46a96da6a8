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
