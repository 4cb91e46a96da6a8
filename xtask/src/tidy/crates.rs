//! Checks of the manifests: who may use whom, and what every crate inherits.
//!
//! Promises: the allowed edges are written down once, here, and compared with what cargo itself
//! reads. Leaves out: versions, licences and duplicates; deny.toml judges those.

use cargo_metadata::{DependencyKind, MetadataCommand};

use super::tree::{File, Tree};
use super::{Fault, places, refuse};

/// Who may use which crate of this workspace. Nothing depends upwards.
const EDGES: [(&str, &[&str]); 8] = [
    ("st-log", &[]),
    ("st-http", &["st-log"]),
    ("st-store", &["st-log"]),
    ("st-workers", &["st-log", "st-http", "st-store"]),
    ("st-api", &["st-store"]),
    ("st-server", &["st-api", "st-log", "st-http", "st-store", "st-workers"]),
    ("st-testkit", &["st-log", "st-store", "st-workers"]),
    ("xtask", &[]),
];

/// The crate that only tests may use; it, in turn, is held by `EDGES`.
const TESTS_ONLY: &str = "st-testkit";

/// A dependency of one crate of the workspace on another.
#[derive(Debug, Clone)]
struct Edge {
    from: String,
    to: String,
    in_tests: bool,
}

fn real_edges() -> Vec<Edge> {
    let mut command = MetadataCommand::new();
    let manifest = Tree::real().root.join("Cargo.toml");
    let metadata = command.manifest_path(manifest).no_deps().exec().expect("cargo metadata");
    metadata
        .packages
        .iter()
        .flat_map(|package| package.dependencies.iter().map(move |to| (package, to)))
        .filter(|(_, to)| to.path.is_some())
        .map(|(package, to)| Edge {
            from: package.name.to_string(),
            to: to.name.clone(),
            in_tests: to.kind == DependencyKind::Development,
        })
        .collect()
}

fn forbidden(edges: &[Edge], tree: &Tree) -> Vec<Fault> {
    edges
        .iter()
        .filter(|edge| {
            let allowed = EDGES
                .into_iter()
                .find(|(from, _)| *from == edge.from)
                .is_some_and(|(_, to)| to.contains(&edge.to.as_str()));
            let test_double = edge.in_tests && edge.to == TESTS_ONLY && edge.from != "xtask";
            !allowed && !test_double
        })
        .map(|edge| {
            let suffix = format!("{}/Cargo.toml", edge.from);
            let manifest = tree.files.iter().find(|file| file.path.ends_with(&suffix));
            let (path, text) =
                manifest.map_or((suffix.as_str(), ""), |file| (&file.path, &file.text));
            let line = text.lines().position(|line| line.starts_with(&edge.to)).unwrap_or(0) + 1;
            let remedy = format!(
                "remove it: {} may not use {}; nothing depends upwards or on test code",
                edge.from, edge.to
            );
            Fault::new(path, line, remedy)
        })
        .collect()
}

fn not_inheriting(tree: &Tree) -> Vec<Fault> {
    const INHERITED: [(&str, &str); 4] = [
        ("package", "edition.workspace = true"),
        ("package", "rust-version.workspace = true"),
        ("package", "license.workspace = true"),
        ("lints", "workspace = true"),
    ];
    let mut faults = Vec::new();
    // A peer that a benchmark builds is a workspace of its own, because it cannot be in ours.
    let ours =
        |file: &&File| file.path.ends_with("/Cargo.toml") && !file.path.contains("/benches/");
    for file in tree.files.iter().filter(ours) {
        for (table, line) in INHERITED {
            if !table_lines(&file.text, table).any(|(_, found)| found == line) {
                let remedy = format!("add `{line}` to [{table}]");
                faults.push(Fault::new(&file.path, 1, remedy));
            }
        }
    }
    faults
}

/// The dependencies from outside in the workspace's one table of versions, with their lines.
pub(super) fn workspace_dependencies(tree: &Tree) -> Vec<(usize, String)> {
    let manifest = tree.get("Cargo.toml").unwrap_or_default();
    table_lines(manifest, "workspace.dependencies")
        .filter(|(_, line)| !line.starts_with('#') && !line.contains("path = "))
        .filter_map(|(number, line)| {
            line.split_once(" = ").map(|(name, _)| (number, name.to_owned()))
        })
        .collect()
}

/// The lines of one table of a manifest, with their numbers.
fn table_lines<'a>(manifest: &'a str, table: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let header = format!("[{table}]");
    (1..)
        .zip(manifest.lines().map(str::trim_end))
        .skip_while(move |(_, line)| *line != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
}

#[test]
fn crates_use_only_what_they_may() {
    let edges = real_edges();
    assert!(edges.len() > 10, "cargo metadata named only {} edges", edges.len());
    refuse(&forbidden(&edges, &Tree::real()));
}

#[test]
fn every_crate_inherits_what_all_share() {
    refuse(&not_inheriting(&Tree::real()));
}

#[test]
fn an_edge_upwards_or_to_test_code_is_refused() {
    let edge = |from: &str, to: &str, in_tests| {
        let text = format!("[dependencies]\n{to}.workspace = true\n");
        let tree = Tree::sample(&format!("crates/{from}/Cargo.toml"), &text);
        forbidden(&[Edge { from: from.to_owned(), to: to.to_owned(), in_tests }], &tree)
    };
    assert_eq!(edge("st-workers", "st-store", false), []);
    assert_eq!(edge("st-store", "st-testkit", true), []);
    for (from, to, in_tests) in [
        ("st-log", "st-store", false),
        ("st-store", "st-http", true),
        ("st-store", "st-testkit", false),
        ("xtask", "st-testkit", true),
        ("st-new", "st-log", false),
    ] {
        let found = places(&edge(from, to, in_tests));
        assert_eq!(found, [format!("crates/{from}/Cargo.toml:2")], "{from} -> {to}");
    }
}

#[test]
fn a_manifest_on_its_own_is_refused() {
    let shared = "[package]\nedition.workspace = true\nrust-version.workspace = true\n\
                  license.workspace = true\n[lints]\nworkspace = true\n";
    let faults = |text: &str| not_inheriting(&Tree::sample("crates/a/Cargo.toml", text)).len();
    assert_eq!(faults(shared), 0);
    assert_eq!(faults(&shared.replace("edition.workspace = true", "edition = \"2021\"")), 1);
    assert_eq!(faults(&shared.replace("[lints]", "[other]")), 1);
}

#[test]
fn the_table_of_versions_is_read_without_our_own_crates() {
    let text = "[workspace]\nx = 1\n[workspace.dependencies]\n# why\na = \"1\"\n\
                st-b = { path = \"b\" }\nc-d = { version = \"2\" }\n[workspace.lints.rust]\ne = 1\n";
    let tree = Tree::sample("Cargo.toml", text);
    assert_eq!(workspace_dependencies(&tree), [(5, "a".to_owned()), (7, "c-d".to_owned())]);
    assert!(workspace_dependencies(&Tree::real()).len() > 20);
}
