//! Where the server's data lies between its lives: in memory, or in an SQLite file that is opened
//! and closed, backed up and put back.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use st_store::{Clock, Error, MemorySnapshot, MemoryStore, SqliteConfig, SqliteStore, Store};

use crate::plan::Database;
use crate::store::with_time_held;
use crate::world::World;

/// Which backend a world runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "memory" => Ok(Self::Memory),
            "sqlite" => Ok(Self::Sqlite),
            _ => Err(format!("{text:?} is neither memory nor sqlite")),
        }
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
        })
    }
}

/// The data of one world.
#[derive(Debug)]
pub(crate) struct Storage {
    world: Arc<World>,
    kind: Kind,
    /// When the newest backup was made.
    backed_up_at: Option<Duration>,
}

#[derive(Debug)]
enum Kind {
    Memory { store: Arc<MemoryStore>, backup: Option<Box<MemorySnapshot>> },
    Sqlite { dir: tempfile::TempDir, backup: Option<Vec<u8>> },
}

impl Storage {
    pub(crate) fn new(world: &Arc<World>, backend: Backend) -> Self {
        let kind = match backend {
            Backend::Memory => {
                let clock = Arc::clone(&world.machine) as Arc<dyn Clock>;
                Kind::Memory { store: Arc::new(MemoryStore::with_clock(clock)), backup: None }
            }
            Backend::Sqlite => Kind::Sqlite { dir: folder(), backup: None },
        };
        world.state().reopens = backend == Backend::Sqlite;
        Self { world: Arc::clone(world), kind, backed_up_at: None }
    }

    /// Whether calls are answered by threads of the store's own.
    pub(crate) fn is_threaded(&self) -> bool {
        matches!(self.kind, Kind::Sqlite { .. })
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        match &self.kind {
            Kind::Memory { store, .. } => Arc::clone(store) as Arc<dyn Store>,
            Kind::Sqlite { .. } => with_time_held(self.open_file()).await,
        }
    }

    fn path(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("cloud.db")
    }

    async fn open_file(&self) -> Arc<dyn Store> {
        let Kind::Sqlite { dir, .. } = &self.kind else { unreachable!("only for a file") };
        loop {
            let config = SqliteConfig {
                clock: Arc::clone(&self.world.machine) as Arc<dyn Clock>,
                probe_period: Duration::from_hours(24),
                ..SqliteConfig::new(Self::path(dir))
            };
            match SqliteStore::open(config).await {
                Ok(store) => return Arc::new(store),
                // Until the threads of the life before have ended.
                Err(Error::InUse { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("the database cannot be opened: {error:?}"),
            }
        }
    }

    pub(crate) async fn close(&self, store: &dyn Store) {
        if self.is_threaded() {
            drop(with_time_held(store.close()).await);
        }
    }

    /// What happens to the data while the server is down.
    pub(crate) fn between_lives(&mut self, what: Database) {
        let now = self.world.now();
        match (what, &mut self.kind) {
            (Database::Kept, _) => {}
            (Database::BackedUp, Kind::Memory { store, backup }) => {
                *backup = Some(Box::new(store.snapshot()));
                self.backed_up_at = Some(now);
                self.world.journal.note("the store is backed up");
            }
            (Database::BackedUp, Kind::Sqlite { dir, backup }) => {
                *backup = Some(std::fs::read(Self::path(dir)).unwrap());
                self.backed_up_at = Some(now);
                self.world.journal.note("the database is backed up");
            }
            (Database::Restored, Kind::Memory { store, backup }) => {
                match (&backup, self.backed_up_at) {
                    (Some(backup), Some(at)) if !self.world.machine.was_set() => {
                        store.put_back(backup);
                        self.world.forget_since(at);
                    }
                    // The store in memory is never opened anew, which would move its dates.
                    _ => {
                        store.raise_epoch();
                        self.world.journal.note("the store counts as restored");
                    }
                }
            }
            (Database::Restored, Kind::Sqlite { dir, backup }) => {
                if let (Some(backup), Some(at)) = (&backup, self.backed_up_at) {
                    std::fs::write(Self::path(dir), backup).unwrap();
                    self.world.forget_since(at);
                }
            }
        }
    }
}

/// A folder in memory where there is one: a world syncs thousands of times, and what a disk does to
/// a store is tested elsewhere.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_none| tempfile::tempdir()).unwrap()
}

impl World {
    /// A backup that was made at this time was put back.
    fn forget_since(&self, backed_up_at: Duration) {
        let when = crate::journal::clock(backed_up_at);
        self.journal.note(format!("the backup of {when} is put back"));
        self.count("restored backup");
        let mut guard = self.state();
        let state = &mut *guard;
        state.grants_lost_before = state.grants;
        state.restores.push(self.now());
        state.evidence.forget_since(backed_up_at);
        let lost = state.ledger.jobs.iter().filter(|run| backed_up_at < run.at && !run.is_copy());
        state.lost = lost.map(|run| run.call.marker.job).collect();
        for run in &mut state.ledger.jobs {
            run.known = None;
        }
        for job in state.jobs.values_mut() {
            job.ended_at = job.ended_at.filter(|at| *at <= backed_up_at);
            job.kept = None;
            job.acknowledged_at = job.acknowledged_at.filter(|at| *at <= backed_up_at);
        }
        drop(guard);
        self.restored.notify_one();
    }
}
