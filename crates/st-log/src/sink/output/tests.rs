//! Files that are renamed or removed while nothing is written to them.

use std::fs;

use tempfile::TempDir;

use super::*;

/// Longer than any interval between two checks.
const LONG: Duration = Duration::from_mins(1);

/// A log with one line, `first`.
fn log() -> (TempDir, PathBuf, Output) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cloud.log");
    let mut output = Output::file(&path).unwrap();
    output.write(b"first\n");
    (dir, path, output)
}

/// Lets the last check of the path be that long ago.
fn pass(output: &mut Output, time: Duration) {
    let open_file = output.open_file.as_mut().unwrap();
    open_file.checked_at = open_file.checked_at.checked_sub(time).unwrap();
}

/// Sets the last check to this moment, so that the next one is due after a whole interval.
fn check_now(output: &mut Output) {
    output.open_file.as_mut().unwrap().checked_at = now();
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_first_line_after_a_silence_goes_to_a_new_file() {
    let (_dir, path, mut output) = log();
    fs::remove_file(&path).unwrap();
    pass(&mut output, LONG);
    output.write(b"second\n");
    output.write(b"third\n");
    assert_eq!(text(&path), "second\nthird\n");

    let renamed = path.with_extension("log.1");
    fs::rename(&path, &renamed).unwrap();
    pass(&mut output, LONG);
    output.write(b"fourth\n");
    output.write(b"fifth\n");
    assert_eq!((text(&renamed), text(&path)), ("second\nthird\n".into(), "fourth\nfifth\n".into()));
    assert_eq!(output.lost(), 0);
}

#[test]
fn a_removed_file_is_replaced_at_the_first_check_and_a_renamed_one_at_the_second() {
    let (_dir, path, mut output) = log();
    fs::remove_file(&path).unwrap();
    pass(&mut output, RENAME_CHECK_INTERVAL);
    output.write(b"second\n");
    assert_eq!(text(&path), "second\n");

    let renamed = path.with_extension("log.1");
    fs::rename(&path, &renamed).unwrap();
    check_now(&mut output);
    pass(&mut output, RENAME_CHECK_INTERVAL);
    output.write(b"a rotator may be about to create the file\n");
    assert!(!path.exists());
    pass(&mut output, MISSING_CHECK_INTERVAL);
    output.write(b"third\n");
    assert_eq!(text(&path), "third\n");
    assert_eq!(text(&renamed), "second\na rotator may be about to create the file\n");
}

#[test]
fn a_file_that_a_rotator_created_is_used_at_the_first_check() {
    let (_dir, path, mut output) = log();
    fs::rename(&path, path.with_extension("log.1")).unwrap();
    fs::write(&path, "").unwrap();
    pass(&mut output, RENAME_CHECK_INTERVAL);
    output.write(b"second\n");
    assert_eq!(text(&path), "second\n");
}

#[test]
fn the_path_is_not_looked_at_for_every_line() {
    let (_dir, path, mut output) = log();
    fs::remove_file(&path).unwrap();
    check_now(&mut output);
    output.write(b"second\n");
    assert!(!path.exists());
}

#[test]
fn lines_for_a_removed_file_are_counted_where_no_other_can_be_created() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let path = logs.join("cloud.log");
    let mut output = Output::file(&path).unwrap();
    fs::remove_dir_all(&logs).unwrap();
    // A file where the folder was: the path cannot be checked either.
    fs::write(&logs, "").unwrap();
    pass(&mut output, RENAME_CHECK_INTERVAL);
    output.write(b"lost\n");
    assert_eq!(output.lost(), 1);
    fs::remove_file(&logs).unwrap();
    fs::create_dir(&logs).unwrap();
    pass(&mut output, RENAME_CHECK_INTERVAL);
    output.write(b"kept\n");
    assert_eq!((text(&path), output.lost()), ("kept\n".into(), 1));
}
