//! How SQLite finds the rows: every statement of the store is asked for its plan, so that no call
//! comes to cost more with every job that ever was, and no index is kept for nothing.
//!
//! The statements are read from the source: one that is new and walks through a table fails here
//! until it has another plan or a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Null;

use super::bench::Bench;

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

/// The string literals of a source text, with line continuations joined.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = code.collect::<Vec<_>>().join("\n").replace("'\"'", "");
    for (index, part) in code.split('"').enumerate() {
        if index % 2 == 1 {
            let lines = part.split("\\\n").map(str::trim_start);
            found.push(lines.collect());
        }
    }
    found
}

/// Without `offline`, which reads everything by intent.
fn sources(folder: &Path, into: &mut Vec<String>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("tests") && !path.ends_with("offline") {
            sources(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs")
            && !path.ends_with("tests.rs")
            && !path.ends_with("counters.rs")
        {
            into.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Every statement in the source of the SQLite store, apart from those that count everything, for the
/// check of the file. Of those that are put together, the parts are
/// joined as the source does: a part in the same file that ends where another begins, or the query
/// for whole records.
fn statements() -> Vec<String> {
    let mut texts = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sqlite");
    sources(&source, &mut texts);
    let files: Vec<Vec<String>> = texts.iter().map(|text| literals(text)).collect();
    let is_open = |it: &&String| it.starts_with("SELECT") && it.ends_with(' ');
    let records = files.iter().flatten().filter(is_open).find(|it| it.contains("FROM jobs j JOIN"));
    let mut statements = BTreeSet::new();
    for literals in &files {
        let cut_wait = literals.iter().find(|it| it.ends_with("COALESCE(run_after, 0))"));
        let own = literals.iter().find(is_open).or(records);
        for literal in literals {
            if Some(literal) == cut_wait || is_open(&literal) || literal.contains('{') {
                continue;
            }
            let verb = literal.split(' ').next().unwrap_or_default();
            let before = match verb {
                "SELECT" | "UPDATE" | "DELETE" | "INSERT" => None,
                "WHERE" if literal.contains("a.") | literal.contains("j.") => records,
                "WHERE" | "ORDER" => own,
                "status" | "job_id" if cut_wait.is_some() => cut_wait,
                _ => continue,
            };
            statements.insert(match (verb, before) {
                (_, None) => literal.clone(),
                ("WHERE" | "ORDER", Some(before)) => format!("{before}{literal}"),
                (_, Some(before)) => format!("{before} AND {literal}"),
            });
        }
    }
    statements.into_iter().collect()
}

/// The lines of a statement's plan.
#[expect(clippy::panic, reason = "what helps tests fails as tests do")]
fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let nothing = vec![Null; statement.parameter_count()];
    let rows = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The names of the indexes in the schema, and whether each leaves rows out.
fn indexes() -> BTreeMap<&'static str, bool> {
    let definitions = SCHEMA.split(';').filter_map(|text| text.split_once("INDEX "));
    definitions
        .filter_map(|(_, definition)| {
            let (name, rest) = definition.split_once(char::is_whitespace)?;
            let is_dropped = SCHEMA.contains(&format!("DROP INDEX {name};"));
            (!is_dropped).then_some((name, rest.contains("WHERE")))
        })
        .collect()
}

/// The statements of the calls that are made all the time, by a part of their text, and how their
/// rows are found.
const USES: [(&str, &str); 97] = [
    // lists
    (
        "FROM jobs WHERE job_id < ?1",
        "SEARCH jobs USING COVERING INDEX sqlite_autoindex_jobs_1 (job_id<?)",
    ),
    (
        "FROM jobs WHERE status = ?1 AND provider",
        "SEARCH jobs USING COVERING INDEX jobs_listed (status=? AND provider=? AND job_type=? \
         AND job_id<?)",
    ),
    (
        "FROM jobs WHERE user_id = ?1 AND status",
        "SEARCH jobs USING COVERING INDEX jobs_listed_of_user (user_id=? AND status=? \
         AND provider=? AND job_type=? AND job_id<?)",
    ),
    ("FROM user_job_counts", "SEARCH user_job_counts USING PRIMARY KEY (user_id=?)"),
    (
        "AND status <> '' AND entry_id > ?2",
        "SEARCH queue_entries USING COVERING INDEX queue_listed (status=? AND rowid>?)",
    ),
    (
        "AND status <> '' AND approval_id < ?2",
        "SEARCH approvals USING COVERING INDEX approvals_listed (status=? AND rowid<?)",
    ),
    ("WHERE q.entry_id = ?1", "SEARCH q USING INTEGER PRIMARY KEY (rowid=?)"),
    ("WHERE j.job_id = ?1", "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (job_id=?)"),
    ("WHERE j.entry_id = ?1", "SEARCH a USING INDEX sqlite_autoindex_approvals_1 (entry_id=?)"),
    // claim
    (
        "SELECT MIN(not_before) FROM",
        "SEARCH queue_entries USING INDEX queue_delayed (not_before>?)",
    ),
    ("SET not_before = NULL", "SEARCH queue_entries USING INDEX queue_delayed"),
    ("provider) > (?1, ?2", "SEARCH queue_entries USING INDEX queue_claimable ((user_id,team_id"),
    (
        "AND deadline = ?6 AND entry_id > ?7",
        "SEARCH queue_entries USING INDEX queue_claimable (user_id=? AND team_id=? AND org_id=? \
         AND job_type=? AND provider=? AND deadline=? AND rowid>?)",
    ),
    (
        "AND deadline > ?6",
        "SEARCH queue_entries USING INDEX queue_claimable (user_id=? AND team_id=? AND org_id=? \
         AND job_type=? AND provider=? AND deadline>?)",
    ),
    ("SELECT granted_at", "SEARCH g USING PRIMARY KEY (user_id=?)"),
    ("MIN(check_at)", "SEARCH user_grants USING COVERING INDEX user_grants_due"),
    (
        "UPDATE user_grants SET check_at = ?3",
        "SEARCH user_grants USING COVERING INDEX user_grants_due (check_at<?)",
    ),
    (
        "FROM share_usage WHERE scope = ?1",
        "SEARCH share_usage USING PRIMARY KEY (scope=? AND scope_id=?)",
    ),
    (
        "FROM share_weights WHERE scope = ?1",
        "SEARCH share_weights USING PRIMARY KEY (scope=? AND scope_id=?)",
    ),
    (
        "FROM share_usage WHERE check_at <= ?1",
        "SEARCH share_usage USING INDEX share_usage_due (check_at<?)",
    ),
    ("DELETE FROM share_charges", "SEARCH share_charges USING INTEGER PRIMARY KEY (rowid=?)"),
    ("DELETE FROM user_grants", "SEARCH q USING PRIMARY KEY (user_id=?)"),
    ("FROM strays WHERE user_id IS NOT NULL", "SCAN queue_entries USING INDEX queue_in_slots"),
    // reclaim, renew, and the end of a dead holder
    ("AND q.lease_until <= ?1 ORDER", "SCAN q USING INDEX queue_in_slots"),
    ("lease_holder = ?1", "SEARCH queue_entries USING INTEGER PRIMARY KEY (rowid=?)"),
    ("lease_holder <> ?1", "SCAN queue_entries USING INDEX queue_in_slots"),
    // next_due
    ("SELECT MIN(due)", "SEARCH queue_entries USING INDEX queue_delayed (not_before>?)"),
    ("SELECT MIN(due)", "SEARCH queue_entries USING INDEX queue_in_slots"),
    // a position
    ("FROM queue_entries p", "SEARCH p USING INDEX queue_order (deadline>? AND deadline<?)"),
    ("d.bucket < q.deadline >> 17", "SEARCH d USING PRIMARY KEY (shift=? AND bucket<?)"),
    (
        "d.bucket < q.deadline >> 11",
        "SEARCH d USING PRIMARY KEY (shift=? AND bucket>? AND bucket<?)",
    ),
    (
        "d.bucket < q.deadline >> 5",
        "SEARCH d USING PRIMARY KEY (shift=? AND bucket>? AND bucket<?)",
    ),
    ("FROM queue_entries p", "SEARCH q USING INTEGER PRIMARY KEY (rowid=?)"),
    // list_at_provider
    ("AND +j.job_id > ?2", "SCAN q USING INDEX queue_in_slots"),
    ("AND +j.job_id > ?2", "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"),
    // known_provider_jobs
    (
        "provider_job_id, job_id FROM jobs WHERE provider = ?1",
        "SEARCH jobs USING INDEX jobs_provider_job (provider_job_id=? AND provider=?)",
    ),
    (
        "provider_job_id, NULL FROM strays",
        "SEARCH strays USING PRIMARY KEY (provider=? AND provider_job_id=?)",
    ),
    (
        "FROM approvals WHERE user_id = ?1 AND status",
        "SEARCH approvals USING COVERING INDEX approvals_listed_of_user (user_id=? AND status=? \
         AND rowid<?)",
    ),
    // delete a rule
    (
        "WHERE rule_id = ?1 LIMIT 1",
        "SEARCH approvals USING COVERING INDEX approvals_of_rule (rule_id=?)",
    ),
    // the queue of one user
    (
        "WHERE in_slot AND user_id = ?1",
        "SEARCH queue_entries USING INDEX queue_in_slots (user_id=?)",
    ),
    ("FROM queue_blocked", "SEARCH queue_blocked USING PRIMARY KEY (user_id=?)"),
    ("FROM queue_users WHERE user_id", "SEARCH queue_users USING PRIMARY KEY (user_id=?)"),
    // expire, next_expiry and a cut of their dates
    ("a.expires_at <= ?1", "SEARCH a USING INDEX approvals_open (expires_at<?)"),
    ("SELECT MIN(a.expires_at)", "SEARCH a USING INDEX approvals_open"),
    ("expires_at = ?1 + ttl_ms", "SCAN approvals USING INDEX approvals_open"),
    // strays and rechecks
    (
        "next_cancel_at <= ?2",
        "SEARCH strays USING INDEX strays_due (provider=? AND next_cancel_at<?)",
    ),
    ("due_at <= ?2", "SEARCH rechecks USING INDEX rechecks_due (provider=? AND due_at<?)"),
    // events
    ("event_id > ?1 ORDER", "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)"),
    ("event_id > ?1 ORDER", "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"),
    ("AND e.event_id > ?2", "SEARCH e USING INDEX events_of_job (entry_id=? AND rowid>?)"),
    // submit
    (
        "user_id = ?1 AND key = ?2",
        "SEARCH idempotency_keys USING PRIMARY KEY (user_id=? AND key=?)",
    ),
    (
        "SET expires_at = ?1 WHERE",
        "SEARCH idempotency_keys USING INDEX idempotency_keys_by_expiry (expires_at>?)",
    ),
    ("FROM user_submissions", "SEARCH user_submissions USING PRIMARY KEY (user_id=?)"),
    (
        "FROM daily_submissions WHERE day = ?1",
        "SEARCH daily_submissions USING PRIMARY KEY (day=? AND user_id=?)",
    ),
    ("DELETE FROM daily_submissions", "SEARCH daily_submissions USING PRIMARY KEY (day<?)"),
    // settle
    (
        "AND job_id <> ?3",
        "SEARCH jobs USING INDEX jobs_provider_job (provider_job_id=? AND provider=?)",
    ),
    (
        "suspect_since >= ?2",
        "SEARCH queue_entries USING INDEX queue_suspects (provider=? AND suspect_since>?)",
    ),
    (
        "j.provider_job_id = ?1",
        "SEARCH j USING INDEX jobs_provider_job (provider_job_id=? AND provider=?)",
    ),
    (
        "ended_at <= ?1 ORDER BY",
        "SEARCH ended_strays USING COVERING INDEX ended_strays_oldest (ended_at<?)",
    ),
    ("FROM ended_strays WHERE provider = ?1", "SEARCH ended_strays USING PRIMARY KEY"),
    // prefixes
    (
        "FROM jobs WHERE provider_job_id >= ?1",
        "SEARCH jobs USING INDEX jobs_provider_job (provider_job_id>? AND provider_job_id<?)",
    ),
    (
        "FROM jobs WHERE job_id >= ?1",
        "SEARCH jobs USING COVERING INDEX sqlite_autoindex_jobs_1 (job_id>? AND job_id<?)",
    ),
    // webhooks
    ("FROM received_webhooks WHERE provider", "SEARCH received_webhooks USING PRIMARY KEY"),
    (
        "DELETE FROM received_webhooks",
        "SEARCH received_webhooks USING COVERING INDEX received_webhooks_oldest (received_at<?)",
    ),
    // prune
    ("q.completed_at <= ?1", "SEARCH q USING INDEX queue_over (completed_at<?)"),
    ("q.completed_at <= ?1", "SEARCH s USING COVERING INDEX strays_of_job (job_id=?)"),
    ("q.completed_at <= ?1", "SEARCH k USING COVERING INDEX idempotency_keys_of_job (job_id=?)"),
    (
        "DELETE FROM idempotency_keys",
        "SEARCH idempotency_keys USING COVERING INDEX idempotency_keys_by_expiry (expires_at<?)",
    ),
    // budgets
    ("FROM budgets WHERE scope = 'all' OR", "SEARCH budgets USING INDEX budgets_of_scope (scope=?"),
    ("FROM budget_periods WHERE", "SEARCH budget_periods USING PRIMARY KEY"),
    ("q.estimated_cost, j.created_at", "SEARCH q USING INDEX queue_listed (status=?)"),
    ("q.in_slot AND j.cost_usd", "SCAN q USING INDEX queue_in_slots"),
    ("q.in_slot AND q.cancel_requested_at", "SCAN q USING INDEX queue_in_slots"),
    // accounts
    ("FROM api_keys WHERE key_id = ?1", "SEARCH api_keys USING INDEX sqlite_autoindex_api_keys_1"),
    ("key_number DESC", "SEARCH api_keys USING INTEGER PRIMARY KEY (rowid<?)"),
    ("FROM audit WHERE at >= ?1", "SEARCH audit USING INDEX audit_by_time (at>? AND at<?)"),
    ("actor_name = ?5", "SEARCH audit USING INDEX audit_of_actor (actor_name=? AND at>? AND at<?)"),
    ("job_id = ?5", "SEARCH audit USING INDEX audit_of_job (job_id=? AND at>? AND at<?)"),
    ("DELETE FROM audit", "SEARCH audit USING COVERING INDEX audit_by_time (at<?)"),
    // webhooks
    ("FROM webhooks WHERE webhook_id", "SEARCH webhooks USING INTEGER PRIMARY KEY (rowid=?)"),
    (
        "event_id = ?2",
        "SEARCH webhook_deliveries USING INDEX webhook_deliveries_of_event (webhook_id=? AND event_id=?)",
    ),
    ("number DESC LIMIT ?2", "SEARCH webhook_deliveries USING PRIMARY KEY (webhook_id=?)"),
    ("ORDER BY first_at DESC", "SCAN webhook_deliveries USING INDEX webhook_deliveries_by_time"),
    (
        "DELETE FROM webhook_deliveries WHERE (",
        "SEARCH webhook_deliveries USING COVERING INDEX webhook_deliveries_by_time (first_at<?)",
    ),
    // numbers
    ("MIN(waits_since)", "SEARCH queue_entries USING INDEX queue_waiting"),
    (
        "ORDER BY started_at DESC",
        "SEARCH queue_entries USING COVERING INDEX queue_latest_claims (started_at>?",
    ),
    // of each group the first entry alone is read
    ("FROM queue_groups g WHERE", "SCAN g"),
    ("FROM queue_groups g WHERE", "SEARCH q USING INDEX queue_claimable (user_id=? AND team_id=?"),
    ("WHERE held IS NOT NULL", "SCAN queue_entries USING INDEX queue_held"),
    (
        "AND unresolved_since IS NOT NULL GROUP BY provider",
        "SCAN queue_entries USING INDEX queue_in_slots",
    ),
    ("COUNT(*) FROM strays GROUP BY", "SCAN strays USING COVERING INDEX"),
    ("COUNT(*) FROM rechecks GROUP BY", "SCAN rechecks USING COVERING INDEX rechecks_due"),
    // results
    ("SELECT provider, MIN(next_at)", "SCAN results_due USING COVERING INDEX results_due_next"),
    ("+r.next_at <= ?2 AND", "SEARCH r USING INDEX results_due_deadline (provider=?)"),
    ("+r.next_at <= ?2 AND", "SEARCH j USING INTEGER PRIMARY KEY (rowid=?)"),
    ("WHERE r.entry_id = ?1", "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"),
    ("q.completed_at <= ?1", "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"),
];

#[tokio::test]
async fn each_statement_finds_its_rows_by_the_index_that_is_there_for_it() {
    let bench = Bench::new().await;
    let (raw, statements) = (bench.raw(), statements());
    for (part, expected) in USES {
        let plans: Vec<_> = statements.iter().filter(|sql| sql.contains(part)).collect();
        assert!(!plans.is_empty(), "no statement has {part}");
        let uses =
            plans.iter().any(|sql| plan(&raw, sql).iter().any(|line| line.starts_with(expected)));
        let plans: Vec<_> = plans.iter().map(|sql| plan(&raw, sql)).collect();
        assert!(uses, "{part}: expected {expected}, found {plans:#?}");
    }
}

#[test]
fn each_index_is_there_for_a_statement() {
    let used = |index: &&str| USES.iter().any(|(_, plan)| plan.contains(&format!("INDEX {index}")));
    let indexes = indexes();
    let unused: Vec<_> = indexes.keys().filter(|index| !used(index)).collect();
    assert_eq!(unused, [&""; 0]);
    // One that is dropped is named twice.
    let dropped = SCHEMA.matches("DROP INDEX ").count();
    assert_eq!(indexes.len(), SCHEMA.matches("INDEX ").count() - 2 * dropped);
}

/// Tables that grow with every job that ever was.
const GROWING: [&str; 9] =
    ["jobs", "queue_entries", "events", "approvals", "job_inputs", "audit", "j", "q", "a"];

/// The statements that walk through one of them, of which the newest event is the first row.
const WALKS: [&str; 1] = ["FROM events ORDER BY event_id DESC LIMIT 1"];

#[tokio::test]
async fn no_other_statement_walks_through_what_grows_with_history() {
    let bench = Bench::new().await;
    let raw = bench.raw();
    let indexes = indexes();
    let mut walks: Vec<&str> = Vec::new();
    for sql in statements() {
        for line in plan(&raw, &sql) {
            let Some(scanned) = line.strip_prefix("SCAN ") else { continue };
            let table = scanned.split(' ').next().unwrap_or_default();
            let index = scanned.rsplit(' ').next().unwrap_or_default();
            let leaves_rows_out = indexes.get(index).copied().unwrap_or(false);
            if !GROWING.contains(&table) || leaves_rows_out {
                continue;
            }
            let known = WALKS.iter().find(|part| sql.contains(**part));
            walks.push(known.unwrap_or_else(|| panic!("{line}: {sql}")));
        }
    }
    walks.sort_unstable();
    let mut expected = WALKS;
    expected.sort_unstable();
    assert_eq!(walks, expected, "what is no longer there is no longer allowed");
}

#[tokio::test]
async fn no_index_is_built_and_no_page_is_sorted_for_a_single_call() {
    let bench = Bench::new().await;
    let raw = bench.raw();
    // The rules are a handful, suspects are those of ten minutes, and slots are few.
    let sorted = ["FROM approval_rules", "suspect_since >= ?2", "in_slot AND"];
    for sql in statements() {
        let plan = plan(&raw, &sql).join(", ");
        assert!(!plan.contains("AUTOMATIC"), "{plan}: {sql}");
        let sorts = plan.contains("TEMP B-TREE") && !sorted.iter().any(|part| sql.contains(part));
        assert!(!sorts, "{plan}: {sql}");
    }
}

/// What a step writes, one statement for each table.
const UPDATES: [&str; 3] = [
    "UPDATE OR FAIL jobs SET status = ?2 WHERE entry_id = ?1",
    "UPDATE OR FAIL queue_entries SET status = ?2, deadline = ?3 WHERE entry_id = ?1",
    "UPDATE OR FAIL approvals SET status = ?2 WHERE approval_id = ?1",
];

#[tokio::test]
async fn what_a_step_writes_makes_no_table_and_needs_no_copy_of_the_pages() {
    /// A constraint that aborts: the statement must be able to undo itself.
    const ABORT: i64 = 2;
    let bench = Bench::new().await;
    let raw = bench.raw();
    let inserts = statements().into_iter().filter(|sql| sql.starts_with("INSERT OR FAIL"));
    let hot: Vec<String> = inserts.chain(UPDATES.map(str::to_owned)).collect();
    assert!(hot.len() >= 7, "the statements are written in another way: {hot:#?}");
    for sql in &hot {
        let mut statement = raw.prepare(&format!("EXPLAIN {sql}")).unwrap();
        let nothing = vec![Null; statement.parameter_count()];
        let mut rows = statement.query(rusqlite::params_from_iter(nothing)).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (opcode, p2): (String, i64) = (row.get(1).unwrap(), row.get(3).unwrap());
            assert_ne!(opcode, "OpenEphemeral", "a list of words becomes a table: {sql}");
            let aborts = matches!(&*opcode, "Halt" | "HaltIfNull") && p2 == ABORT;
            assert!(!aborts, "{opcode} {:?}: {sql}", row.get::<_, Option<String>>(5));
        }
    }
}

#[test]
fn every_call_has_its_statements_here() {
    let statements = statements();
    let count = |verb| statements.iter().filter(|sql| sql.starts_with(verb)).count();
    let counts = ["SELECT", "UPDATE", "INSERT", "DELETE"].map(count);
    assert!(counts >= [40, 20, 10, 3], "the source is written in another way: {counts:?}");
    assert!(statements.iter().all(|sql| !sql.contains('\n') || sql.contains("schema_migrations")));
}
