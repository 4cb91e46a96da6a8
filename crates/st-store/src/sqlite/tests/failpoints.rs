//! Every step of a write fails in every way: what is acknowledged is stored, what is refused is not.

use crate::repo::StoreStatus as _;
use std::fs;
use std::io::Write;

use super::*;
use crate::failpoint::{FailPoint, Failure, arm, disarm, hits};

const FAILURES: [Failure; 3] = [Failure::Error, Failure::Panic, Failure::Abort];

fn notes(folder: &Path) -> PathBuf {
    folder.join("notes")
}

fn note(folder: &Path, name: &str, result: &Result<()>) {
    let said = match result {
        Ok(()) => "stored",
        Err(Error::OutcomeUnknown { .. }) => "unknown",
        Err(_) => "refused",
    };
    let mut file = fs::OpenOptions::new().append(true).create(true).open(notes(folder)).unwrap();
    writeln!(file, "{name} {said}").unwrap();
}

/// In the child: three writes share a commit in which one step fails.
pub(super) async fn scene(path: &Path, number: usize) {
    let folder = path.parent().unwrap();
    let (point, failure) = (FailPoint::ALL[number / 3], FAILURES[number % 3]);
    let config = SqliteConfig { probe_period: Duration::from_mins(10), ..quick(path) };
    let store = Arc::new(SqliteStore::open(config).await.unwrap());
    store.prepare().await;
    note(folder, "before", &store.put("before").await);
    // Enough that the log is copied into the database.
    let bytes = if point == FailPoint::Checkpoint { 2_000_000 } else { 10 };
    let (go, gate) = store.occupy().await;
    let tasks: Vec<_> = ["one", "two", "three"]
        .map(|name| (name, store.spawn(Lane::Worker, "put", move |tx| insert(tx, name, bytes))))
        .into_iter()
        .collect();
    store.until_waiting(3).await;
    // The gate passes these on its way out; it writes nothing, and has begun already.
    let gate_passes = matches!(
        point,
        FailPoint::Release
            | FailPoint::BeforeCommit
            | FailPoint::AfterCommit
            | FailPoint::BeforeAnswer
    );
    arm(point, if gate_passes { 2 } else { 1 }, failure);
    go.send(()).unwrap();
    gate.await.unwrap().unwrap();
    for (name, task) in tasks {
        note(folder, name, &task.await.unwrap());
    }
    let mut after = store.put("after").await;
    while after.as_ref().is_err_and(Error::is_transient) {
        store.until_health(|health| health.writable.is_ok()).await;
        after = store.put("after").await;
    }
    note(folder, "after", &after);
    assert!(hits(point) > 0, "{point:?}");
    disarm();
    store.close().await.unwrap();
    fs::write(folder.join("closed"), "").unwrap();
}

/// In the child: the clock is set, and whether the move of what waits was stored is unknown.
pub(super) async fn step(path: &Path) {
    use crate::clock::ManualClock;
    let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
    let config = SqliteConfig {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        probe_period: Duration::from_mins(10),
        ..quick(path)
    };
    let store = SqliteStore::open(config).await.unwrap();
    store.prepare().await;
    store.sql("INSERT INTO provider_acceptances VALUES ('p', 'a', 0, 'b', 0)").await.unwrap();
    clock.step(jiff::SignedDuration::from_hours(-1));
    arm(FailPoint::AfterCommit, 1, Failure::Error);
    assert!(store.put("during").await.is_err());
    disarm();
    store.until_health(|health| health.writable.is_ok()).await;
    store.put("after").await.unwrap();
    // A step that follows is another one.
    clock.step(jiff::SignedDuration::from_mins(-5));
    store.put("later").await.unwrap();
    let read = store.readers.point("read", |connection| {
        connection
            .query_row("SELECT latest_at FROM provider_acceptances", [], |row| row.get::<_, i64>(0))
            .map_err(failed("read"))
    });
    fs::write(notes(path.parent().unwrap()), read.await.unwrap().to_string()).unwrap();
}

#[tokio::test]
async fn a_step_of_the_clock_whose_outcome_is_unknown_is_applied_once() {
    let dir = tempfile::tempdir().unwrap();
    let output = child::command("step", dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(notes(dir.path())).unwrap(), "-3900000");
}

