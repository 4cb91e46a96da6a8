//! The families, and the files and documents that name them.

#![expect(clippy::float_cmp, reason = "these numbers are read back exactly as they were written")]

pub(crate) mod exposition;
mod labels;
mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;
use st_store::{Scale, Timings};

use self::exposition::Exposition;
use self::promql::{Matcher, Selector};
use super::family::{Family, Kind, counter, gauge, histogram};
use super::page::{Format, Page, series};
use super::{GROUPS, Group};

const ALERTS: &str = include_str!("../../../../contrib/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../../../contrib/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../../../contrib/grafana/st-server.json");
const OPERATION: &str = include_str!("../../../../docs/operation.md");

fn families() -> BTreeMap<&'static str, &'static Family> {
    let all = GROUPS.iter().flat_map(|Group { families, .. }| families.iter().copied());
    all.map(|family| (family.name, family)).collect()
}

#[test]
fn names_and_helps_are_as_prometheus_wants_them() {
    let count: usize = GROUPS.iter().map(|group| group.families.len()).sum();
    assert_eq!(families().len(), count, "no two families share a name");
    for (name, family) in families() {
        let is_word =
            |text: &str| text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        assert!(is_word(name) && family.labels.iter().all(|label| is_word(label)), "{name}");
        assert!(!family.help.is_empty() && !family.help.ends_with('.'), "{name}");
        // The original's names stay as they are.
        if name.starts_with("simpletuner_") {
            continue;
        }
        assert!(name.starts_with("st_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        if family.kind == Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name} counts durations");
        }
    }
}

/// One of each kind, with what has to be escaped.
fn sample() -> Page {
    static COUNTER: Family = counter("a_total", &["x", "y"], "first\\ \nline");
    static GAUGE: Family = gauge("b", &[], "second");
    static EMPTY: Family = gauge("c", &["x"], "third");
    static HISTOGRAM: Family = histogram("d_seconds", &["x"], "fourth");
    let timings = Timings::new(Scale::Waits);
    timings.observe(Duration::from_secs(2));
    timings.observe(Duration::from_secs(1 << 20));
    let mut page = Page::default();
    page.add(&COUNTER, [series(["plain", "\"\\\n}, "], 7_u64)]);
    page.one(&GAUGE, -0.5);
    page.add(&EMPTY, []);
    page.add(&HISTOGRAM, [series(["1"], timings.read())]);
    page
}

#[test]
fn another_reader_reads_back_what_was_counted() {
    let read = Exposition::read(&sample().text(Format::Prometheus).unwrap());
    assert_eq!(read.value("a_total", [("x", "plain"), ("y", "\"\\\n}, ")]), 7.0);
    assert_eq!(read.value("b", []), -0.5);
    assert!(!read.has("c") && read.types["c"] == "gauge");
    assert_eq!(read.value("d_seconds_bucket", [("x", "1"), ("le", "1")]), 0.0);
    assert_eq!(read.value("d_seconds_bucket", [("x", "1"), ("le", "5")]), 1.0);
    assert_eq!(read.value("d_seconds_count", [("x", "1")]), 2.0);
    assert_eq!(read.value("d_seconds_sum", [("x", "1")]), 1_048_578.0);
}

#[test]
fn openmetrics_has_its_own_end_and_names_counters_without_their_suffix() {
    let text = sample().text(Format::OpenMetrics).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE a counter\n") && text.contains("\na_total{x="), "{text}");
}

/// What is wrong with the metrics that an expression names.
fn faults(expression: &str, families: &BTreeMap<&str, &Family>) -> Vec<String> {
    let (selectors, grouped) = promql::read(expression);
    let mut faults = Vec::new();
    let mut known: BTreeSet<&str> = BTreeSet::from(["job", "instance", "le"]);
    for Selector { name, labels } in &selectors {
        // Of the scrape itself.
        if name == "up" {
            continue;
        }
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let family = families.get(name.strip_suffix(suffix)?)?;
            (family.kind == Kind::Histogram).then_some(family)
        });
        let plain = families.get(name.as_str()).filter(|it| it.kind != Kind::Histogram);
        let Some(family) = plain.or(of_histogram) else {
            faults.push(format!("there is no {name}"));
            continue;
        };
        known.extend(family.labels);
        let labels = labels.iter().filter(|it| !matches!(it.label.as_str(), "job" | "instance"));
        for Matcher { label, values } in labels {
            if !family.labels.contains(&label.as_str()) {
                faults.push(format!("{name} has no {label}"));
                continue;
            }
            let known = labels::values(family.name, label);
            let unknown = values.iter().filter(|value| !known.contains(&value.as_str()));
            faults.extend(unknown.map(|value| format!("{name} has no {label} {value:?}")));
        }
    }
    let unknown = grouped.iter().filter(|label| !known.contains(label.as_str()));
    faults.extend(unknown.map(|label| format!("no metric there has {label}")));
    if selectors.is_empty() {
        faults.push("it names no metric".to_owned());
    }
    faults
}

