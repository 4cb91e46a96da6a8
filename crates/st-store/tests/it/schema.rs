//! The schema: its words are those of the model, its references are enforced, and a database of
//! another schema is refused rather than guessed at.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;
use st_store::{
    Actor, ApprovalStatus, AtMostOnce, BudgetAction, BudgetLimit, Change, ClaimOrigin, Cost,
    DeliveryStatus, Error, JobStatus, JobType, NewBudget, NewJob, Period, ProviderName,
    QueueStatus, Role, Scope, ScopeLevel, ShareLevel, SqliteConfig, SqliteStore, StoreStatus,
    WebhookState,
};
use st_testkit::dump::dump;
use st_testkit::suite::{at, claiming, costs_more_than, id, job};
use tempfile::TempDir;

use super::bench::{Bench, folder, text_of};

/// The migrations, one after the other.
const SCHEMA: &str = concat!(
    include_str!("../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../migrations/sqlite/0002_counters.sql"),
    include_str!("../../migrations/sqlite/0003_results.sql"),
    include_str!("../../migrations/sqlite/0004_deletions.sql"),
    include_str!("../../migrations/sqlite/0005_totals.sql"),
    include_str!("../../migrations/sqlite/0006_cost_limits.sql"),
    include_str!("../../migrations/sqlite/0007_accounts.sql"),
    include_str!("../../migrations/sqlite/0008_webhooks.sql"),
    include_str!("../../migrations/sqlite/0009_received_webhooks.sql"),
    include_str!("../../migrations/sqlite/0010_admission.sql"),
    include_str!("../../migrations/sqlite/0011_waiting.sql"),
    include_str!("../../migrations/sqlite/0012_positions.sql")
);

/// The words that a `CHECK` allows, by table and column: `column IN (..)`, or `column = .. OR ..`.
fn word_lists() -> BTreeMap<String, Vec<String>> {
    let mut lists = BTreeMap::new();
    for table in SCHEMA.split("CREATE TABLE ").skip(1) {
        let table = table.split_once(") STRICT").map_or(table, |(table, _)| table);
        let (name, columns) = table.split_once(" (").unwrap();
        for check in columns.split("CHECK (").skip(1) {
            let (column, condition) = check.trim_start().split_once(' ').unwrap();
            let words: Vec<&str> = match condition.strip_prefix("IN (") {
                Some(words) => words.split_once(')').unwrap().0.split(',').collect(),
                None if condition.contains(" OR ") => {
                    let condition = condition.split_once(')').unwrap().0;
                    let words = condition.strip_prefix("= ").unwrap().split("OR");
                    words.map(|it| it.trim().trim_start_matches(&format!("{column} = "))).collect()
                }
                None => continue,
            };
            let words = words.into_iter().map(|word| word.trim().trim_matches('\'').to_owned());
            lists.insert(format!("{name}.{column}"), words.collect());
        }
    }
    lists
}

/// The words of the subjects that events have.
fn subjects() -> Vec<&'static str> {
    let (job, message) = (id(1), String::new());
    let approval = Change::Approval {
        job,
        id: st_store::ApprovalId(1),
        from: None,
        to: ApprovalStatus::Pending,
        message: message.clone(),
    };
    let changes = [
        Change::Job { job, from: None, to: JobStatus::Pending, message: None },
        Change::Queue { job, from: None, to: QueueStatus::Pending, message: None },
        approval,
        Change::Provider { provider: ProviderName::new("x"), message: message.clone() },
        Change::Limits { message },
    ];
    changes.iter().map(Change::subject).collect()
}

