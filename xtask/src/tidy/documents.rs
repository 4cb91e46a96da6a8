//! Checks of the documents: links, sizes, the changelog, the list of dependencies.
//!
//! Promises: a link to a file that a fresh clone does not have is a fault, also when it leads out
//! of the tree. Leaves out: links into the web, and the headings that a link may name.

use std::path::{Component, Path, PathBuf};

use super::tree::{File, Tree};
use super::{Fault, crates, places, refuse};

/// Documents that must exist, and how many lines a reader will put up with.
const LIMITS: [(&str, usize); 4] = [
    ("README.md", 120),
    ("CONTRIBUTING.md", 80),
    ("docs/style.md", 120),
    (".github/workflows/ci.yml", 25),
];

const DEPENDENCIES: &str = "docs/dependencies.md";

fn broken_links(tree: &Tree) -> Vec<Fault> {
    let markdown = tree.files.iter().filter(|file| file.is_markdown());
    markdown.flat_map(|file| broken_links_of(file, &tree.root)).collect()
}

fn broken_links_of(file: &File, root: &Path) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut in_sample = false;
    for (number, line) in (1..).zip(file.text.lines()) {
        if line.trim_start().starts_with("```") {
            in_sample = !in_sample;
        }
        if in_sample {
            continue;
        }
        for target in targets(line) {
            // `::` is rustdoc's; it checks those itself.
            let elsewhere = ["://", "mailto:", "::"].iter().any(|mark| target.contains(mark));
            let path = target.split('#').next().unwrap_or_default();
            if elsewhere || path.is_empty() {
                continue;
            }
            if !resolves(root, &file.path, path) {
                let remedy = format!("link to a file of this repository, not to `{target}`");
                faults.push(Fault::new(&file.path, number, remedy));
            }
        }
    }
    faults
}

/// What `[text](target)` points to, outside of code spans.
fn targets(line: &str) -> Vec<String> {
    let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next())
        .map(str::to_owned)
        .collect()
}

/// Whether `target`, as written in `document`, is there and inside the tree.
fn resolves(root: &Path, document: &str, target: &str) -> bool {
    let directory = Path::new(document).parent().unwrap_or(Path::new(""));
    let mut inside = Vec::new();
    let joined = directory.join(target);
    for part in joined.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if inside.pop().is_none() {
                    return false;
                }
            }
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    root.join(inside.iter().collect::<PathBuf>()).exists()
}

fn missing_or_long(tree: &Tree) -> Vec<Fault> {
    LIMITS
        .into_iter()
        .filter_map(|(path, limit)| match tree.get(path).map(|text| text.lines().count()) {
            None => Some(Fault::new(path, 1, "write it: every reader looks for it")),
            Some(lines) if lines > limit => {
                let remedy = format!("cut it to {limit} lines; details belong in docs/");
                Some(Fault::new(path, limit + 1, remedy))
            }
            Some(_) => None,
        })
        .collect()
}

fn changelog_without_unreleased(tree: &Tree) -> Vec<Fault> {
    let path = "CHANGELOG.md";
    let text = tree.get(path).unwrap_or_default();
    if text.lines().any(|line| line == "## [Unreleased]") {
        return Vec::new();
    }
    vec![Fault::new(path, 1, "add a `## [Unreleased]` section: the next change needs its place")]
}

/// Both ways: a dependency without a reason, and a reason without a dependency.
fn unexplained_dependencies(tree: &Tree) -> Vec<Fault> {
    let used = crates::workspace_dependencies(tree);
    let text = tree.get(DEPENDENCIES).unwrap_or_default();
    let explained: Vec<(usize, &str)> = (1..)
        .zip(text.lines())
        .filter_map(|(number, line)| {
            let (name, _) = line.strip_prefix("- `")?.split_once('`')?;
            Some((number, name))
        })
        .collect();
    let no_reason = used
        .iter()
        .filter(|(_, name)| !explained.iter().any(|(_, known)| known == name))
        .map(|(line, name)| {
            let remedy = format!("say in {DEPENDENCIES} what `{name}` is for and why this one");
            Fault::new("Cargo.toml", *line, remedy)
        });
    let no_use = explained
        .iter()
        .filter(|(_, known)| !used.iter().any(|(_, name)| name == known))
        .map(|(line, known)| {
            let remedy = format!("remove `{known}`: Cargo.toml no longer has it");
            Fault::new(DEPENDENCIES, *line, remedy)
        });
    no_reason.chain(no_use).collect()
}

#[test]
fn links_resolve() {
    refuse(&broken_links(&Tree::real()));
}

#[test]
fn documents_exist_and_are_short() {
    refuse(&missing_or_long(&Tree::real()));
}

#[test]
fn the_changelog_has_an_unreleased_section() {
    refuse(&changelog_without_unreleased(&Tree::real()));
}

#[test]
fn every_dependency_has_its_reason() {
    refuse(&unexplained_dependencies(&Tree::real()));
}

#[test]
fn a_link_to_nothing_or_out_of_the_tree_is_refused() {
    let root = Tree::real().root;
    let broken = |text: &str| {
        let file = File { path: "docs/x.md".to_owned(), text: text.to_owned() };
        places(&broken_links_of(&file, &root))
    };
    for text in
        ["a [b](gone.md)", "[b](../../Cargo.toml)", "[b](/Cargo.toml)", "[b](gone.md#part \"t\")"]
    {
        assert_eq!(broken(text), ["docs/x.md:1"], "{text}");
    }
    let fine = "[a](../Cargo.toml) [b](../xtask/src/../Cargo.toml#part) [c](#here)\n\
                [d](https://example.com/x) [e](crate::x::Y) `[f](gone.md)`\n\
                ```\n[g](gone.md)\n```";
    assert_eq!(broken(fine), [""; 0]);
    assert_eq!(broken("```\n```\n[h](gone.md)"), ["docs/x.md:3"]);
}

#[test]
fn a_missing_or_long_document_is_refused() {
    let found = places(&missing_or_long(&Tree::sample("README.md", &"\n".repeat(121))));
    assert_eq!(
        found,
        ["README.md:121", "CONTRIBUTING.md:1", "docs/style.md:1", ".github/workflows/ci.yml:1"]
    );
    let fine = places(&missing_or_long(&Tree::sample("README.md", &"\n".repeat(120))));
    assert!(!fine.iter().any(|place| place.starts_with("README.md")));
}

#[test]
fn a_changelog_without_a_place_for_the_next_change_is_refused() {
    let found = |text: &str| changelog_without_unreleased(&Tree::sample("CHANGELOG.md", text));
    assert_eq!(places(&found("# Changelog\n\n## [0.1.0]\n")), ["CHANGELOG.md:1"]);
    assert_eq!(found("# Changelog\n\n## [Unreleased]\n"), []);
}

#[test]
fn a_dependency_without_a_reason_and_a_reason_without_a_dependency_are_refused() {
    let mut tree = Tree::sample("Cargo.toml", "[workspace.dependencies]\na = \"1\"\nb = \"1\"\n");
    let text = "- `a`: good\n- `c`: gone\n".to_owned();
    tree.files.push(File { path: DEPENDENCIES.to_owned(), text });
    let found = places(&unexplained_dependencies(&tree));
    assert_eq!(found, ["Cargo.toml:3", "docs/dependencies.md:2"]);
}
