//! Keys of the interface at the command line: a user who can write the state directory needs no key.
//!
//! While no server runs, the database is opened as a start opens it, which makes it where there is none.
//! A server that has it open keeps it: then a second connection is used for one small transaction.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use st_log::Chain;
use st_store::{
    Actor, ApiKey, AuditRepo, Clock, Error, KeyId, KeyRepo, KeyScope, KeyScopes, NewApiKey, OrgId,
    Role, SqliteConfig, SqliteStore, StoreStatus, SystemClock, TeamId, UserId, offline,
};

use super::database::{Where, make_state_dir, print};
use super::{EXIT_USAGE, fail};
use crate::app::DATABASE;
use crate::auth::key::Minted;

/// How many keys are listed at most.
const LISTED: u32 = 1000;

const ABOUT: &str = "\
Works on the database in the state directory, as the user that owns it; a server may run. One that runs
without a key notices the first one within 2 seconds and from then on wants a key with every request; what
is revoked here it refuses within 5 seconds.

Examples:
    st-server keys create --name laptop --user ann --role admin
    st-server keys create --name ci --user ci --role researcher --scopes read,submit --expires-in 90d
    st-server keys revoke x3k9Qm2LpA";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key and print it, this once
    Create(Create),
    /// List the keys, newest first
    List(List),
    /// Refuse a key from now on
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    /// What people call it, such as the machine that it is for
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The user whose requests it makes
    #[arg(long, value_name = "USER")]
    user: String,
    /// viewer, researcher, lead or admin
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Narrow the role to some of read, submit, approve and admin
    #[arg(long, value_name = "SCOPES", value_delimiter = ',')]
    scopes: Vec<KeyScope>,
    /// The team that its jobs are counted for
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// The organization that its jobs are counted for
    #[arg(long, value_name = "ORG")]
    org: Option<String>,
    /// Refuse it after this time: a number with m, h, d or w
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<SignedDuration>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
struct Revoke {
    /// The part between the first and the second underscore
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    place: Where,
}

/// A duration of at least a minute, such as `90d`.
fn duration(text: &str) -> Result<SignedDuration, String> {
    let bad = || format!("expected a number with m, h, d or w, such as 90d, found {text:?}");
    let unit = text.chars().last().ok_or_else(bad)?;
    let number: i64 = text.strip_suffix(unit).and_then(|it| it.parse().ok()).ok_or_else(bad)?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(bad()),
    };
    // A hundred years: nothing that is added to a date overflows.
    let longest = 100 * 366 * 24 * 60;
    match number.checked_mul(minutes).filter(|minutes| (1..=longest).contains(minutes)) {
        Some(minutes) => Ok(SignedDuration::from_mins(minutes)),
        None => Err(format!("expected 1m to 100 years, found {text:?}")),
    }
}

impl Keys {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        match self.command {
            Command::Create(create) => create.run(environment),
            Command::List(list) => list.run(environment),
            Command::Revoke(revoke) => revoke.run(environment),
        }
    }
}

impl Create {
    fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        if self.name.is_empty() || self.user.is_empty() {
            return fail(EXIT_USAGE, "--name and --user must not be empty");
        }
        let place = self.place.state_dir(environment).and_then(make_state_dir);
        let database = match place {
            Ok(state_dir) => state_dir.join(DATABASE),
            Err(code) => return code,
        };
        let minted = match Minted::new() {
            Ok(minted) => minted,
            Err(error) => return fail(1, &Chain(&error).to_string()),
        };
        let now = SystemClock.wall();
        let new = NewApiKey {
            id: minted.id.clone(),
            name: self.name,
            user: UserId::new(self.user),
            role: self.role,
            team: self.team.map(TeamId::new),
            org: self.org.map(OrgId::new),
            scopes: if self.scopes.is_empty() {
                KeyScopes::All
            } else {
                KeyScopes::Only(self.scopes.into_iter().collect())
            },
            expires_at: self.expires_in.and_then(|time| now.checked_add(time).ok()),
        };
        match add(&database, &new, &minted, now) {
            Ok(key) => {
                super::print(&format!(
                    "st-server: made key {} for {} with the role {}; it is shown only this once:\n",
                    key.key.id, key.key.user, key.key.role
                ));
                print(&format!("{}\n", minted.expose()))
            }
            Err(message) => fail(1, &message),
        }
    }
}

