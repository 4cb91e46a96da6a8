-- When each user was last granted a slot: under fair share, one who was granted nothing for an hour
-- goes first. A row is dropped when it is old and its user has nothing in the queue; check_at is when
-- that is checked next.
CREATE TABLE user_grants (
    user_id    TEXT PRIMARY KEY NOT NULL,
    granted_at INTEGER NOT NULL,
    check_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX user_grants_due ON user_grants (check_at, user_id);