/// The alerts, each with its name.
fn alerts() -> Vec<(String, Json)> {
    let file: Json = serde_yaml::from_str(ALERTS).unwrap();
    let groups = file["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.map(|rule| (rule["alert"].as_str().unwrap().to_owned(), rule)).collect()
}

#[test]
fn each_alert_is_about_what_is_shown_and_says_what_to_do() {
    let families = families();
    assert!(alerts().len() > 10);
    for (name, rule) in alerts() {
        let found = faults(rule["expr"].as_str().unwrap(), &families);
        assert!(found.is_empty(), "{name}: {found:?}");
        let text = |pointer: &str| rule.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
        let severity = text("/labels/severity");
        assert!(matches!(severity, "critical" | "warning" | "info"), "{name}: {severity}");
        assert!(!text("/annotations/summary").is_empty(), "{name}");
        assert!(text("/annotations/description").len() > 40, "{name} does not say what to do");
        let (file, heading) = text("/annotations/runbook").split_once('#').unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
        let document = std::fs::read_to_string(path).unwrap();
        let headings = document.lines().filter(|line| line.starts_with('#'));
        let anchors: Vec<String> = headings.map(anchor).collect();
        assert!(anchors.iter().any(|it| it == heading), "{name}: {file} has no {heading}");
        let own = ("docs/troubleshooting.md", name.to_lowercase());
        assert_eq!((file, heading.to_owned()), own, "its own heading, where its commands are");
        let row = format!("| `{name}` |");
        assert!(OPERATION.contains(&row), "docs/operation.md has no row for {name}");
    }
}

#[test]
fn each_alert_is_tested_while_it_is_silent_and_while_it_is_not() {
    let file: Json = serde_yaml::from_str(ALERTS_TEST).unwrap();
    let tests = file["tests"].as_array().unwrap().iter();
    let cases: Vec<&Json> =
        tests.flat_map(|test| test["alert_rule_test"].as_array().unwrap()).collect();
    for (name, _) in alerts() {
        let of_it = cases.iter().filter(|case| case["alertname"] == name.as_str());
        let expected: BTreeSet<bool> =
            of_it.map(|case| case["exp_alerts"].as_array().unwrap().is_empty()).collect();
        assert_eq!(expected, BTreeSet::from([false, true]), "{name} in alerts_test.yml");
    }
    let families = families();
    for test in file["tests"].as_array().unwrap() {
        for input in test["input_series"].as_array().unwrap() {
            let series = input["series"].as_str().unwrap();
            // Any provider, webhook or bucket does.
            let (selectors, _) = promql::read(series);
            let name = &selectors[0].name;
            let is_free = |it: &Matcher| !labels::is_free(&it.label);
            let plain = selectors[0].labels.iter().filter(|it| is_free(it));
            let plain: Vec<String> =
                plain.map(|it| format!("{}=\"{}\"", it.label, it.values.join("|"))).collect();
            let found = faults(&format!("{name}{{{}}}", plain.join(",")), &families);
            assert!(found.is_empty(), "{series}: {found:?}");
        }
    }
}

/// By which name a link leads to a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

/// All texts of this name, however deep.
fn texts<'j>(value: &'j Json, key: &str, into: &mut Vec<&'j str>) {
    match value {
        Json::Object(members) => {
            for (name, member) in members {
                if let Json::String(text) = member
                    && name == key
                {
                    into.push(text);
                } else {
                    texts(member, key, into);
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| texts(item, key, into)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn each_panel_of_the_dashboard_is_about_what_is_shown_and_by_the_chosen_data_source() {
    let dashboard: Json = serde_json::from_str(DASHBOARD).unwrap();
    let families = families();
    let mut expressions = Vec::new();
    texts(&dashboard["panels"], "expr", &mut expressions);
    assert!(expressions.len() > 40);
    for expression in expressions {
        // What Grafana puts in.
        let filled = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
        let found = faults(&filled, &families);
        assert!(found.is_empty(), "{expression}: {found:?}");
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each has a number of its own");
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").collect();
    let titles: Vec<_> = rows.iter().map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Now", "Jobs", "Queue", "Providers", "HTTP", "Store", "Tasks and process"]);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{}", panel["title"]);
    }
    assert_eq!(dashboard.pointer("/templating/list/0/type").unwrap(), "datasource");
}

#[test]
fn a_metric_that_was_renamed_is_noticed() {
    let families = families();
    for (expression, expected) in [
        ("st_jobz > 1", "there is no st_jobz"),
        ("sum by (nothing) (st_jobs)", "no metric there has nothing"),
        ("st_jobs{nothing=\"x\"}", "st_jobs has no nothing"),
        ("st_jobs{status=~\"queued|queuing\"}", "st_jobs has no status \"queuing\""),
        ("st_dispatch_seconds", "there is no st_dispatch_seconds"),
        ("st_jobs_count", "there is no st_jobs_count"),
        ("1 + 1", "it names no metric"),
    ] {
        assert_eq!(faults(expression, &families), [expected], "{expression}");
    }
    let good = "histogram_quantile(0.9, sum by (le) (rate(st_dispatch_seconds_bucket[5m]))) > 1e3 \
                and on () absent(st_jobs{status=~\"queued|failed\", job!=\"x{}\"})";
    assert_eq!(faults(good, &families), [""; 0]);
}

/// The table of families of the document.
fn table() -> String {
    let mut table = String::from("| family | type | labels | what it is |\n|---|---|---|---|\n");
    for Group { families, .. } in &GROUPS {
        for Family { name, kind, labels, help } in *families {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let row =
                format!("| `{name}` | {} | {} | {help} |\n", kind.as_str(), labels.join(", "));
            table.push_str(&row);
        }
    }
    table
}

#[test]
fn the_document_lists_all_families() {
    let table = table();
    assert!(OPERATION.contains(&table), "docs/operation.md must have this table:\n{table}");
}
