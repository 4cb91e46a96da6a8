//! What reads and submissions cost beside much history and long queues: `cargo bench -p st-store`.
//! Medians through the store's own calls; `ST_MILLION=1` adds a million rows. What must stay flat
//! does not rise from column to column. In brackets: before lists, positions and rules were answered
//! from numbers that are kept, on another day of the same machine.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing to say")]

mod world;

use std::time::Instant;

use st_store::{
    JobFilter, JobRepo as _, JobStatus, PageRequest, QueueEntryId, QueueFilter, QueueRepo as _,
    SqliteStore, UserId,
};

use world::{OWNER_OF_MOST, OWNER_OF_SOME, World};

/// The calls of one measurement, unless they take seconds.
const CALLS: usize = 101;

/// What is measured, and what it took before with 1,000, 10,000, 100,000 and 1,000,000 rows.
struct Line {
    name: &'static str,
    before: [&'static str; 4],
    measured: Vec<f64>,
}

/// Lines in the order in which they were first measured.
#[derive(Default)]
struct Table(Vec<Line>);

impl Table {
    fn add(&mut self, name: &'static str, before: [&'static str; 4], measured: f64) {
        match self.0.iter_mut().find(|line| line.name == name) {
            Some(line) => line.measured.push(measured),
            None => self.0.push(Line { name, before, measured: vec![measured] }),
        }
    }

    fn print(&self, unit: &str, sizes: &[u32]) {
        print!("\n{unit:<40}");
        for size in sizes {
            print!("{size:>20}");
        }
        println!();
        for Line { name, before, measured } in &self.0 {
            print!("{name:<40}");
            for (measured, before) in measured.iter().zip(before) {
                let before = if before.is_empty() { String::new() } else { format!("({before})") };
                print!("{measured:>11.3} {before:>8}");
            }
            println!();
        }
    }
}

#[tokio::main]
async fn main() {
    let mut sizes = vec![1_000, 10_000, 100_000];
    if std::env::var_os("ST_MILLION").is_some() {
        sizes.push(1_000_000);
    }
    let (mut lists, mut queue, mut submits) =
        (Table::default(), Table::default(), Table::default());
    for &size in &sizes {
        let world = World::finished(size).await;
        measure_lists(&world.store, size, &mut lists).await;
        measure_rules(&world, &mut submits).await;
        drop(world.close().await);
        let world = World::waiting(size).await;
        measure_queue(&world, &mut queue).await;
        measure_submits(&world, &mut submits).await;
        drop(world.close().await);
    }
    lists.print("finished jobs; ms", &sizes);
    queue.print("waiting jobs; ms", &sizes);
    submits.print("submissions", &sizes);
}

/// The median of some calls, in milliseconds.
async fn median(mut call: impl AsyncFnMut()) -> f64 {
    let mut all = Vec::new();
    let began = Instant::now();
    for _ in 0..CALLS {
        let one = Instant::now();
        call().await;
        all.push(one.elapsed().as_secs_f64() * 1000.0);
        if began.elapsed().as_secs() >= 3 {
            break;
        }
    }
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn measure_lists(store: &SqliteStore, size: u32, table: &mut Table) {
    let page = PageRequest { limit: 50, offset: 0 };
    let half = PageRequest { limit: 50, offset: size / 2 };
    let status = |status| JobFilter { status: Some(status), ..JobFilter::default() };
    let user = |user| JobFilter { user: Some(UserId::new(user)), ..JobFilter::default() };
    let user_and_status = JobFilter { status: Some(JobStatus::Cancelled), ..user(OWNER_OF_MOST) };
    let middle = world::finished_id(size / 2);
    let cursor = JobFilter { before: Some(middle), ..JobFilter::default() };
    let unmeasured = [""; 4];
    for (name, filter, page, before) in [
        ("first page", JobFilter::default(), page, ["0.24", "1.38", "12.1", "119"]),
        ("cursor in the middle", cursor, page, ["0.31", "1.2", "20.5", "194"]),
        ("a status that none has", status(JobStatus::Running), page, ["0.36", "2.1", "32", "344"]),
        ("a status that few have", status(JobStatus::Failed), page, unmeasured),
        ("a user who has few", user(OWNER_OF_SOME), page, ["0.28", "3.3", "39", "198"]),
        ("a user who has most", user(OWNER_OF_MOST), page, unmeasured),
        ("of that user, a status that none has", user_and_status, page, unmeasured),
        (
            "offset in the middle (old clients)",
            JobFilter::default(),
            half,
            ["0.55", "3.1", "34", "325"],
        ),
    ] {
        let took = median(async || drop(store.list_jobs(&filter, page).await.unwrap())).await;
        table.add(name, before, took);
    }
    let entries = async || drop(store.list_entries(QueueFilter::default(), page).await.unwrap());
    table.add("the queue, nothing waiting", ["0.17", "0.98", "17", "130"], median(entries).await);
}

async fn measure_queue(world: &World, table: &mut Table) {
    let store = &world.store;
    for (name, job, before) in [
        ("position, middle", world::waiting_id(world.size / 2), [""; 4]),
        ("position, last", world::waiting_id(world.size - 1), ["0.16", "0.82", "10.4", ""]),
    ] {
        let took = median(async || drop(store.standings(&[job]).await.unwrap())).await;
        table.add(name, before, took);
    }
    let jobs: Vec<_> = (0..50).map(|it| world::waiting_id(world.size - 1 - it)).collect();
    let took = median(async || drop(store.standings(&jobs).await.unwrap())).await;
    table.add("positions of a page of 50", [""; 4], took);
    let took = median(async || drop(store.queue_stats().await.unwrap())).await;
    table.add("statistics", ["0.51", "2.7", "25.8", ""], took);
    let after = Some(QueueEntryId(i64::from(world.size) - 60));
    let end = QueueFilter { after, ..QueueFilter::default() };
    let page = PageRequest::default();
    let took = median(async || drop(store.list_entries(end, page).await.unwrap())).await;
    table.add("end of the queue by cursor", ["0.66", "5.0", "65", ""], took);
}

/// A submission with ten rules, by who made all the jobs and by who made none.
async fn measure_rules(world: &World, table: &mut Table) {
    world.add_rules().await;
    let mut number = 0;
    let mut submit = async |user: Option<&str>| {
        number += 1;
        let user = user.map_or_else(|| format!("new-{number}"), str::to_owned);
        world.store.submit(world::job(number, &user)).await.unwrap();
    };
    let by_new = median(async || submit(None).await).await;
    let by_most = median(async || submit(Some(OWNER_OF_MOST)).await).await;
    table.add("ms with ten rules, by who made no job", [""; 4], by_new);
    table.add("ms with ten rules, by who made them all", ["", "", "", "70"], by_most);
}

/// How many submissions there are a second when each answer shows the position, by 64 clients.
async fn measure_submits(world: &World, table: &mut Table) {
    const CLIENTS: u32 = 64;
    const EACH: u32 = 50;
    let began = Instant::now();
    let clients = (0..CLIENTS).map(|client| async move {
        for number in 0..EACH {
            let new = world::job(client * EACH + number, &format!("client-{client}"));
            let job = new.id;
            world.store.submit(new).await.unwrap();
            world.store.standings(&[job]).await.unwrap();
        }
    });
    futures_all(clients.collect()).await;
    let rate = f64::from(CLIENTS * EACH) / began.elapsed().as_secs_f64();
    table.add("a second, each with its position", [""; 4], rate);
}

/// Polls all of them until each is done.
async fn futures_all(futures: Vec<impl Future<Output = ()>>) {
    let mut all: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
