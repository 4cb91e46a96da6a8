//! Calls that change nothing write nothing.

use st_store::{Actor, JobStatus, Outcome, Settled};
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
