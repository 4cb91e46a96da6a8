//! What apalis-sqlite does in a second, durable as st-store is: `apalis-figures FOLDER`. Prints a
//! name and a rate for each. st-store's benchmark of figures runs it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteStorage};
use futures::stream;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

const ONE_BY_ONE: usize = 2000;
const AT_ONCE: usize = 20_000;
const BATCH: usize = 100;
const LONGEST: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("a folder"));
    let pool = open(folder.join("push.db")).await;
    let mut storage = SqliteStorage::new(&pool);
    let began = Instant::now();
    for number in 0..ONE_BY_ONE {
        storage.push(number).await.unwrap();
    }
    print("push, one at a time", ONE_BY_ONE, began);

    let pool = open(folder.join("work.db")).await;
    let mut storage = SqliteStorage::new(&pool);
    let began = Instant::now();
    let mut all = stream::iter(0..AT_ONCE);
    storage.push_stream(&mut all).await.unwrap();
    print("push, all at once", AT_ONCE, began);
    work(&pool).await;
}

/// Its own worker claims, runs and acknowledges. It looks for tasks as often as it can, so that its
/// pauses do not count.
async fn work(pool: &SqlitePool) {
    let done = Arc::new(AtomicUsize::new(0));
    let config = Config { batch_size: BATCH, ..Config::default() };
    let config = config.queue(std::any::type_name::<usize>());
    let strategy = Strategy::new().interval(Duration::from_millis(1));
    let backend =
        SqliteStorage::<usize>::new(pool).with_config(config).poll_with_strategy(strategy);
    let count = Arc::clone(&done);
    let task = move |_task: usize, worker: WorkerContext| {
        let count = Arc::clone(&count);
        async move {
            if count.fetch_add(1, Ordering::SeqCst) + 1 == AT_ONCE {
                worker.stop()?;
            }
            Ok::<(), BoxDynError>(())
        }
    };
    let worker = WorkerBuilder::new("worker").backend(backend).build(task);
    let began = Instant::now();
    // What was done by then is what counts, if it is not done with all.
    let ended = tokio::time::timeout(LONGEST, worker.run()).await;
    if let Ok(Err(error)) = ended {
        panic!("{error}");
    }
    print("claim, run and acknowledge", done.load(Ordering::SeqCst), began);
}

fn print(what: &str, count: usize, began: Instant) {
    println!("{what}\t{:.0}", count as f64 / began.elapsed().as_secs_f64());
}

/// Its `setup` turns durability off, so the migrations alone.
async fn open(file: PathBuf) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
    SqliteStorage::<()>::migrations().run(&pool).await.unwrap();
    pool
}