fn add(
    database: &Path,
    new: &NewApiKey,
    minted: &Minted,
    now: Timestamp,
) -> Result<ApiKey, String> {
    let alone = with_store(database, async |store| {
        let key = store.add_key(new.clone(), minted.hash, &Actor::Operator).await?;
        store.append_audit(vec![offline::audit_of_key("create_key", &new.id)]).await?;
        Ok(key)
    });
    match alone? {
        Some(key) => Ok(key),
        None => offline::add_key(database, new, &minted.hash, now).map_err(in_words),
    }
}

impl List {
    fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let database = match self.place.state_dir(environment) {
            Ok(state_dir) => state_dir.join(DATABASE),
            Err(code) => return code,
        };
        match offline::list_keys(&database, LISTED) {
            Ok(keys) => print(&table(&keys, SystemClock.wall())),
            Err(error) => fail(1, &in_words(error)),
        }
    }
}

fn table(keys: &[ApiKey], now: Timestamp) -> String {
    if keys.is_empty() {
        return "there is no key\n".to_owned();
    }
    let header = ["ID", "NAME", "USER", "ROLE", "SCOPES", "LAST USED", "EXPIRES", "STATE"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(keys.iter().map(|key| row(key, now)));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(stored: &ApiKey, now: Timestamp) -> [String; 8] {
    let key = &stored.key;
    let day = |time: Option<Timestamp>| time.map_or("never".to_owned(), |at| format!("{at:.0}"));
    let state = match &stored.revoked {
        Some(_) => "revoked",
        None if !stored.is_valid_at(now) => "expired",
        None => "valid",
    };
    // What people wrote may hold what moves the cursor of a terminal.
    let plain = |text: &str| text.chars().filter(|it| !it.is_control()).collect::<String>();
    [
        key.id.to_string(),
        plain(&key.name),
        plain(key.user.as_str()),
        key.role.to_string(),
        key.scopes.to_text().unwrap_or_else(|| "all".to_owned()),
        day(stored.last_used_at),
        day(key.expires_at),
        state.to_owned(),
    ]
}

impl Revoke {
    fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let database = match self.place.state_dir(environment) {
            Ok(state_dir) => state_dir.join(DATABASE),
            Err(code) => return code,
        };
        let id = KeyId::new(self.id);
        match revoke(&database, &id) {
            Ok(key) => print(&format!("key {} of {} is revoked\n", key.key.id, key.key.user)),
            Err(message) => fail(1, &message),
        }
    }
}

fn revoke(database: &Path, id: &KeyId) -> Result<ApiKey, String> {
    // A database that is not there is not made for this.
    offline::migrations(database).map_err(in_words)?;
    let alone = with_store(database, async |store| {
        let key = store.revoke_key(id, &Actor::Operator).await?;
        store.append_audit(vec![offline::audit_of_key("revoke_key", id)]).await?;
        Ok(key)
    });
    match alone? {
        Some(key) => Ok(key),
        None => offline::revoke_key(database, id, SystemClock.wall()).map_err(in_words),
    }
}

/// Does something with the store; `None` where a server has it open.
fn with_store<T>(
    database: &Path,
    work: impl AsyncFnOnce(&SqliteStore) -> Result<T, Error>,
) -> Result<Option<T>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let store = match SqliteStore::open(SqliteConfig::new(database)).await {
            Ok(store) => store,
            Err(Error::InUse { .. }) => return Ok(None),
            Err(error) => return Err(in_words(error)),
        };
        let done = work(&store).await;
        store.close().await.map_err(in_words)?;
        done.map(Some).map_err(in_words)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn in_words(error: Error) -> String {
    Chain(&error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        let minutes = |text| duration(text).map(|it| it.as_mins());
        assert_eq!(minutes("5m"), Ok(5));
        assert_eq!(minutes("2h"), Ok(120));
        assert_eq!(minutes("90d"), Ok(90 * 24 * 60));
        assert_eq!(minutes("1w"), Ok(7 * 24 * 60));
        for bad in
            ["", "5", "m", "5s", "5 d", "-1d", "0d", "1.5d", "36601d", "9999999999999999w", "5é"]
        {
            assert!(minutes(bad).is_err(), "{bad}");
        }
    }
}
