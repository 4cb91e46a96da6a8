//! Streams on one feed, without HTTP: what is read for them, what they get, and when they end.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join_all;
use jiff::SignedDuration;
use st_log::CorrelationId;
use st_store::{
    Actor, Error, EventLog, HistoryRepo, JobId, JobRepo, JobType, NewJob, Owner, ProviderName,
    Role, Store, StoreStatus,
};
use st_testkit::flaky_store::FlakyStore;
use tokio_util::sync::CancellationToken;

use super::follower::{HEARTBEAT, heartbeat};
use super::reader::{Age, Reader};
use super::*;

const STREAMS: usize = 100;

struct World {
    store: Arc<FlakyStore>,
    feed: Arc<Feed>,
    stop: CancellationToken,
    jobs: u32,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    fn new() -> Self {
        let store = Arc::new(FlakyStore::default());
        let stop = CancellationToken::new();
        let shared = Arc::clone(&store) as Arc<dyn Store>;
        let feed = Feed::start(shared, STREAMS, stop.clone());
        Self { store, feed, stop, jobs: 0 }
    }

    /// A stream that has said that it is open.
    async fn open(&self, after: Option<i64>, job: Option<JobId>) -> Follower {
        let ticket = self.feed.join().unwrap();
        let mut follower = Follower::new(ticket, after.map(EventId), job, Format::Message);
        assert_eq!(get(&mut follower).await, Got::Notice("connection".to_owned()));
        follower
    }

    /// Stores a job, which is two events.
    async fn submit(&mut self) -> JobId {
        self.jobs += 1;
        let mut random = [0; 10];
        random[..4].copy_from_slice(&self.jobs.to_be_bytes());
        let id = JobId::new(self.store.now(), random);
        let place = (JobType::Cloud, ProviderName::new("alpha"));
        let correlation_id = CorrelationId::generate();
        let new = NewJob::new(id, place, Owner::user("ann"), Role::Admin, correlation_id);
        self.store.submit(new).await.unwrap().record.id()
    }

    fn newest(&self) -> i64 {
        self.store.last_event().borrow().0
    }
}

/// What a stream sent.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Event(i64),
    Notice(String),
    End,
}

async fn get(follower: &mut Follower) -> Got {
    let Some(frame) = follower.next().await else { return Got::End };
    let text = std::str::from_utf8(&frame).unwrap();
    match text.strip_prefix("id: ") {
        Some(rest) => Got::Event(rest.split_once('\n').unwrap().0.parse().unwrap()),
        None => Got::Notice(text.split('"').nth(3).unwrap().to_owned()),
    }
}

/// The IDs up to `last`, with nothing between them but heartbeats, which come on a slow machine.
async fn up_to(follower: &mut Follower, last: i64) -> Vec<i64> {
    let mut ids = Vec::new();
    while ids.last() != Some(&last) {
        match get(follower).await {
            Got::Event(id) => ids.push(id),
            Got::Notice(kind) if kind == "heartbeat" => {}
            other @ (Got::Notice(_) | Got::End) => panic!("{other:?} after {ids:?}"),
        }
    }
    ids
}

#[tokio::test]
async fn an_event_is_read_once_however_many_streams_there_are() {
    let mut world = World::new();
    let mut streams = join_all((0..STREAMS).map(|_| world.open(None, None))).await;
    for turn in 0..3 {
        let before = world.store.event_reads();
        world.submit().await;
        for stream in &mut streams {
            assert_eq!(up_to(stream, 2 * turn + 2).await, [2 * turn + 1, 2 * turn + 2]);
        }
        assert_eq!(world.store.event_reads() - before, 1);
    }
}

#[tokio::test]
async fn while_there_are_no_streams_nothing_is_read() {
    let mut world = World::new();
    let mut first = world.open(None, None).await;
    world.submit().await;
    assert_eq!(up_to(&mut first, 2).await, [1, 2]);
    drop(first);
    let before = world.store.event_reads();
    // The feed learns with the next event that nobody is there, and reads it in vain.
    for _ in 0..5 {
        world.submit().await;
        tokio::task::yield_now().await;
    }
    assert!(world.store.event_reads() - before <= 1);
    let mut second = world.open(None, None).await;
    let mut third = world.open(Some(1), None).await;
    world.submit().await;
    assert_eq!(up_to(&mut second, 14).await, [13, 14]);
    assert_eq!(up_to(&mut third, 14).await, (2..15).collect::<Vec<i64>>());
}