/// In the child: the thread ends while it writes the record of a commit.
pub(super) async fn seen_before_the_record(path: &Path) {
    use crate::repo::EventLog as _;
    let store = open(path).await.unwrap();
    store.prepare().await;
    arm(FailPoint::Record, 1, Failure::Panic);
    assert!(store.events(7).await.unwrap_err().outcome_is_unknown());
    let known = store.last_event.borrow().0;
    let resync = store.events_after(EventId(7), 1).await.unwrap().resync;
    fs::write(notes(path.parent().unwrap()), format!("{known} {resync}")).unwrap();
}

#[tokio::test]
async fn a_commit_that_can_be_read_was_announced() {
    let dir = tempfile::tempdir().unwrap();
    let output = child::command("seen", dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_to_string(notes(dir.path())).unwrap(), "7 false");
}

/// In the child process: a claim is rolled back at each fail point, and the next claim grants the job.
pub(super) async fn claimed_again(path: &Path) {
    use st_log::CorrelationId;

    use crate::model::{AtMostOnce, Holder, JobId, JobType, NewJob, Opening, Owner, Role};
    use crate::repo::{ClaimOptions, JobRepo as _, QueueRepo as _, Serving};

    let config = SqliteConfig { probe_period: Duration::from_mins(10), ..quick(path) };
    let store = SqliteStore::open(config).await.unwrap();
    let provider = crate::model::ProviderName::new("p");
    let serving = Serving {
        provider: provider.clone(),
        account: None,
        guarantee: AtMostOnce::ListedMarker,
        provider_time: None,
        may_arrive_for: jiff::SignedDuration::from_secs(120),
        opening: Opening::Open,
    };
    let holder = Holder::new([1; 16]);
    let lease = Duration::from_secs(90);
    let options = ClaimOptions { holder, serving: vec![serving], max: 1, lease };
    let places = [FailPoint::Savepoint, FailPoint::Release, FailPoint::BeforeCommit];
    for (number, (point, failure)) in
        places.into_iter().flat_map(|it| [(it, Failure::Error), (it, Failure::Panic)]).enumerate()
    {
        let id = JobId::new(Timestamp::UNIX_EPOCH, [u8::try_from(number).unwrap(); 10]);
        let correlation_id = CorrelationId::parse("c").unwrap();
        let of = (JobType::Cloud, provider.clone());
        let owner = Owner::user(format!("u{number}"));
        store.submit(NewJob::new(id, of, owner, Role::Lead, correlation_id)).await.unwrap();
        arm(point, 1, failure);
        let refused = store.claim(&options).await;
        disarm();
        assert!(refused.is_err(), "{point:?} {failure:?}: {refused:?}");
        store.until_health(|health| health.writable.is_ok()).await;
        let claims = loop {
            match store.claim(&options).await {
                Err(error) if error.is_transient() => {}
                other => break other.unwrap().claims,
            }
        };
        let granted: Vec<_> = claims.iter().map(|claim| claim.record.id()).collect();
        assert_eq!(granted, [id], "{point:?} {failure:?}");
        store.sql("UPDATE queue_entries SET status = 'cancelled'").await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_that_was_undone_is_granted_again() {
    let dir = tempfile::tempdir().unwrap();
    let output = child::command("claimed_again", dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn every_point(failure: usize) {
    for number in 0..FailPoint::ALL.len() {
        let dir = tempfile::tempdir().unwrap();
        let scene = format!("failpoint {}", number * 3 + failure);
        let output = child::command(&scene, dir.path()).output().unwrap();
        let point = FailPoint::ALL[number];
        let notes = fs::read_to_string(notes(dir.path())).unwrap();
        let died = FAILURES[failure] == Failure::Abort;
        let closed = dir.path().join("closed").exists();
        assert_eq!(closed, !died, "{point:?}: {}", String::from_utf8_lossy(&output.stderr));
        let store = open(&dir.path().join("cloud.db")).await.unwrap();
        assert_eq!(store.life().epoch, crate::Epoch(1), "{point:?}");
        let stored = store.names().await;
        for (name, said) in notes.lines().filter_map(|line| line.split_once(' ')) {
            let is_stored = stored.iter().any(|known| known == name);
            match said {
                "stored" => assert!(is_stored, "{point:?}: {name} was acknowledged"),
                "refused" => assert!(!is_stored, "{point:?}: {name} was refused"),
                _ => {}
            }
        }
        assert!(died || notes.contains("after stored"), "{point:?}: {notes}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn every_step_may_fail() {
    every_point(0).await;
}

#[tokio::test]
async fn every_step_may_panic() {
    every_point(1).await;
}

#[tokio::test]
async fn the_process_may_end_at_every_step() {
    every_point(2).await;
}
