//! The store in one SQLite file.
//!
//! One thread writes, others read beside it. What a call acknowledges is on disk: the journal is a
//! WAL, every commit is synced, and the answer leaves after the commit. One process at a time has
//! the file; a second one is refused and says which has it.

mod adjust;
mod approvals;
mod audit;
mod budgets;
mod counters;
mod damage;
mod events;
mod history;
mod holds;
mod integrity;
mod jobs;
mod keys;
mod known_settings;
mod life;
mod lists;
mod merge;
mod migrate;
pub mod offline;
mod place;
mod query;
mod queue;
mod readers;
mod received;
mod records;
mod results;
mod settings;
mod shares;
mod status;
mod strays;
mod submitting;
mod totals;
mod webhooks;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::watch;

use crate::clock::{Clock, Step, StoreClock, SystemClock};
use crate::error::{Error, Result};
use crate::health::{Integrity, StoreHealth};
use crate::model::EventId;

use integrity::Checker;
use known_settings::KnownSettings;
use life::Chronicle;
pub use life::{EventGap, Life};
pub use migrate::MigrationPlan;
use place::{Place, Presence, Site};
use readers::{Pool, Reader, Readers};
use writer::{Parts, Timing, Writer};

const LOG: st_log::Logger = st_log::get_logger("simpletuner.cloud.store");

/// How long the writer waits for another program that has the database locked.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);

/// Where the database is and how it is used.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The database file. Its folder must exist. `<path>.lock`, `-wal` and `-shm` lie beside it.
    pub path: PathBuf,
    /// How many short reads may go on at the same time.
    pub point_readers: usize,
    /// How many lists may be read at the same time.
    pub list_readers: usize,
    /// How many writes may wait in a lane before a call is [`Error::Busy`].
    pub queue: usize,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How long a short read may take, the wait for a connection included.
    pub read_timeout: Duration,
    /// How long a list may take.
    pub list_timeout: Duration,
    /// How long a write waits while another program has the database locked.
    pub busy_timeout: Duration,
    /// How long the start may check the file; the rest is checked beside the work.
    pub start_check: Duration,
    /// How long nothing may be written before a probe finds out whether the disk still works.
    pub probe_period: Duration,
    /// How long to wait between attempts while nothing can be written.
    pub retry_period: Duration,
    /// How long one write may take before the store counts as one that cannot be written: nothing
    /// else notices a disk that never answers.
    pub stuck_after: Duration,
}

impl SqliteConfig {
    /// The usual numbers: 2 readers of each kind, 1024 waiting writes, 5 s for a short read and
    /// 30 s for a list, a probe after 10 s.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            point_readers: 2,
            list_readers: 2,
            queue: 1024,
            clock: Arc::new(SystemClock),
            read_timeout: Duration::from_secs(5),
            list_timeout: Duration::from_secs(30),
            busy_timeout: WRITER_PATIENCE,
            start_check: Duration::from_millis(100),
            probe_period: Duration::from_secs(10),
            retry_period: Duration::from_secs(1),
            stuck_after: Duration::from_secs(5),
        }
    }
}

/// The store in one SQLite file. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    last_event: watch::Receiver<EventId>,
    health: watch::Receiver<StoreHealth>,
    clock: Arc<StoreClock>,
    /// For which generation of the clock dates were last cut.
    dates_cut_for: Arc<AtomicI64>,
    known_settings: KnownSettings,
    life: Life,
}

impl SqliteStore {
    /// Opens the database, creates it where there is none, and brings its schema up to date.
    pub async fn open(config: SqliteConfig) -> Result<Self> {
        st_log::spawn_blocking(move || Self::open_blocking(&config)).await.map_err(|stopped| {
            Error::Database { operation: "open the database", source: stopped.into() }
        })?
    }

    fn open_blocking(config: &SqliteConfig) -> Result<Self> {
        let path = &config.path;
        let site = Site::find(path)?;
        life::expect_database(&site)?;
        let recorded_pid = life::recorded_pid(&site);
        let place = Arc::new(Place::lock(site, recorded_pid)?);
        let mut chronicle = Chronicle::compare(&place)?;
        chronicle.announce(&place)?;
        let started = Self::start(config, &place, &mut chronicle);
        if started.is_err() {
            chronicle.put_back(&place);
        }
        started
    }

