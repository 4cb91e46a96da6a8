//! The database from outside of the server: copying it, putting a copy back, checking it.
//!
//! What was asked for goes to stdout, what went wrong to stderr. The exit code is 2 when a check found
//! something, which is no failure of the check.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::tz::Offset;
use serde_json::json;
use st_log::Chain;
use st_store::offline::{self, Audit, Backup as Made, Exported, Restored};
use st_store::{Clock, MigrationPlan, SqliteConfig, SqliteStore, StoreStatus, SystemClock};

use super::{fail, load};
use crate::app::DATABASE;
use crate::config::Flags;

/// Of a check that found something.
const EXIT_FOUND: u8 = 2;
const BACKUPS: &str = "backups";

const ABOUT_BACKUP: &str = "\
The copy holds what was committed at one moment. It is opened and checked before it gets its name,
and its SHA-256 is written beside it. Folders of local jobs are not in it.

Examples:
    st-server backup
    st-server backup --to /mnt/backup/cloud-monday.db
    sha256sum --check cloud-monday.db.sha256";

const ABOUT_RESTORE: &str = "\
Stop the server first. The database that is there is kept beside the restored one. At the next start
the server looks up at their providers what was queued or submitted, before it submits anything, so
nothing runs twice; event streams get `resync`.

Example:
    st-server restore /mnt/backup/cloud-monday.db";

const ABOUT_EXPORT: &str = "\
One JSON object a line: first the schema, then each row with its table, last the number of rows and a
checksum. A server may run. Folders of local jobs are not in it.

Examples:
    st-server export > cloud.jsonl
    st-server export --to cloud.jsonl
    st-server export | jq -c 'select(.table == \"jobs\").row'";

const ABOUT_IMPORT: &str = "\
Stop the server first. The database that is there is kept beside the new one. At the next start the
server looks up at their providers what was queued or submitted, before it submits anything.

Examples:
    st-server import cloud.jsonl
    ssh other st-server export | st-server import -";

const ABOUT_INTEGRITY: &str = "\
Reads the whole database and changes nothing; a server may run. Exit code: 0 nothing was found, 2
something was found, 1 it could not be checked.";

const ABOUT_MIGRATE: &str = "\
Each start of the server does the same. A database that has a schema already is copied first, to a
file beside it that is named after the old version and the time; the newest three are kept. Exit code
of --check: 0 nothing is to be done, 2 something is.";

/// The options that locate the database.
#[derive(Debug, Args)]
pub(super) struct Where {
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_BACKUP)]
pub(super) struct Backup {
    /// Write the copy here instead of to backups/cloud-<time>.db in the state directory
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_RESTORE)]
pub(super) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    backup: PathBuf,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_EXPORT)]
pub(super) struct Export {
    /// Write to this file instead of to stdout
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_IMPORT)]
pub(super) struct Import {
    /// What export wrote; - for stdin
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_INTEGRITY)]
pub(super) struct Integrity {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_MIGRATE)]
pub(super) struct Migrate {
    /// Print what would be done and do nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    place: Where,
}

impl Where {
    pub(super) fn state_dir(
        self,
        environment: &BTreeMap<String, String>,
    ) -> Result<PathBuf, ExitCode> {
        let flags = Flags { config: self.config, ..Flags::default() };
        load(environment, &flags).map(|config| config.state_dir)
    }
}

impl Backup {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let state_dir = match self.place.state_dir(environment) {
            Ok(state_dir) => state_dir,
            Err(code) => return code,
        };
        let to = match self.to.map_or_else(|| usual_place(&state_dir), Ok) {
            Ok(to) => to,
            Err(error) => return fail(1, &format!("cannot make a folder for backups: {error}")),
        };
        match offline::back_up(&state_dir.join(DATABASE), &to) {
            Ok(made) => print(&backup_text(&made)),
            Err(error) => fail(1, &Chain(&error).to_string()),
        }
    }
}

/// A name in the state directory that tells the time.
fn usual_place(state_dir: &Path) -> io::Result<PathBuf> {
    let folder = state_dir.join(BACKUPS);
    if state_dir.is_dir() && !folder.is_dir() {
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
    }
    let time = Offset::UTC.to_datetime(SystemClock.wall()).strftime("%Y%m%dT%H%M%SZ").to_string();
    Ok(folder.join(format!("cloud-{time}.db")))
}

fn backup_text(made: &Made) -> String {
    format!(
        "{}\n{}, up to event {}, schema {}, {}; opened and found sound\nSHA-256 {}\n",
        made.path.display(),
        many(made.jobs, "job"),
        made.last_event,
        made.schema,
        size(made.bytes),
        made.sha256
    )
}

impl Export {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let state_dir = match self.place.state_dir(environment) {
            Ok(state_dir) => state_dir,
            Err(code) => return code,
        };
        let database = state_dir.join(DATABASE);
        let Some(to) = self.to else {
            let mut out = BufWriter::new(io::stdout().lock());
            return match offline::export(&database, &mut out) {
                Ok(_exported) => ExitCode::SUCCESS,
                Err(error) => fail(1, &Chain(&error).to_string()),
            };
        };
        let file = File::options().write(true).create_new(true).mode(0o600).open(&to);
        let mut out = match file {
            Ok(file) => BufWriter::new(file),
            Err(error) => return fail(1, &format!("cannot make {}: {error}", to.display())),
        };
        let exported = offline::export(&database, &mut out);
        let synced = exported.map(|exported| (exported, out.get_ref().sync_all()));
        match synced {
            Ok((Exported { rows, schema }, Ok(()))) => {
                print(&format!("{}\n{}, schema {schema}\n", to.display(), many(rows, "row")))
            }
            Ok((_, Err(error))) => fail(1, &format!("cannot write {}: {error}", to.display())),
            Err(error) => {
                // A part of an export is of no use, and import refuses it.
                let removed = std::fs::remove_file(&to);
                let left = if removed.is_err() { "; an unfinished file is left" } else { "" };
                fail(1, &format!("{}{left}", Chain(&error)))
            }
        }
    }
}

