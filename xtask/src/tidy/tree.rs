//! The files that the checks read.
//!
//! Promises: every text file of the work tree, committed or not, with its path from the root and
//! forward slashes, in a fixed order; an unreadable directory fails the check instead of hiding
//! its files. Leaves out: build output, version control and binary files.

use std::fs;
use std::path::{Path, PathBuf};

const SKIPPED_DIRECTORIES: [&str; 2] = ["target", ".git"];
const READ_EXTENSIONS: [&str; 4] = ["rs", "md", "toml", "yml"];

/// One file: its path from the root, and what it holds.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    pub(super) fn is_rust(&self) -> bool {
        extension(&self.path) == Some("rs")
    }

    pub(super) fn is_markdown(&self) -> bool {
        extension(&self.path) == Some("md")
    }
}

/// The work tree, or a sample of one.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
    pub(super) files: Vec<File>,
}

impl Tree {
    /// The work tree this crate stands in.
    pub(super) fn real() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the root");
        let mut paths = Vec::new();
        collect(root, &mut paths);
        paths.sort();
        let files = paths
            .into_iter()
            .map(|path| File {
                path: path.strip_prefix(root).expect("found below the root").display().to_string(),
                text: fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
            })
            .collect();
        Self { root: root.to_owned(), files }
    }

    /// A tree that holds one bad file. Its root does not exist, so no link out of it resolves.
    pub(super) fn sample(path: &str, text: &str) -> Self {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        Self { root: PathBuf::from("/nonexistent"), files: vec![file] }
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    pub(super) fn get(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display())).path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED_DIRECTORIES.contains(&name) {
                collect(&path, found);
            }
        } else if extension(name).is_some_and(|extension| READ_EXTENSIONS.contains(&extension)) {
            found.push(path);
        }
    }
}

fn extension(path: &str) -> Option<&str> {
    Path::new(path).extension().and_then(|extension| extension.to_str())
}

#[test]
fn the_tree_holds_this_file_and_no_build_output() {
    let tree = Tree::real();
    assert!(tree.get("xtask/src/tidy/tree.rs").is_some());
    assert!(tree.get("Cargo.toml").is_some());
    assert!(!tree.files.iter().any(|file| file.path.starts_with("target/")));
}
