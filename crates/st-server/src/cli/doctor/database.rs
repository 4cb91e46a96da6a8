//! The database: that it can be read and written, and that this program knows its schema.

use std::fs::OpenOptions;
use std::path::Path;

use st_log::Chain;
use st_store::{Error, offline};

use super::broken_link::BrokenLink;
use super::finding::{Finding, Subject};
use super::server::Presence;

/// What settings the server has that runs as a service.
const ITS_OWN: &str = "The server has its database elsewhere: run the doctor with the settings of the server's \
                       own environment, such as `systemd-run --pipe --uid=st-server \
                       -p EnvironmentFile=-/etc/simpletuner/environment \
                       -E SIMPLETUNER_STATE_DIR=/var/lib/st-server st-server doctor`, or in a container with \
                       `docker exec`.";

/// Opens it for reading beside whatever has it open; nothing is written. `presence`: of the server that this
/// configuration is of, where it is known.
pub(super) fn check(database: &Path, presence: Option<Presence>) -> Finding {
    let shown = database.display();
    let is_running = matches!(presence, Some(Presence::Answers | Presence::NeedsKey));
    if !database.exists() {
        if is_running {
            let found =
                format!("a server runs, and its database is not {shown}, which is not there");
            return Finding::failed(Subject::Database, found, ITS_OWN);
        }
        if let Some(link) = BrokenLink::before_file(database) {
            let remedy =
                "Make the folder to which the link leads, mount its disk, or remove the link.";
            let found = format!("{shown} is not there: {link}");
            return Finding::failed(Subject::Database, found, remedy);
        }
        let found = format!("{shown} is not there yet; the first start makes it");
        return Finding::ok(Subject::Database, found);
    }
    // Opening changes nothing, and says whether a write could succeed.
    if let Err(error) = OpenOptions::new().read(true).write(true).open(database) {
        let found = format!("{shown} cannot be written: {error}");
        let remedy = "Give it to the server's user; run the doctor as that user.";
        return Finding::failed(Subject::Database, found, remedy);
    }
    // What cannot be found out about its lock is found out below.
    match offline::holder(database).ok() {
        Some(None) if is_running => {
            let found =
                format!("a server runs, and its database is not {shown}, which nothing has open");
            return Finding::failed(Subject::Database, found, ITS_OWN);
        }
        Some(Some(holder)) if presence == Some(Presence::Absent) => {
            let found = format!("{shown} is in use by {holder}, and no server answers");
            let remedy = "A server has this state directory already: name where it listens by --url, or end \
                          that process before another server is started.";
            return Finding::failed(Subject::Database, found, remedy);
        }
        Some(_) | None => {}
    }
    match offline::migrations(database) {
        Ok(plan) if plan.pending.is_empty() => {
            let found = format!("{shown} can be read and written, schema {}", plan.schema);
            Finding::ok(Subject::Database, found)
        }
        Ok(plan) => {
            let latest = plan.pending.last().map_or(plan.schema, |(version, _)| *version);
            let found = format!(
                "{shown} has schema {}; the next start copies it and brings it to {latest}",
                plan.schema
            );
            Finding::ok(Subject::Database, found)
        }
        Err(error) => {
            let remedy = remedy(&error);
            Finding::failed(Subject::Database, Chain(&error).to_string(), remedy)
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "most errors of a store have the same remedy")]
fn remedy(error: &Error) -> &'static str {
    match error {
        Error::SchemaTooNew { .. } => {
            "Start the version that made it, or restore the copy that was made before with \
             `st-server restore FILE`."
        }
        Error::SchemaChanged { .. } | Error::SchemaGap { .. } => {
            "Restore a backup with `st-server restore FILE`: what was changed by hand is not known."
        }
        Error::NetworkFileSystem { .. } => {
            "Set SIMPLETUNER_STATE_DIR to a folder on a disk of this machine."
        }
        _ => "Run `st-server integrity`, and restore a backup if it finds damage.",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_database_behind_a_link_to_nothing_is_not_one_that_a_start_makes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cloud.db");
        assert_eq!(check(&path, Some(Presence::Absent)).level(), Level::Ok);
        symlink("/nowhere/cloud.db", &path).unwrap();
        let found = check(&path, Some(Presence::Absent));
        assert_eq!(found.level(), Level::Failed);
        let why = "is a symbolic link to /nowhere/cloud.db, which is not there";
        assert!(found.found.ends_with(why), "{found:?}");
        let within = dir.path().join("state");
        symlink("/nowhere/state", &within).unwrap();
        assert_eq!(check(&within.join("cloud.db"), None).level(), Level::Failed);
        let around = dir.path().join("around.db");
        symlink(&around, &around).unwrap();
        assert_eq!(check(&around, None).level(), Level::Failed);
    }

    #[test]
    fn a_database_behind_a_link_into_a_folder_that_is_there_is_made_by_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let (path, between) = (dir.path().join("cloud.db"), dir.path().join("between.db"));
        symlink("between.db", &path).unwrap();
        std::fs::create_dir(dir.path().join("disk")).unwrap();
        symlink(dir.path().join("disk/cloud.db"), between).unwrap();
        let found = check(&path, Some(Presence::Absent));
        assert_eq!(found.level(), Level::Ok, "{found:?}");
    }
}