#[test]
fn each_list_of_words_is_the_models() {
    fn words<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> Vec<&'static str> {
        all.iter().map(|&each| as_str(each)).collect()
    }
    let job_types = || words(JobType::ALL, JobType::as_str);
    let truth = || vec!["0", "1"];
    let expected = [
        ("api_keys.role", words(Role::ALL, Role::as_str)),
        ("approval_rules.is_active", truth()),
        ("approvals.status", words(ApprovalStatus::ALL, ApprovalStatus::as_str)),
        ("budgets.action", words(BudgetAction::ALL, BudgetAction::as_str)),
        ("budgets.period", words(Period::ALL, Period::as_str)),
        ("budgets.scope", words(ScopeLevel::ALL, ScopeLevel::as_str)),
        ("daily_totals.job_type", job_types()),
        ("daily_totals.status", vec!["completed", "failed", "cancelled"]),
        ("events.subject", subjects()),
        ("holds.scope", words(ScopeLevel::ALL, ScopeLevel::as_str)),
        ("jobs.job_type", job_types()),
        ("jobs.status", words(JobStatus::ALL, JobStatus::as_str)),
        ("limits.fair_share", truth()),
        ("polling_preference.enabled", truth()),
        ("queue_entries.claim_guarantee", words(AtMostOnce::ALL, AtMostOnce::as_str)),
        ("queue_entries.claim_origin", words(ClaimOrigin::ALL, ClaimOrigin::as_str)),
        ("queue_entries.held", vec!["damaged"]),
        ("queue_entries.not_before_kind", vec!["date", "pause"]),
        ("queue_entries.status", words(QueueStatus::ALL, QueueStatus::as_str)),
        ("share_usage.scope", words(ShareLevel::ALL, ShareLevel::as_str)),
        ("share_weights.scope", words(ShareLevel::ALL, ShareLevel::as_str)),
        ("stored_totals.job_type", job_types()),
        ("stored_totals.status", vec!["completed", "failed", "cancelled"]),
        ("strays.job_type", job_types()),
        ("webhook_deliveries.status", words(DeliveryStatus::ALL, DeliveryStatus::as_str)),
        ("webhooks.state", words(WebhookState::ALL, WebhookState::as_str)),
    ];
    let found = word_lists();
    let found: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|(column, words)| (column.as_str(), words.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_lists_of_words_are_enforced() {
    let bench = Bench::new().await;
    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    bench.blocked(1, 60).await;
    bench.store.pause(Scope::All, None, &Actor::Operator).await.unwrap();
    let budget = NewBudget {
        scope: Scope::All,
        limit: BudgetLimit::Cost { period: Period::Daily, amount: Cost::ZERO },
        action: BudgetAction::Warn,
    };
    bench.store.add_budget(budget, &Actor::Operator).await.unwrap();
    bench.store.set_polling_preference(Some(true), &Actor::Operator).await.unwrap();
    let key = st_testkit::suite::keys::new_key(1);
    let hash = st_store::KeyHash::new([1; 32]);
    bench.store.add_key(key, hash, &Actor::Operator).await.unwrap();
    super::fixtures::notified(&bench).await;
    let raw = bench.raw();
    for column in word_lists().into_keys() {
        let (table, column) = column.split_once('.').unwrap();
        if matches!(table, "strays" | "limits" | "daily_totals" | "stored_totals" | "holds")
            || table.starts_with("share")
        {
            continue;
        }
        let word = if matches!(column, "is_active" | "enabled") { "2" } else { "'else'" };
        let error = raw.execute(&format!("UPDATE {table} SET {column} = {word}"), []).unwrap_err();
        assert!(error.to_string().contains("CHECK constraint failed"), "{table}.{column}: {error}");
    }
}

#[tokio::test]
async fn every_table_is_strict() {
    let bench = Bench::new().await;
    let loose = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
                 AND strict = 0 AND name NOT LIKE 'sqlite_%'";
    assert_eq!(bench.rows(loose), "");
    let tables = "SELECT COUNT(*) AS tables FROM pragma_table_list WHERE schema = 'main' \
                  AND strict = 1";
    let expected = SCHEMA.matches("CREATE TABLE ").count() + 1;
    assert_eq!(bench.rows(tables), format!("tables={expected}"), "and schema_migrations");
}

#[tokio::test]
async fn what_belongs_to_a_job_goes_with_it_and_nothing_else() {
    let bench = Bench::new().await;
    let references = "SELECT m.name AS table_name, f.\"from\" AS of, f.\"table\" AS to_table, \
                      f.on_delete FROM sqlite_schema m, pragma_foreign_key_list(m.name) f \
                      WHERE m.type = 'table' ORDER BY 1, 2";
    let cascade = "of=entry_id to_table=jobs on_delete=CASCADE";
    let expected = format!(
        "table_name=approvals {cascade}\n\
         table_name=approvals of=rule_id to_table=approval_rules on_delete=NO ACTION\n\
         table_name=budget_periods of=budget_id to_table=budgets on_delete=CASCADE\n\
         table_name=events {cascade}\ntable_name=job_inputs {cascade}\n\
         table_name=queue_entries {cascade}\ntable_name=results_due {cascade}\n\
         table_name=webhook_deliveries of=webhook_id to_table=webhooks on_delete=CASCADE\n\
         table_name=webhook_secrets of=webhook_id to_table=webhooks on_delete=CASCADE"
    );
    assert_eq!(bench.rows(references), expected);

    bench.store.add_rule(costs_more_than("50")).await.unwrap();
    for number in 1..=2 {
        let mut new = job(number, "ann");
        new.estimated_cost = 100.0;
        let (key, digest) = (format!("k{number}"), String::new());
        new.idempotency = Some(st_store::Idempotency { key, digest });
        bench.submit(new).await;
    }
    let raw = bench.raw();
    raw.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    raw.execute("DELETE FROM approval_rules", []).unwrap_err();
    raw.execute("DELETE FROM jobs WHERE job_id = ?1", [id(1).to_string()]).unwrap();
    for (table, rows) in [
        ("job_inputs", 1),
        ("queue_entries", 1),
        ("approvals", 1),
        ("events", 4),
        ("idempotency_keys", 2),
    ] {
        let count = bench.rows(&format!("SELECT COUNT(*) AS n FROM {table}"));
        assert_eq!(count, format!("n={rows}"), "{table}");
    }
    assert_eq!(bench.rows("PRAGMA foreign_key_check"), "");
    let counts = "SELECT status, entries FROM queue_counts";
    assert_eq!(bench.rows(counts), "status=blocked entries=1");
}

#[tokio::test]
async fn counts_of_the_queue_are_those_of_its_rows() {
    let bench = Bench::new().await;
    let counted =
        "SELECT status, COUNT(*) AS entries FROM queue_entries GROUP BY status ORDER BY 1";
    let kept = "SELECT status, entries FROM queue_counts WHERE entries > 0 ORDER BY status";
    for number in 1..=4 {
        bench.submit(job(number, &format!("user-{number}"))).await;
        assert_eq!(bench.rows(kept), bench.rows(counted));
    }
    let claims = bench.store.claim(&claiming(3)).await.unwrap().claims;
    assert_eq!(bench.rows(kept), "status=pending entries=1\nstatus=ready entries=3");
    bench.settle(&claims[0].record, st_testkit::suite::accepted(1)).await.unwrap();
    bench.settle(&claims[1].record, st_testkit::suite::failed(9)).await.unwrap();
    let expected = "status=pending entries=2\nstatus=ready entries=1\nstatus=running entries=1";
    assert_eq!((bench.rows(kept), bench.rows(counted)), (expected.to_owned(), expected.to_owned()));
}

async fn open(folder: &Path) -> st_store::Result<SqliteStore> {
    let config = SqliteConfig {
        clock: st_testkit::suite::clock(),
        ..SqliteConfig::new(folder.join("cloud.db"))
    };
    SqliteStore::open(config).await
}

/// A folder with a closed store that holds a job.
async fn closed() -> TempDir {
    let bench = Bench::new().await;
    bench.submit(job(1, "ann")).await;
    bench.closed().await
}

#[tokio::test]
async fn a_second_start_changes_nothing() {
    let folder = closed().await;
    let path = folder.path().join("cloud.db");
    let everything = || {
        let connection = Connection::open(&path).unwrap();
        let schema = text_of(&connection, "SELECT name, sql FROM sqlite_schema ORDER BY name");
        schema + &text_of(&connection, "SELECT * FROM schema_migrations")
    };
    let (before, store) = (everything(), open(folder.path()).await.unwrap());
    let jobs = dump(&store).await;
    store.close().await.unwrap();
    assert_eq!(everything(), before);
    let bench = Bench::open_in(folder, at(5000)).await;
    let migrations = bench.rows("SELECT version, name, applied_at FROM schema_migrations");
    let expected = "version=1 name=initial applied_at=1767225600000\n\
                    version=2 name=counters applied_at=1767225600000\n\
                    version=3 name=results applied_at=1767225600000\n\
                    version=4 name=deletions applied_at=1767225600000\n\
                    version=5 name=totals applied_at=1767225600000\n\
                    version=6 name=cost_limits applied_at=1767225600000\n\
                    version=7 name=accounts applied_at=1767225600000\n\
                    version=8 name=webhooks applied_at=1767225600000\n\
                    version=9 name=received_webhooks applied_at=1767225600000\n\
                    version=10 name=admission applied_at=1767225600000\n\
                    version=11 name=waiting applied_at=1767225600000\n\
                    version=12 name=positions applied_at=1767225600000";
    assert_eq!(migrations, expected);
    assert_eq!(bench.found(1).await.job().config_name.as_deref(), Some("job-1"));
    assert!(jobs.contains(&id(1).to_string()));
}

/// Changes a closed database, expects that it is refused, and that nothing in it was changed.
async fn refused(sql: &str) -> Error {
    let folder = closed().await;
    let path = folder.path().join("cloud.db");
    let changed = Connection::open(&path).unwrap();
    changed.execute_batch(sql).unwrap();
    changed.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(before == std::fs::read(&path).unwrap(), "the refused database was changed: {sql}");
    // The lock is free again, so that it can be opened once it is repaired.
    let again = open(folder.path()).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    error
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let sql = "INSERT INTO schema_migrations VALUES (13, 'later', 'abc', 0, '9.9')";
    let error = refused(sql).await;
    assert!(matches!(error, Error::SchemaTooNew { found: 13, known: 12, .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("cloud.db is from a newer version: its schema is 13"), "{said}");
    assert!(said.ends_with("this program knows up to 12"), "{said}");
}

#[tokio::test]
async fn another_text_of_a_migration_is_refused() {
    let error = refused("UPDATE schema_migrations SET sha256 = upper(sha256)").await;
    assert!(matches!(error, Error::SchemaChanged { version: 1, .. }), "{error:?}");
    assert!(error.to_string().ends_with("was migrated by another text of migration 1"), "{error}");
}

#[tokio::test]
async fn a_migration_that_is_missing_below_a_later_one_is_refused() {
    let error = refused("DELETE FROM schema_migrations WHERE version = 2").await;
    assert!(matches!(error, Error::SchemaGap { version: 2, .. }), "{error:?}");
    assert!(error.to_string().ends_with("lacks migration 2 but has a later one"), "{error}");
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_of_itself() {
    // Tables of another program: the initial migration meets one of its own names.
    let folder = folder();
    let path = folder.path().join("cloud.db");
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE strays (x); INSERT INTO strays VALUES (7)").unwrap();
    foreign.close().unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("table strays already exists"), "{source}");
    let foreign = Connection::open(&path).unwrap();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    assert_eq!(text_of(&foreign, tables), "name=schema_migrations\nname=strays");
    assert_eq!(text_of(&foreign, "SELECT * FROM strays"), "x=7");
    assert_eq!(text_of(&foreign, "SELECT * FROM schema_migrations"), "");
}

/// Drops what the migration of this text made: a whole table, index, trigger or column each time.
fn undo(connection: &Connection, migration: &str) {
    for kind in ["TRIGGER", "INDEX", "TABLE"] {
        for made in migration.split(&format!("CREATE {kind} ")).skip(1) {
            let name = made.split_whitespace().next().unwrap();
            connection.execute_batch(&format!("DROP {kind} {name}")).unwrap();
        }
    }
    for dropped in migration.split("DROP TRIGGER ").skip(1) {
        let (name, _) = dropped.split_once(';').unwrap();
        let (_, made) = SCHEMA.split_once(&format!("CREATE TRIGGER {name} ")).unwrap();
        let (definition, _) = made.split_once("END;").unwrap();
        connection.execute_batch(&format!("CREATE TRIGGER {name} {definition}END")).unwrap();
    }
    for dropped in migration.split("DROP INDEX ").skip(1) {
        let (name, _) = dropped.split_once(';').unwrap();
        let (_, made) = SCHEMA.split_once(&format!("CREATE INDEX {name} ")).unwrap();
        let (definition, _) = made.split_once(';').unwrap();
        connection.execute_batch(&format!("CREATE INDEX {name} {definition}")).unwrap();
    }
    for made in migration.split("ALTER TABLE ").skip(1) {
        let (table, rest) = made.split_once(" ADD COLUMN ").unwrap();
        let name = rest.split_whitespace().next().unwrap();
        connection.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {name}")).unwrap();
    }
}

/// Makes a closed database of the present schema one of schema 1.
pub(crate) fn downgrade(folder: &Path) {
    let old = Connection::open(folder.join("cloud.db")).unwrap();
    undo(&old, include_str!("../../migrations/sqlite/0012_positions.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0011_waiting.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0010_admission.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0009_received_webhooks.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0008_webhooks.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0007_accounts.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0006_cost_limits.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0005_totals.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0004_deletions.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0003_results.sql"));
    undo(&old, include_str!("../../migrations/sqlite/0002_counters.sql"));
    old.execute_batch("DELETE FROM schema_migrations WHERE version > 1").unwrap();
    let schema = "SELECT COUNT(*) AS n FROM sqlite_schema WHERE sql IS NOT NULL";
    let initial = Connection::open_in_memory().unwrap();
    let statements = include_str!("../../migrations/sqlite/0001_initial.sql");
    initial.execute_batch(statements).unwrap();
    let objects: i64 = initial
        .query_row("SELECT COUNT(*) FROM sqlite_schema WHERE sql IS NOT NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(text_of(&old, schema), format!("n={}", objects + 1), "and the migrations' own");
    old.close().unwrap();
}

#[tokio::test]
async fn a_database_of_schema_1_keeps_its_rows() {
    let bench = Bench::new().await;
    for number in 1..=4 {
        bench.submit(job(number, &format!("user-{number}"))).await;
    }
    let claims = bench.store.claim(&claiming(3)).await.unwrap().claims;
    bench.settle(&claims[0].record, st_testkit::suite::accepted(1)).await.unwrap();
    bench.go_to(100);
    let in_flight = [id(3)].into();
    let reclaimed = bench.store.reclaim(&claiming(1), &in_flight).await.unwrap().claims;
    assert_eq!(reclaimed[0].record.id(), id(2));
    // A file that another program changed begins another life: that is its last line.
    let rows = |dump: String| dump.lines().rev().skip(1).collect::<Vec<_>>().join("\n");
    let before = rows(dump(bench.store.as_ref()).await);
    let since = format!("unresolved_since: Some({})", at(100));
    assert_eq!(before.matches(&since).count(), 1, "{before}");
    let now = bench.store.now();
    let kept = bench.closed().await;
    downgrade(kept.path());
    let bench = Bench::open_in(kept, now).await;
    assert_eq!(rows(dump(bench.store.as_ref()).await), before);
    let migrations = bench.rows("SELECT version, name FROM schema_migrations");
    assert_eq!(
        migrations,
        "version=1 name=initial\nversion=2 name=counters\nversion=3 name=results\n\
         version=4 name=deletions\nversion=5 name=totals\nversion=6 name=cost_limits\n\
         version=7 name=accounts\nversion=8 name=webhooks\n\
         version=9 name=received_webhooks\nversion=10 name=admission\nversion=11 name=waiting\n\
         version=12 name=positions"
    );
    let audit = st_store::offline::audit(&bench.path()).unwrap();
    assert_eq!(audit.findings, [], "the numbers are those of its rows");
    let statuses = "SELECT status, entries FROM queue_counts ORDER BY status";
    let expected = "status=pending entries=1\nstatus=ready entries=2\nstatus=running entries=1";
    assert_eq!(bench.rows(statuses), expected);
}

#[tokio::test]
async fn a_job_of_the_future_takes_no_submission_of_today_from_the_count() {
    const DAY: u64 = 86_400;
    let bench = Bench::new().await;
    bench.submit(job(1, "ann")).await;
    bench.go_to(DAY);
    let rerun = NewJob {
        metadata: serde_json::Map::from_iter([("run".to_owned(), 2.into())]),
        ..job(2, "ann")
    };
    for new in [rerun, job(3, "ann"), job(4, "ann"), job(5, "ann")] {
        bench.submit(new).await;
    }
    let now = bench.store.now();
    let sql = "SELECT day, user_id, jobs FROM daily_submissions ORDER BY day";
    let kept = bench.closed().await;
    let raw = Connection::open(kept.path().join("cloud.db")).unwrap();
    let future =
        "UPDATE jobs SET created_at = created_at + 400 * 86400000 WHERE config_name = 'job-5'";
    assert_eq!(raw.execute(future, []).unwrap(), 1);
    raw.close().unwrap();
    downgrade(kept.path());
    let bench = Bench::open_in(kept, now).await;
    let days: Vec<String> = bench.rows(sql).lines().map(str::to_owned).collect();
    let [first, second, _future] = &days[..] else { panic!("{days:?}") };
    assert!(first.ends_with("user_id=ann jobs=1"), "{first}");
    assert!(second.ends_with("user_id=ann jobs=2"), "{second}");
}