#[tokio::test]
async fn who_is_far_behind_reads_the_log_and_then_joins_the_others() {
    let mut world = World::new();
    for _ in 0..200 {
        world.submit().await;
    }
    let mut late = world.open(Some(0), None).await;
    assert_eq!(up_to(&mut late, 400).await, (1..401).collect::<Vec<i64>>());
    let mut early = world.open(None, None).await;
    // Both wait at the end.
    assert!(get(&mut late).now_or_never().is_none());
    assert!(get(&mut early).now_or_never().is_none());
    let before = world.store.event_reads();
    world.submit().await;
    for stream in [&mut late, &mut early] {
        assert_eq!(up_to(stream, 402).await, [401, 402]);
    }
    assert_eq!(world.store.event_reads() - before, 1);
}

#[tokio::test]
async fn a_stream_that_stands_still_while_the_ring_overflows_misses_nothing() {
    let mut world = World::new();
    let mut stuck = world.open(None, None).await;
    let mut other = world.open(None, None).await;
    for _ in 0..2200 {
        world.submit().await;
        let newest = world.newest();
        up_to(&mut other, newest).await;
    }
    let newest = world.newest();
    assert_eq!(up_to(&mut stuck, newest).await, (1..=newest).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_stream_about_one_job_gets_only_its_events_and_comes_to_the_end() {
    let mut world = World::new();
    let (first, second) = (world.submit().await, world.submit().await);
    let mut of_first = world.open(Some(0), Some(first)).await;
    let mut of_second = world.open(None, Some(second)).await;
    assert_eq!(up_to(&mut of_first, 2).await, [1, 2]);
    for job in [second, first] {
        world.store.cancel_job(job, &Actor::Operator).await.unwrap();
    }
    let of_job = async |job| {
        let page = world.store.job_events(job, EventId(4), 9).await.unwrap();
        page.events.iter().map(|event| event.id.0).collect::<Vec<i64>>()
    };
    let (wanted_first, wanted_second) = (of_job(first).await, of_job(second).await);
    assert_eq!(up_to(&mut of_first, *wanted_first.last().unwrap()).await, wanted_first);
    assert_eq!(up_to(&mut of_second, *wanted_second.last().unwrap()).await, wanted_second);
    assert!(get(&mut of_second).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn events_that_were_deleted_before_they_could_be_read_are_a_resync_for_all() {
    let mut world = World::new();
    let mut streams = [world.open(None, None).await, world.open(None, None).await];
    world.submit().await;
    for stream in &mut streams {
        assert_eq!(up_to(stream, 2).await, [1, 2]);
        assert!(get(stream).now_or_never().is_none());
    }
    world.store.faults().events = Some(|| Error::Busy);
    let job = world.submit().await;
    world.store.cancel_job(job, &Actor::Operator).await.unwrap();
    tokio::task::yield_now().await;
    world.store.prune(Some(SignedDuration::ZERO), 9).await.unwrap();
    world.store.faults().events = None;
    let resync = Got::Notice("resync".to_owned());
    for stream in &mut streams {
        assert_eq!(get(stream).await, resync);
    }
    let before = world.newest();
    world.submit().await;
    for stream in &mut streams {
        assert_eq!(up_to(stream, before + 2).await, [before + 1, before + 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_for_a_while_delays_the_streams_and_loses_nothing() {
    let mut world = World::new();
    let mut open = world.open(None, None).await;
    assert!(get(&mut open).now_or_never().is_none());
    world.store.faults().events = Some(|| Error::Busy);
    world.submit().await;
    // Until it is read again the stream is alive.
    assert_eq!(get(&mut open).await, Got::Notice("heartbeat".to_owned()));
    // One that has to read the log itself ends, and its client comes back.
    let mut late = world.open(Some(0), None).await;
    assert_eq!(get(&mut late).await, Got::End);
    world.store.faults().events = None;
    assert_eq!(up_to(&mut open, 2).await, [1, 2]);
}

#[tokio::test]
async fn no_more_streams_than_allowed_and_all_end_with_the_server() {
    let world = World::new();
    let mut streams = join_all((0..STREAMS).map(|_| world.open(None, None))).await;
    assert!(world.feed.join().is_none());
    drop(streams.pop());
    let mut last = world.open(None, None).await;
    let waiting = st_log::spawn(async move { get(&mut last).await });
    world.stop.cancel();
    assert_eq!(waiting.await.unwrap(), Got::End);
    for stream in &mut streams {
        assert_eq!(get(stream).await, Got::End);
    }
}

#[tokio::test]
async fn those_who_ask_while_reads_are_under_way_share_the_next_one() {
    let mut world = World::new();
    world.submit().await;
    let reader = Reader::new(Arc::clone(&world.store) as Arc<dyn Store>);
    let busy = reader.all_reads().await;
    let (reads, mut asking) = (world.store.event_reads(), Vec::new());
    for after in [0, 0, 1, 0, 1] {
        let mut share = Box::pin(reader.share(EventId(after), Age::New));
        assert!(futures_util::poll!(&mut share).is_pending());
        asking.push(share);
    }
    drop(busy);
    let counts = join_all(asking).await.into_iter().map(|chunk| chunk.unwrap().entries.len());
    assert_eq!(counts.collect::<Vec<usize>>(), [2, 2, 1, 2, 1]);
    assert_eq!(world.store.event_reads() - reads, 2);
    // What was read before the question does not answer it, unless an older answer will do.
    world.submit().await;
    assert_eq!(reader.share(EventId(0), Age::Recent).await.unwrap().entries.len(), 2);
    assert_eq!(reader.share(EventId(0), Age::New).await.unwrap().entries.len(), 4);
    assert_eq!(world.store.event_reads() - reads, 3);
    // Nor does an older answer that there was nothing yet.
    assert!(reader.share(EventId(4), Age::New).await.unwrap().entries.is_empty());
    world.submit().await;
    assert_eq!(reader.share(EventId(4), Age::Recent).await.unwrap().entries.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_stream_has_a_heartbeat_in_each_period_and_no_two_at_the_same_moment() {
    let began = tokio::time::Instant::now();
    let mut seconds = BTreeMap::<u128, u32>::new();
    let mut beats: Vec<_> = (0..1000).map(heartbeat).collect();
    for first in join_all(beats.iter_mut().map(tokio::time::Interval::tick)).await {
        let after = first - began;
        assert!(!after.is_zero() && after <= HEARTBEAT, "{after:?}");
        *seconds.entry(after.as_millis().div_ceil(1000)).or_default() += 1;
    }
    assert_eq!(seconds.len(), 15);
    assert!(seconds.values().all(|count| (60..=75).contains(count)), "{seconds:?}");
}

#[tokio::test]
async fn streams_that_open_read_and_pause_at_random_get_each_event_once_and_in_order() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let mut streams: Vec<(Follower, i64)> = Vec::new();
        for _ in 0..400 {
            match random.u32(..10) {
                0 if streams.len() < 30 => {
                    let newest = world.newest();
                    let after = random.bool().then(|| random.i64(0..=newest));
                    let at = after.unwrap_or(newest);
                    streams.push((world.open(after, None).await, at));
                }
                1 if !streams.is_empty() => {
                    drop(streams.swap_remove(random.usize(..streams.len())));
                }
                2 | 3 => drop(world.submit().await),
                4 => tokio::task::yield_now().await,
                _ if !streams.is_empty() => {
                    let chosen = random.usize(..streams.len());
                    let (stream, at) = &mut streams[chosen];
                    if let Some(got) = get(stream).now_or_never() {
                        assert_eq!(got, Got::Event(*at + 1), "seed {seed}");
                        *at += 1;
                    }
                }
                _ => {}
            }
        }
        world.submit().await;
        let newest = world.newest();
        for (stream, at) in &mut streams {
            assert_eq!(up_to(stream, newest).await, (*at + 1..=newest).collect::<Vec<i64>>());
        }
    }
}
