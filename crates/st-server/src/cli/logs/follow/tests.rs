//! Each look at a log that changed since the last one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Tail;
use crate::cli::logs::filter::Filter;
use crate::cli::logs::pretty::Pretty;
use crate::cli::logs::viewer::Viewer;

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// What is shown until there is nothing more to do.
fn look(tail: &mut Tail<'_>) -> String {
    let mut out = Vec::new();
    let mut viewer = Viewer::new(Filter::default(), Pretty { color: false }, &mut out);
    while tail.step(&mut viewer).unwrap() {}
    drop(viewer);
    String::from_utf8(out).unwrap()
}

fn log() -> (tempfile::TempDir, PathBuf, File) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let file = append(&path);
    (dir, path, file)
}

#[test]
fn a_line_is_shown_once_it_has_its_end() {
    let (_dir, path, mut file) = log();
    let mut tail = Tail::new(&path, File::open(&path).unwrap()).unwrap();
    assert_eq!(look(&mut tail), "");
    file.write_all(b"one\ntw").unwrap();
    assert_eq!(look(&mut tail), "one\n");
    assert_eq!(look(&mut tail), "");
    file.write_all(b"o\n").unwrap();
    assert_eq!(look(&mut tail), "two\n");
}

#[test]
fn a_renamed_log_is_read_until_something_is_in_the_new_one() {
    let (dir, path, mut file) = log();
    let mut tail = Tail::new(&path, File::open(&path).unwrap()).unwrap();
    file.write_all(b"one\n").unwrap();
    assert_eq!(look(&mut tail), "one\n");
    std::fs::rename(&path, dir.path().join("cloud.log.1")).unwrap();
    file.write_all(b"missing\n").unwrap();
    assert_eq!(look(&mut tail), "missing\n");
    let mut new = append(&path);
    assert_eq!(look(&mut tail), "");
    file.write_all(b"not told yet\n").unwrap();
    assert_eq!(look(&mut tail), "not told yet\n");
    file.write_all(b"last\ntorn").unwrap();
    new.write_all(b"new\n").unwrap();
    assert_eq!(look(&mut tail), "last\ntorn\nnew\n");
    new.write_all(b"newer\n").unwrap();
    assert_eq!(look(&mut tail), "newer\n");
}

#[test]
fn a_truncated_log_begins_anew() {
    let (_dir, path, mut file) = log();
    let mut tail = Tail::new(&path, File::open(&path).unwrap()).unwrap();
    file.write_all(b"one\ntorn").unwrap();
    assert_eq!(look(&mut tail), "one\n");
    file.set_len(0).unwrap();
    assert_eq!(look(&mut tail), "torn\n");
    file.write_all(b"two\n").unwrap();
    assert_eq!(look(&mut tail), "two\n");
    file.set_len(0).unwrap();
    file.write_all(b"3\n").unwrap();
    assert_eq!(look(&mut tail), "3\n");
}

#[test]
fn a_directory_in_the_place_of_the_log_is_no_successor() {
    let (dir, path, mut file) = log();
    let mut tail = Tail::new(&path, File::open(&path).unwrap()).unwrap();
    std::fs::rename(&path, dir.path().join("cloud.log.1")).unwrap();
    std::fs::create_dir(&path).unwrap();
    file.write_all(b"still here\n").unwrap();
    assert_eq!(look(&mut tail), "still here\n");
}
