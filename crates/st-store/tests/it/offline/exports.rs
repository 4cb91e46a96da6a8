//! A database as JSON lines, and back.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;
use st_store::{Actor, BudgetAction, BudgetLimit, Cost, Error, NewBudget, Period, Scope, offline};
use st_testkit::suite::{at, claiming};

use super::super::bench::{Bench, folder};
use super::{filled, names};

fn export(database: &Path) -> String {
    let mut out = Vec::new();
    offline::export(database, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn import(database: &Path, text: &str) -> st_store::Result<offline::Restored> {
    offline::import(database, Path::new("x.jsonl"), text.as_bytes(), at(60))
}

/// All rows of all tables, but for those that tell which life of the database this is.
fn rows(database: &Path) -> Vec<String> {
    let raw = Connection::open(database).unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' \
               AND name NOT IN ('life', 'epochs', 'schema_migrations', 'sqlite_stat1') ORDER BY name";
    let mut tables = raw.prepare(sql).unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut found = Vec::new();
    for table in tables {
        let mut statement = raw.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let cells: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
            found.push(format!("{table} {cells:?}"));
        }
    }
    found.sort();
    found
}

async fn full() -> Bench {
    let bench = filled().await;
    let budget = NewBudget {
        scope: Scope::All,
        limit: BudgetLimit::Cost { period: Period::Daily, amount: Cost::from_usd(2.5) },
        action: BudgetAction::Warn,
    };
    bench.store.add_budget(budget, &Actor::Operator).await.unwrap();
    bench.store.pause(Scope::All, Some("a \"reason\"\n☃"), &Actor::Operator).await.unwrap();
    bench
}

#[tokio::test]
async fn what_is_exported_and_imported_has_the_same_rows_in_another_life() {
    let bench = full().await;
    let text = export(&bench.path());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(r#"{"st_export":1,"#), "{}", lines[0]);
    assert!(lines.last().unwrap().starts_with(r#"{"rows":"#), "{}", lines.last().unwrap());
    let kept = bench.closed().await;
    let before = rows(&kept.path().join("cloud.db"));
    assert!(before.len() > 40, "{before:?}");
    let elsewhere = folder();
    let path = elsewhere.path().join("cloud.db");
    let imported = import(&path, &text).unwrap();
    assert_eq!((imported.jobs, imported.replaced, imported.compared), (6, None, true));
    assert_eq!(rows(&path), before);
    assert_eq!(names(elsewhere.path()), ["cloud.db"]);
    let audit = offline::audit(&path).unwrap();
    assert_eq!(audit.findings, [], "the numbers that the database keeps are right");
    let bench = Bench::open_in(elsewhere, at(120)).await;
    assert!(bench.store.epoch().0 > 1, "epoch {}", bench.store.epoch());
    bench.store.resume(&Scope::All, &Actor::Operator).await.unwrap();
    assert_eq!(bench.store.claim(&claiming(100)).await.unwrap().claims.len(), 2);
}

#[tokio::test]
async fn a_text_that_is_damaged_keeps_nothing_from_being_imported() {
    let bench = full().await;
    bench.damage("UPDATE jobs SET error_message = CAST(x'c328' AS TEXT) WHERE entry_id = 4");
    let text = export(&bench.path());
    let kept = bench.closed().await;
    let elsewhere = folder();
    let path = elsewhere.path().join("cloud.db");
    import(&path, &text).unwrap();
    let raw = Connection::open(&path).unwrap();
    let sql = "SELECT hex(error_message) FROM jobs WHERE entry_id = 4";
    let found: String = raw.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(found, "C328");
    drop(kept);
}

#[tokio::test]
async fn a_part_of_an_export_or_a_changed_one_is_not_imported() {
    let bench = full().await;
    let text = export(&bench.path());
    let kept = bench.closed().await;
    let path = kept.path().join("cloud.db");
    let before = fs::read(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |index: usize| {
        let mut lines = lines.clone();
        lines.remove(index);
        lines.concat()
    };
    let with = |index: usize, line: &str| {
        let mut lines = lines.clone();
        lines.insert(index, line);
        lines.concat()
    };
    for (bad, said) in [
        (String::new(), "line 1: nothing is there"),
        ("{}\n".to_owned(), "line 1: it is no line of an export"),
        (without(0), "line 1: it does not begin as an export"),
        (without(5), "it was changed, or a part of it is missing"),
        (without(lines.len() - 1), "the end is missing"),
        (text.chars().take(text.len() / 2).collect(), "it is no line of an export"),
        (text.replacen("user-2", "user-3", 1), "it was changed"),
        (with(3, lines[0]), "line 4: another export begins here"),
        (format!("{text}{text}"), "it goes on after its end"),
        (with(1, "{\"table\":\"x\",\"row\":{}}\n"), "line 2: no table \"x\""),
        (
            with(1, "{\"table\":\"jobs\",\"row\":{\"x\":1}}\n"),
            "line 2: table \"jobs\" has no column \"x\"",
        ),
        (with(1, lines[1]), "line 3: "),
        (text.replacen("\"st_export\":1", "\"st_export\":2", 1), "does not begin as an export"),
    ] {
        let error = import(&path, &bad).unwrap_err().to_string();
        assert!(error.starts_with("x.jsonl cannot be used") && error.contains(said), "{error}");
        assert!(before == fs::read(&path).unwrap(), "the database is what it was");
        assert_eq!(names(kept.path()), ["cloud.db"], "nothing is left of the attempt");
    }
}

#[tokio::test]
async fn an_export_of_a_schema_that_is_not_known_is_refused() {
    let bench = full().await;
    let text = export(&bench.path());
    let first = text.lines().next().unwrap();
    let header: serde_json::Value = serde_json::from_str(first).unwrap();
    let elsewhere = folder();
    let path = elsewhere.path().join("cloud.db");
    let mut newer = header.clone();
    newer["schema"].as_array_mut().unwrap().push(serde_json::json!([999, "00"]));
    let error = import(&path, &text.replacen(first, &newer.to_string(), 1)).unwrap_err();
    assert!(matches!(error, Error::SchemaTooNew { found: 999, .. }), "{error}");
    let mut other = header;
    other["schema"][0][1] = "00".into();
    let error = import(&path, &text.replacen(first, &other.to_string(), 1)).unwrap_err();
    assert!(matches!(error, Error::SchemaChanged { version: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_is_in_use_is_not_replaced_by_an_import() {
    let bench = full().await;
    let text = export(&bench.path());
    let error = import(&bench.path(), &text).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
}

#[tokio::test]
async fn an_import_keeps_what_it_replaces() {
    let bench = full().await;
    let text = export(&bench.path());
    let kept = bench.closed().await;
    let path = kept.path().join("cloud.db");
    let replaced = import(&path, &text).unwrap().replaced.unwrap();
    assert_eq!(rows(&replaced), rows(&path));
}
