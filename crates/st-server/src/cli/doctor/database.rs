//! The database: that it can be read and written, and that this program knows its schema.

use std::fs::OpenOptions;
use std::path::Path;

use st_log::Chain;
use st_store::{Error, offline};

use super::finding::{Finding, Subject};

/// Opens it for reading beside whatever has it open; nothing is written.
pub(super) fn check(database: &Path) -> Finding {
    let shown = database.display();
    if !database.exists() {
        let found = format!("{shown} is not there yet; the first start makes it");
        return Finding::ok(Subject::Database, found);
    }
    // Opening changes nothing, and says whether a write could succeed.
    if let Err(error) = OpenOptions::new().read(true).write(true).open(database) {
        let found = format!("{shown} cannot be written: {error}");
        let remedy = "Give it to the server's user; run the doctor as that user.";
        return Finding::failed(Subject::Database, found, remedy);
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
        Error::SchemaChanged { .. } => {
            "Restore a backup with `st-server restore FILE`: what was changed by hand is not known."
        }
        Error::NetworkFileSystem { .. } => {
            "Set SIMPLETUNER_STATE_DIR to a folder on a disk of this machine."
        }
        _ => "Run `st-server integrity`, and restore a backup if it finds damage.",
    }
}