impl Import {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let state_dir = match self.place.state_dir(environment).and_then(make_state_dir) {
            Ok(state_dir) => state_dir,
            Err(code) => return code,
        };
        let (database, now) = (state_dir.join(DATABASE), SystemClock.wall());
        let imported = if self.from.as_os_str() == "-" {
            offline::import(&database, Path::new("stdin"), io::stdin().lock(), now)
        } else {
            match File::open(&self.from) {
                Ok(file) => offline::import(&database, &self.from, BufReader::new(file), now),
                Err(error) => {
                    return fail(1, &format!("cannot read {}: {error}", self.from.display()));
                }
            }
        };
        match imported {
            Ok(restored) => print(&restore_text(&database, &self.from, &restored)),
            Err(error) => fail(1, &Chain(&error).to_string()),
        }
    }
}

/// The state directory, which is made where there is none.
pub(super) fn make_state_dir(state_dir: PathBuf) -> Result<PathBuf, ExitCode> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&state_dir);
    match made {
        Ok(()) => Ok(state_dir),
        Err(error) => Err(fail(1, &format!("cannot make {}: {error}", state_dir.display()))),
    }
}

impl Restore {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let state_dir = match self.place.state_dir(environment).and_then(make_state_dir) {
            Ok(state_dir) => state_dir,
            Err(code) => return code,
        };
        let database = state_dir.join(DATABASE);
        match offline::restore(&database, &self.backup, SystemClock.wall()) {
            Ok(restored) => print(&restore_text(&database, &self.backup, &restored)),
            Err(error) => fail(1, &Chain(&error).to_string()),
        }
    }
}

fn restore_text(database: &Path, backup: &Path, restored: &Restored) -> String {
    let Restored { replaced, compared, schema, jobs, last_event } = restored;
    let jobs = many(*jobs, "job");
    let sum = if *compared { ", its checksum is right" } else { "; no checksum is beside it" };
    let mut lines = vec![
        format!("{} was restored from {}", database.display(), backup.display()),
        format!("{jobs}, up to event {last_event}, schema {schema}; opened and found sound{sum}"),
    ];
    if let Some(replaced) = replaced {
        lines.push(format!("The database that was there is kept as {}", replaced.display()));
    }
    lines.push(
        "At the next start, what was queued or submitted is looked up before anything is submitted.\n"
            .to_owned(),
    );
    lines.join("\n")
}

impl Integrity {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let state_dir = match self.place.state_dir(environment) {
            Ok(state_dir) => state_dir,
            Err(code) => return code,
        };
        let audit = match offline::audit(&state_dir.join(DATABASE)) {
            Ok(audit) => audit,
            Err(error) => return fail(1, &Chain(&error).to_string()),
        };
        let text = if self.json { audit_json(&audit) } else { audit_text(&audit) };
        let printed = print(&text);
        if audit.findings.is_empty() { printed } else { ExitCode::from(EXIT_FOUND) }
    }
}

fn audit_text(Audit { jobs, events, findings }: &Audit) -> String {
    let listed: Vec<String> = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let listed = listed.concat();
    let found = match findings.len() {
        0 => "nothing is wrong".to_owned(),
        found => many(found as u64, "finding"),
    };
    let (jobs, events) = (many(*jobs, "job"), many(*events, "event"));
    format!("{listed}{jobs} and {events} were checked: {found}\n")
}

fn audit_json(Audit { jobs, events, findings }: &Audit) -> String {
    let listed: Vec<_> = findings
        .iter()
        .map(|it| json!({"kind": it.kind, "subject": it.subject, "problem": it.problem}))
        .collect();
    let sound = findings.is_empty();
    format!("{}\n", json!({"sound": sound, "jobs": jobs, "events": events, "findings": listed}))
}

impl Migrate {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let state_dir = match self.place.state_dir(environment) {
            Ok(state_dir) => state_dir,
            Err(code) => return code,
        };
        let database = state_dir.join(DATABASE);
        let plan = match offline::migrations(&database) {
            Ok(plan) => plan,
            Err(error) => return fail(1, &Chain(&error).to_string()),
        };
        if self.check || plan.pending.is_empty() {
            let printed = print(&plan_text(&plan, "would be applied, after a copy is made"));
            return if plan.pending.is_empty() { printed } else { ExitCode::from(EXIT_FOUND) };
        }
        match migrate(database) {
            Ok(()) => print(&plan_text(&plan, "was applied")),
            Err(message) => fail(1, &message),
        }
    }
}

fn migrate(database: PathBuf) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime
        .block_on(async {
            let store = SqliteStore::open(SqliteConfig::new(database)).await?;
            store.close().await
        })
        .map_err(|error| Chain(&error).to_string())
}

fn plan_text(MigrationPlan { schema, pending }: &MigrationPlan, verb: &str) -> String {
    if pending.is_empty() {
        return format!("schema {schema}: up to date\n");
    }
    let lines = pending.iter().map(|(version, name)| format!("{version} {name} {verb}\n"));
    format!("schema {schema}\n{}", lines.collect::<String>())
}

fn many(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), "bytes");
    for larger in ["KiB", "MiB", "GiB"] {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    if unit == "bytes" {
        format!("{bytes} bytes")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// On stdout.
pub(super) fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("stdout cannot be written: {error}")),
    }
}
