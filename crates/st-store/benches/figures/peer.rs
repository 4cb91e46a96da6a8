//! apalis-sqlite, built and run as a program of its own: both link SQLite in, which one program can
//! do only once.

use std::process::Command;

use crate::report::Report;

pub(crate) fn measure(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/apalis/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--locked", "--manifest-path", manifest])
        .args(["--target-dir", concat!(env!("CARGO_TARGET_TMPDIR"), "/apalis"), "--"])
        .arg(folder.path())
        // It has texts in double quotes, which our SQLite takes for names. It syncs like ours.
        .env("LIBSQLITE3_FLAGS", "-DHAVE_FDATASYNC=1")
        .output()
        .unwrap();
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        report.note(&format!("apalis-sqlite could not be measured: {reason}"));
        return;
    }
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (what, rate) = line.split_once('\t').unwrap();
        report.add(&format!("apalis-sqlite: {what}"), rate.parse().unwrap(), "/s", "");
    }
}
