-- Whether the budget is the cost limit of a provider, which its settings describe: it is changed and
-- removed with them alone, and there is at most one for each provider.
ALTER TABLE budgets ADD COLUMN of_settings INTEGER NOT NULL DEFAULT 0 CHECK (of_settings IN (0, 1));

-- Whether providers are polled, where a person decided it; without a row it is as configured.
CREATE TABLE polling_preference (
    id         INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    changed_at INTEGER NOT NULL
) STRICT;
