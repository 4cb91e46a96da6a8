//! Checks of single Rust files: docs, size, names, and what may be written where.
//!
//! Promises: comments and literals never count as code, except in the SQL check, which looks for
//! literals. Leaves out: types and resolved imports.

use super::text::{Keep, blank, has_word, without_tests};
use super::tree::{File, Tree};
use super::{Fault, crates, places, refuse};

const MAX_LINES: usize = 600;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "misc"];

/// What the domain model may name beside itself: no IO, no runtime, no database.
const MODEL_MAY_NAME: [&str; 8] =
    ["serde", "serde_json", "jiff", "uuid", "thiserror", "regex-lite", "ipnet", "st-log"];

const HYPER: [&str; 3] = ["hyper", "hyper-rustls", "hyper-util"];

const SQL: [&str; 8] = [
    "SELECT ",
    "INSERT INTO ",
    "INSERT OR ",
    "UPDATE ",
    "DELETE FROM ",
    "CREATE TABLE ",
    "CREATE INDEX ",
    "PRAGMA ",
];

/// One fault per line on which `bad` finds something.
fn each_line(file: &File, code: &str, bad: impl Fn(&str) -> Option<String>) -> Vec<Fault> {
    (1..)
        .zip(code.lines())
        .filter_map(|(number, line)| bad(line).map(|what| Fault::new(&file.path, number, what)))
        .collect()
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn product_code(file: &File) -> String {
    if is_test_file(&file.path) {
        return String::new();
    }
    without_tests(&blank(&file.text, Keep::Code))
}

fn names_crate(line: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    has_word(line, &format!("{name}::")) || has_word(line, &format!("use {name}"))
}

fn undocumented(tree: &Tree) -> Vec<Fault> {
    tree.rust()
        .filter(|file| {
            let readme = file.path.ends_with("/lib.rs")
                && file.text.starts_with("#![doc = include_str!(\"../README.md\")]");
            !file.text.starts_with("//! ") && !readme
        })
        .map(|file| {
            let remedy = "start with `//!`: what it is, what it promises, what it leaves out";
            Fault::new(&file.path, 1, remedy)
        })
        .collect()
}

fn oversized(tree: &Tree) -> Vec<Fault> {
    tree.rust()
        .filter(|file| file.text.lines().count() > MAX_LINES)
        .map(|file| {
            let remedy = format!("split by noun; a file has at most {MAX_LINES} lines");
            Fault::new(&file.path, MAX_LINES + 1, remedy)
        })
        .collect()
}

fn badly_named(tree: &Tree) -> Vec<Fault> {
    tree.rust()
        .filter_map(|file| {
            let remedy = if file.path.ends_with("/mod.rs") {
                "name it after its directory, beside it: `foo.rs` and `foo/`"
            } else if file.path.split(['/', '.']).any(|part| EMPTY_NAMES.contains(&part)) {
                "name it after what it does and put it beside its user"
            } else {
                return None;
            };
            Some(Fault::new(&file.path, 1, remedy))
        })
        .collect()
}

fn impure_model(tree: &Tree) -> Vec<Fault> {
    // Addresses are data; sockets are not.
    const IO: [&str; 6] =
        ["std::fs", "std::io", "TcpStream", "TcpListener", "UdpSocket", "std::process"];
    let foreign: Vec<String> = crates::workspace_dependencies(tree)
        .into_iter()
        .map(|(_, name)| name)
        .filter(|name| !MODEL_MAY_NAME.contains(&name.as_str()))
        .collect();
    let model = "crates/st-store/src/model";
    tree.rust()
        .filter(|file| {
            file.path.starts_with(&format!("{model}/")) || file.path == format!("{model}.rs")
        })
        .flat_map(|file| {
            each_line(file, &product_code(file), |line| {
                let io = IO.into_iter().find(|name| has_word(line, name));
                let crates = || foreign.iter().map(String::as_str);
                io.or_else(|| crates().find(|name| names_crate(line, name))).map(|name| {
                    format!("the model is pure: take `{name}` outside of st_store::model")
                })
            })
        })
        .collect()
}

fn stray_sql(tree: &Tree) -> Vec<Fault> {
    tree.rust()
        .filter(|file| file.path.starts_with("crates/"))
        .filter(|file| !file.path.starts_with("crates/st-store/src/sqlite"))
        // A test may damage a database in ways for which the store has no method, and a benchmark fill
        // one with more rows than could be submitted.
        .filter(|file| !is_test_file(&file.path))
        .filter(|file| !file.path.starts_with("crates/st-store/benches/"))
        .flat_map(|file| {
            each_line(file, &blank(&file.text, Keep::CodeAndLiterals), |line| {
                SQL.into_iter()
                    .find(|word| has_word(line, word))
                    .map(|_| "move the SQL below crates/st-store/src/sqlite".to_owned())
            })
        })
        .collect()
}

fn stray_hyper(tree: &Tree) -> Vec<Fault> {
    tree.rust()
        .filter(|file| !file.path.starts_with("crates/st-http/"))
        .filter(|file| !file.path.starts_with("crates/st-server/src/http/listen"))
        // The client of the browser's driver takes its connector from outside.
        .filter(|file| file.path != "crates/st-server/tests/page/driver.rs")
        .flat_map(|file| {
            each_line(file, &blank(&file.text, Keep::Code), |line| {
                HYPER.into_iter().find(|name| names_crate(line, name)).map(|name| {
                    format!("use st-http, or move it to listen.rs: `{name}` is named only there")
                })
            })
        })
        .collect()
}

fn stray_status_codes(tree: &Tree) -> Vec<Fault> {
    tree.rust()
        .filter(|file| file.path.starts_with("crates/st-server/src/"))
        .filter(|file| file.path != "crates/st-server/src/http/problem.rs")
        .flat_map(|file| {
            each_line(file, &product_code(file), |line| {
                // That a client has the answer already is no error.
                has_word(&line.replace("StatusCode::NOT_MODIFIED", ""), "StatusCode::")
                    .then(|| "let problem.rs choose the status code".to_owned())
            })
        })
        .collect()
}

fn bad_test_habits(tree: &Tree) -> Vec<Fault> {
    tree.rust().flat_map(habits_of).collect()
}

fn habits_of(file: &File) -> Vec<Fault> {
    const ATTRIBUTES: [(&str, &str); 2] = [
        ("#[ignore", "skip loudly at run time unless ST_SLOW=1 is set"),
        ("#[should_panic", "assert on the value or the error"),
    ];
    let code = blank(&file.text, Keep::Code);
    let mut faults = each_line(file, &code, |line| {
        let found = ATTRIBUTES.into_iter().find(|(attribute, _)| line.contains(attribute));
        found.map(|(attribute, instead)| format!("instead of `{attribute}]`, {instead}"))
    });
    // A line that `product_code` blanked is a line of a test.
    let product = product_code(file);
    let mut product_lines = product.lines();
    let tests: Vec<&str> = code
        .lines()
        .map(|line| if product_lines.next() == Some(line) { "" } else { line })
        .collect();
    faults.extend(each_line(file, &tests.join("\n"), |line| {
        has_word(line, "sleep(").then(|| "wait for the thing itself, or advance paused time".into())
    }));
    faults
}

#[test]
fn every_file_says_what_it_is() {
    refuse(&undocumented(&Tree::real()));
}

#[test]
fn no_file_is_oversized() {
    refuse(&oversized(&Tree::real()));
}

#[test]
fn every_file_name_says_something() {
    refuse(&badly_named(&Tree::real()));
}

#[test]
fn the_model_is_pure() {
    refuse(&impure_model(&Tree::real()));
}

#[test]
fn sql_stands_only_in_the_sqlite_store() {
    refuse(&stray_sql(&Tree::real()));
}

#[test]
fn hyper_is_named_only_where_it_is_wrapped() {
    refuse(&stray_hyper(&Tree::real()));
}

#[test]
fn only_problem_rs_knows_status_codes() {
    refuse(&stray_status_codes(&Tree::real()));
}

#[test]
fn tests_neither_sleep_nor_hide() {
    refuse(&bad_test_habits(&Tree::real()));
}

mod on_bad_samples {
    use super::{
        MAX_LINES, bad_test_habits, badly_named, impure_model, oversized, places, stray_hyper,
        stray_sql, stray_status_codes, undocumented,
    };
    use crate::tidy::Fault;
    use crate::tidy::tree::{File, Tree};

    type Check = fn(&Tree) -> Vec<Fault>;

    fn found(check: Check, path: &str, text: &str) -> Vec<String> {
        places(&check(&Tree::sample(path, text)))
    }

    fn accepts(check: Check, path: &str, text: &str) {
        assert_eq!(found(check, path, text), [""; 0], "{path}: {text}");
    }

    #[test]
    fn a_file_without_docs_is_refused() {
        assert_eq!(found(undocumented, "a/src/x.rs", "use a;\n//! late"), ["a/src/x.rs:1"]);
        let readme = "#![doc = include_str!(\"../README.md\")]";
        accepts(undocumented, "a/src/lib.rs", readme);
        assert_eq!(found(undocumented, "a/src/x.rs", readme), ["a/src/x.rs:1"]);
    }

    #[test]
    fn a_line_too_many_is_refused() {
        accepts(oversized, "x.rs", &"\n".repeat(MAX_LINES));
        assert_eq!(found(oversized, "x.rs", &"\n".repeat(MAX_LINES + 1)), ["x.rs:601"]);
    }

    #[test]
    fn an_empty_name_is_refused() {
        for path in ["a/src/utils.rs", "a/src/helpers/x.rs", "a/src/common.rs", "a/src/x/mod.rs"] {
            assert_eq!(found(badly_named, path, ""), [format!("{path}:1")]);
        }
        accepts(badly_named, "a/src/uncommon.rs", "");
    }

    #[test]
    fn a_model_that_does_io_is_refused() {
        let sample = |text: &str| {
            let path = "crates/st-store/src/model/job.rs";
            let mut tree = Tree::sample(path, text);
            let table = "[workspace.dependencies]\nrusqlite = \"1\"\nserde = \"1\"\n";
            tree.files.push(File { path: "Cargo.toml".to_owned(), text: table.to_owned() });
            places(&impure_model(&tree))
        };
        let bad = ["crates/st-store/src/model/job.rs:2"];
        assert_eq!(sample("use std::fmt;\nuse rusqlite::Row;"), bad);
        assert_eq!(sample("\nfn x(row: &rusqlite::Row) {}"), bad);
        assert_eq!(sample("\nuse std::fs;"), bad);
        let fine = "use serde::Serialize;\n// rusqlite::Row\n#[cfg(test)]\nuse rusqlite::Row;";
        assert_eq!(sample(fine), [""; 0]);
    }

    #[test]
    fn sql_outside_of_the_store_is_refused() {
        let text = "// SELECT 1\nlet a = \"SELECT 1\";\nlet b = \"\n  UPDATE jobs SET\";";
        let path = "crates/st-server/src/x.rs";
        assert_eq!(found(stray_sql, path, text), [format!("{path}:2"), format!("{path}:4")]);
        accepts(stray_sql, "crates/st-store/src/sqlite/jobs.rs", text);
        accepts(stray_sql, "crates/st-server/tests/it/start.rs", text);
        accepts(stray_sql, "crates/st-store/benches/flat/world.rs", text);
    }

    #[test]
    fn hyper_outside_of_its_wrapper_is_refused() {
        let text = "use hyper_util::rt;\n/// hyper::Body\nfn x(b: hyper::Body) {}";
        let path = "crates/st-server/src/app.rs";
        assert_eq!(found(stray_hyper, path, text), [format!("{path}:1"), format!("{path}:3")]);
        accepts(stray_hyper, "crates/st-server/src/http/listen.rs", text);
        accepts(stray_hyper, "crates/st-server/src/http/listen/connection.rs", text);
        accepts(stray_hyper, "crates/st-http/src/tls.rs", text);
    }

    #[test]
    fn a_status_code_in_a_handler_is_refused() {
        let text = "let a = StatusCode::OK;\n#[cfg(test)]\nmod tests {\n    StatusCode::OK\n}";
        let path = "crates/st-server/src/api/jobs.rs";
        assert_eq!(found(stray_status_codes, path, text), [format!("{path}:1")]);
        accepts(stray_status_codes, "crates/st-server/src/http/problem.rs", text);
        accepts(stray_status_codes, path, "StatusCode::NOT_MODIFIED.into_response()");
    }

    #[test]
    fn a_test_that_sleeps_or_hides_is_refused() {
        let path = "crates/st-http/tests/it/retry.rs";
        let text = "#[test]\n#[ignore = \"slow\"]\n#[should_panic]\nfn x() {\n    sleep(y);\n}";
        let bad = [format!("{path}:2"), format!("{path}:3"), format!("{path}:5")];
        assert_eq!(found(bad_test_habits, path, text), bad);

        let path = "crates/st-testkit/src/faults.rs";
        let text = "time::sleep(delay);\n#[cfg(test)]\nmod tests {\n    time::sleep(y);\n}";
        assert_eq!(found(bad_test_habits, path, text), [format!("{path}:4")]);
    }
}
