//! Calls that change nothing write nothing.

use st_store::{Actor, EventId, JobStatus, LimitsPatch, Outcome, Settled};
use st_testkit::suite::{settlement, status};

use super::bench::Bench;

#[tokio::test]
async fn a_report_that_changes_nothing_writes_no_row() {
    let bench = Bench::new().await;
    let there = bench.at_provider(1).await;
    let raw = bench.raw();
    // It changes with each commit of another connection that wrote something.
    let version = || raw.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let report = async |to| {
        let report = settlement(&there, Outcome::Reported(status(1, to)));
        bench.settle_as(&Actor::Poller, report).await.unwrap().0
    };
    let before = version();
    assert_eq!(report(JobStatus::Queued).await, Settled::Unchanged);
    assert_eq!(version(), before);
    assert_eq!(report(JobStatus::Running).await, Settled::Changed);
    assert!(version() > before, "a change is seen");
}

#[tokio::test]
async fn a_step_writes_each_row_once_and_only_what_changed() {
    let bench = Bench::new().await;
    bench.raw()
        .execute_batch(
            "CREATE TABLE written (name TEXT) STRICT;
             CREATE TRIGGER a AFTER UPDATE ON jobs BEGIN INSERT INTO written VALUES ('job'); END;
             CREATE TRIGGER b AFTER UPDATE ON queue_entries
             BEGIN INSERT INTO written VALUES ('entry'); END;
             CREATE TRIGGER c AFTER UPDATE OF started_at ON queue_entries
             BEGIN INSERT INTO written VALUES ('start'); END;
             CREATE TRIGGER d AFTER UPDATE OF provider_job_id ON jobs
             BEGIN INSERT INTO written VALUES ('provider job'); END;
             CREATE TRIGGER e AFTER INSERT ON events BEGIN INSERT INTO written VALUES ('event'); END;",
        )
        .unwrap();
    let written = || {
        let rows = bench.rows("SELECT name, COUNT(*) AS n FROM written GROUP BY name");
        bench.raw().execute("DELETE FROM written", []).unwrap();
        rows.replace("name=", "").replace(" n=", " ").replace('\n', ", ")
    };
    let there = bench.at_provider(1).await;
    assert_eq!(
        written(),
        "entry 2, event 6, job 2, provider job 1, start 1",
        "submitted, claimed, accepted"
    );
    for (to, expected) in [
        (JobStatus::Queued, ""),
        (JobStatus::Running, "event 1, job 1"),
        (JobStatus::Running, ""),
        (JobStatus::Completed, "entry 1, event 2, job 1"),
    ] {
        let report = settlement(&there, Outcome::Reported(status(1, to)));
        bench.settle_as(&Actor::Poller, report).await.unwrap();
        assert_eq!(written(), expected, "{to}");
    }
}

#[tokio::test]
async fn the_correlation_of_a_job_is_stored_once() {
    let bench = Bench::new().await;
    bench.at_provider(1).await;
    assert_eq!(bench.rows("SELECT correlation_id FROM events").trim(), "");
    let found = bench.found(1).await;
    for event in bench.store.job_events(found.id(), EventId(0), 99).await.unwrap().events {
        assert_eq!(event.event.correlation_id, found.job().correlation_id);
    }
    let other = LimitsPatch { global: Some(7), ..LimitsPatch::default() };
    bench.store.patch_limits(other, &Actor::Operator).await.unwrap();
    let stored = bench.rows("SELECT correlation_id FROM events WHERE entry_id IS NULL");
    let all = bench.store.events_after(EventId(0), 99).await.unwrap().events;
    let last = all.last().unwrap();
    assert_eq!(stored, format!("correlation_id={}", last.event.correlation_id));
}