    /// Opens the database that is known to be the one that it should be.
    fn start(config: &SqliteConfig, place: &Arc<Place>, chronicle: &mut Chronicle) -> Result<Self> {
        let path = &config.path;
        let mut connection = connect(path, config.busy_timeout)?;
        migrate::migrate(&mut connection, path, config.clock.wall())?;
        let integrity = integrity::check_start(&mut connection, config.start_check)?;
        if let Integrity::Damaged(finding) = integrity {
            return Err(Error::DamagedFile { path: path.clone(), finding });
        }
        let confirmed = life::confirmed_at(&connection)?;
        let clock = Arc::new(StoreClock::new(Arc::clone(&config.clock), confirmed));
        let (life, mut journal) = chronicle.begin(&mut connection, place, clock.now())?;
        adjust::cut_waits(&connection, clock.now())?;
        place.note_wal()?;
        if place.presence() != Presence::Here {
            return Err(Error::Detached { path: path.clone() });
        }
        journal.changed(place);
        sync_folder(path)?;
        let health = watch::Sender::new(StoreHealth::new(integrity.clone()));
        let checker = match integrity {
            Integrity::Checking => Checker::start(reader(config, place)?, health.clone())?,
            Integrity::Sound | Integrity::Damaged(_) => Checker::default(),
        };
        let readers = readers(config, place)?;
        let earlier = adjust::last_approval(&connection)?;
        let on_step = move |connection: &Connection, step: Step, now: Timestamp| {
            adjust::on_step(connection, step, earlier, now)
        };
        let (last_event, received_event) = watch::channel(events::last_id(&connection)?);
        let received_health = health.subscribe();
        let parts = Parts {
            connection,
            place: Arc::clone(place),
            journal,
            clock: Arc::clone(&clock),
            epoch: life.epoch,
            last_event,
            health,
            checker,
            on_step: Arc::new(on_step),
            timing: Timing { probe: config.probe_period, retry: config.retry_period },
        };
        Ok(Self {
            writer: Writer::start(parts, config.queue, config.stuck_after)?,
            readers,
            last_event: received_event,
            health: received_health,
            clock,
            dates_cut_for: Arc::new(AtomicI64::new(i64::MIN)),
            known_settings: KnownSettings::default(),
            life,
        })
    }

    /// Changes of the health, without the numbers of waiting writes.
    pub fn health_changes(&self) -> watch::Receiver<StoreHealth> {
        self.health.clone()
    }

    /// Which life of the database this is.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Whether what cannot be undone may be done by this clock.
    pub fn clock_is_confirmed(&self) -> bool {
        self.clock.is_confirmed()
    }

    /// How long until a stored time, not negative.
    fn until(&self, due: Timestamp) -> Duration {
        crate::repo::until(self.clock.now(), due)
    }
}

fn readers(config: &SqliteConfig, place: &Arc<Place>) -> Result<Readers> {
    let pool = |size: usize, timeout| {
        let readers = (0..size.max(1)).map(|_| reader(config, place)).collect::<Result<_>>()?;
        Pool::start(readers, timeout, Arc::clone(&config.clock))
    };
    let point = pool(config.point_readers, config.read_timeout)?;
    Ok(Readers::new(point, pool(config.list_readers, config.list_timeout)?))
}

fn reader(config: &SqliteConfig, place: &Arc<Place>) -> Result<Reader> {
    let fail = open_error(&config.path);
    let connection = connect(&config.path, config.busy_timeout)?;
    connection.pragma_update(None, "query_only", true).map_err(&fail)?;
    // The last one to close would delete the log by its name; only the writer may.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&fail)?;
    Ok(Reader { connection, _place: Arc::clone(place) })
}

/// Opens a connection and makes sure that what durability rests on is really so: SQLite ignores
/// settings that it does not know.
fn connect(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let fail = open_error(path);
    let connection = Connection::open_with_flags(path, flags).map_err(&fail)?;
    // Without it SQLite compiles a statement anew at each use if its plan may depend on what is bound,
    // which costs the writer as much as all the rest of its work.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(&fail)?;
    connection.busy_timeout(busy_timeout).map_err(&fail)?;
    connection.set_prepared_statement_cache_capacity(128);
    let wal: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(&fail)?;
    for (pragma, value) in [
        ("synchronous", "FULL"),
        ("foreign_keys", "ON"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
        ("temp_store", "MEMORY"),
        ("journal_size_limit", "67108864"),
    ] {
        connection.pragma_update(None, pragma, value).map_err(&fail)?;
    }
    let synchronous: i64 =
        connection.pragma_query_value(None, "synchronous", |row| row.get(0)).map_err(&fail)?;
    if !wal.eq_ignore_ascii_case("wal") || synchronous != 2 {
        let found = format!("journal_mode is {wal} and synchronous {synchronous}, not wal and 2");
        return Err(Error::Open { path: path.to_owned(), source: found.into() });
    }
    Ok(connection)
}

/// Makes the names of new files as durable as their contents.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::Open { path: path.to_owned(), source: source.into() })
}

fn open_error(path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |source| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => {
            Error::DamagedFile { path: path.clone(), finding: source.to_string() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Error::InUse { path: path.clone(), holder: "another program".to_owned() }
        }
        _ => Error::Open { path: path.clone(), source: source.into() },
    }
}

/// Names what was being done when the database failed. That another program has it locked is
/// nobody's failure: later it will do.
fn failed(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| {
        if writer::is_locked(&source) {
            Error::Busy
        } else {
            Error::Database { operation, source: source.into() }
        }
    }
}

#[cfg(test)]
mod tests;
