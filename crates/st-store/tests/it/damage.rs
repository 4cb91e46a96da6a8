//! Rows that cannot be decoded: each harms its own job and nothing else.

use std::sync::Arc;

use rusqlite::Connection;
use st_store::{
    Actor, Error, EventId, EventLog, JobFilter, JobRef, JobRepo, ManualClock, PageRequest,
    QueueFilter, QueueRepo, QueueStatus, SqliteConfig, SqliteStore, StoreStatus, StrayRepo,
};
use st_testkit::suite::{accepted, at, claiming, costs_more_than, id, job, settlement};
use tempfile::TempDir;

struct Bench {
    store: SqliteStore,
    clock: Arc<ManualClock>,
    dir: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(at(0)));
        let config =
            SqliteConfig { clock: clock.clone(), ..SqliteConfig::new(dir.path().join("cloud.db")) };
        Self { store: SqliteStore::open(config).await.unwrap(), clock, dir }
    }

    /// Writes into the file as a fault would, past every check.
    fn damage(&self, sql: &str) {
        let connection = Connection::open(self.dir.path().join("cloud.db")).unwrap();
        connection
            .execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF")
            .unwrap();
        assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
    }

    async fn submit(&self, number: u8) {
        self.store.submit(job(number, &format!("user-{number}"))).await.unwrap();
    }

    async fn claimed(&self) -> (Vec<String>, Vec<String>) {
        let claims = self.store.claim(&claiming(100)).await.unwrap();
        let jobs = claims.claims.iter().map(|claim| claim.record.id().to_string()).collect();
        (jobs, claims.damaged.iter().map(ToString::to_string).collect())
    }
}

fn everything() -> PageRequest {
    PageRequest { limit: 500, offset: 0 }
}

/// One value that does not decode, for each column that is decoded into more than text.
fn bad_columns(number: u8) -> Vec<(&'static str, String)> {
    let columns = [
        ("jobs", "job_type", "'elsewhere'"),
        ("jobs", "status", "'lost'"),
        ("jobs", "status", "'running'"),
        ("jobs", "correlation_id", "'no good id'"),
        ("jobs", "created_at", "9223372036854775807"),
        ("jobs", "started_at", "-9223372036854775808"),
        ("jobs", "metadata", "'{'"),
        ("jobs", "cost_usd", "-1.0"),
        ("jobs", "provider_account", "'https://host {'"),
        ("queue_entries", "claim_account", "'https://host {}'"),
        ("queue_entries", "priority", "51"),
        ("queue_entries", "priority_override", "-1"),
        ("queue_entries", "queued_at", "9223372036854775807"),
        ("queue_entries", "estimated_cost", "9e999"),
        ("queue_entries", "attempt", "-1"),
        ("queue_entries", "attempt", "7"),
        ("queue_entries", "max_attempts", "0"),
        ("queue_entries", "epoch", "-1"),
        ("queue_entries", "token", "99"),
        ("queue_entries", "cancel_requested_at", "9223372036854775807"),
        ("queue_entries", "provider", "'fake '"),
    ];
    columns
        .into_iter()
        .map(|(table, column, value)| {
            let job = id(number);
            let which = format!("(SELECT entry_id FROM jobs WHERE job_id = '{job}')");
            (column, format!("UPDATE {table} SET {column} = {value} WHERE entry_id = {which}"))
        })
        .collect()
}

#[tokio::test]
async fn a_damaged_job_is_set_aside_by_a_claim_and_the_others_run() {
    for (column, sql) in bad_columns(1) {
        let bench = Bench::start().await;
        for number in 0..3 {
            bench.submit(number).await;
        }
        bench.damage(&sql);
        let (claimed, damaged) = bench.claimed().await;
        assert_eq!(claimed, [id(0).to_string(), id(2).to_string()], "{sql}");
        if column == "provider" {
            // A provider that nobody serves; the entry waits like any other of its kind.
            continue;
        }
        assert_eq!(damaged.len(), 1, "{sql}: {damaged:?}");
        assert!(damaged[0].contains(&id(1).to_string()), "{sql}: {damaged:?}");
        assert_eq!(bench.store.unsettled().await.unwrap().damaged, 1, "{sql}");
        let (again, damaged) = bench.claimed().await;
        assert!(again.is_empty() && damaged.is_empty(), "it is set aside: {sql}");
        let found = bench.store.find_job(&JobRef::Id(id(1))).await;
        assert!(matches!(found, Err(Error::Damaged(_))), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn a_damaged_job_takes_no_slot() {
    let bench = Bench::start().await;
    for number in 1..=3 {
        let mut new = job(number, "ann");
        new.owner.team = None;
        bench.store.submit(new).await.unwrap();
    }
    let (claimed, _) = bench.claimed().await;
    assert_eq!(claimed.len(), 2, "the user's limit");
    bench.damage(&format!("UPDATE jobs SET metadata = '[' WHERE job_id = '{}'", id(1)));
    let page = bench.store.list_jobs(&JobFilter::default(), everything()).await.unwrap();
    assert_eq!((page.items.len(), page.damaged.len()), (2, 1));
    let (claimed, _) = bench.claimed().await;
    assert_eq!(claimed, [id(3).to_string()], "its slot is free");
}

#[tokio::test]
async fn lists_show_what_can_be_read_and_name_what_cannot() {
    for (column, sql) in bad_columns(1) {
        let bench = Bench::start().await;
        for number in 0..3 {
            bench.submit(number).await;
        }
        bench.damage(&sql);
        if column == "provider" {
            continue;
        }
        let jobs = bench.store.list_jobs(&JobFilter::default(), everything()).await.unwrap();
        let filter = QueueFilter { include_completed: true, ..QueueFilter::default() };
        let entries = bench.store.list_entries(filter, everything()).await.unwrap();
        for (list, items, damaged) in
            [("jobs", jobs.items, jobs.damaged), ("entries", entries.items, entries.damaged)]
        {
            assert_eq!((items.len(), damaged.len()), (2, 1), "{list} {sql}");
            assert_eq!(damaged[0].key, id(1).to_string(), "{list} {sql}");
        }
    }
}

#[tokio::test]
async fn a_page_that_ends_with_a_damaged_row_continues_behind_it() {
    let bench = Bench::start().await;
    for number in 0..4 {
        bench.submit(number).await;
    }
    bench.damage(&format!("UPDATE jobs SET metadata = '{{' WHERE job_id = '{}'", id(2)));
    let two = PageRequest { limit: 2, offset: 0 };
    let page = bench.store.list_jobs(&JobFilter::default(), two).await.unwrap();
    assert_eq!((page.items.len(), page.damaged.len(), page.next), (1, 1, Some(id(2))));
    let older = JobFilter { before: page.next, ..JobFilter::default() };
    let page = bench.store.list_jobs(&older, two).await.unwrap();
    assert_eq!((page.items.len(), page.damaged.len(), page.next), (2, 0, Some(id(0))));
    let entries = bench.store.list_entries(QueueFilter::default(), two).await.unwrap();
    let after = QueueFilter { after: entries.next, ..QueueFilter::default() };
    let entries = bench.store.list_entries(after, two).await.unwrap();
    assert_eq!((entries.items.len(), entries.damaged.len()), (1, 1), "the third is damaged");
}

#[tokio::test]
async fn a_lost_row_of_a_waiting_job_stops_no_claim() {
    let bench = Bench::start().await;
    for number in 0..3 {
        bench.submit(number).await;
    }
    bench.damage(&format!("DELETE FROM jobs WHERE job_id = '{}'", id(1)));
    let (claimed, damaged) = bench.claimed().await;
    assert_eq!(claimed.len(), 2);
    assert!(damaged[0].contains("the row is missing"), "{damaged:?}");
}

#[tokio::test]
async fn a_damaged_claim_is_set_aside_and_the_others_are_reclaimed() {
    let bench = Bench::start().await;
    for number in 0..3 {
        bench.submit(number).await;
    }
    assert_eq!(bench.claimed().await.0.len(), 3);
    bench.damage("UPDATE queue_entries SET claim_guarantee = 'luck' WHERE entry_id = 2");
    bench.clock.advance(std::time::Duration::from_secs(91));
    let reclaimed = bench.store.reclaim(&claiming(10), &[].into()).await.unwrap();
    assert_eq!((reclaimed.claims.len(), reclaimed.damaged.len()), (2, 1));
    assert!(reclaimed.damaged[0].to_string().contains("claim_guarantee"));
}

#[tokio::test]
async fn a_damaged_request_is_set_aside_and_the_others_expire() {
    let bench = Bench::start().await;
    st_store::ApprovalRepo::add_rule(&bench.store, costs_more_than("50")).await.unwrap();
    for number in 0..3 {
        let mut new = job(number, &format!("user-{number}"));
        new.estimated_cost = 100.0;
        bench.store.submit(new).await.unwrap();
    }
    bench.damage("UPDATE approvals SET required_role = 'boss' WHERE approval_id = 2");
    bench.clock.advance(std::time::Duration::from_hours(25));
    let expiry = st_store::ApprovalRepo::expire(&bench.store, 10).await.unwrap();
    assert_eq!((expiry.expired.len(), expiry.damaged.len(), expiry.more), (2, 1, false));
    let again = st_store::ApprovalRepo::expire(&bench.store, 10).await.unwrap();
    assert!(again.expired.is_empty() && again.damaged.is_empty());
    assert_eq!(st_store::ApprovalRepo::next_expiry(&bench.store).await.unwrap(), None);
}

#[tokio::test]
async fn more_than_a_few_damaged_rows_in_one_call_set_nothing_aside() {
    let bench = Bench::start().await;
    for number in 0..6 {
        bench.submit(number).await;
    }
    for number in 0..4 {
        let sql = format!("UPDATE jobs SET metadata = '!' WHERE job_id = '{}'", id(number));
        bench.damage(&sql);
    }
    let claim = bench.store.claim(&claiming(100)).await;
    assert!(matches!(claim, Err(Error::ManyDamaged { count: 4, .. })), "{claim:?}");
    let list = bench.store.list_jobs(&JobFilter::default(), everything()).await;
    let list = list.unwrap();
    assert_eq!((list.items.len(), list.damaged.len()), (2, 4), "a reader is shown what there is");
    assert_eq!(bench.store.unsettled().await.unwrap().damaged, 0);
}

#[tokio::test]
async fn a_damaged_event_is_skipped_and_the_reader_goes_on_behind_it() {
    let bench = Bench::start().await;
    for number in 0..3 {
        bench.submit(number).await;
    }
    bench.damage("UPDATE events SET actor = 'ghost' WHERE event_id = 6");
    let all = bench.store.events_after(EventId(0), 100).await.unwrap();
    assert_eq!((all.events.len(), all.damaged.len(), all.next), (5, 1, Some(EventId(6))));
    let last = bench.store.events_after(EventId(5), 100).await.unwrap();
    assert_eq!((last.events.len(), last.next), (0, Some(EventId(6))), "no reader waits for it");
}

#[tokio::test]
async fn a_damaged_job_is_settled_alone() {
    let bench = Bench::start().await;
    for number in 0..2 {
        bench.submit(number).await;
    }
    let claims = bench.store.claim(&claiming(10)).await.unwrap().claims;
    bench.damage(&format!("UPDATE jobs SET metadata = '!' WHERE job_id = '{}'", id(0)));
    let settlements =
        claims.iter().map(|claim| settlement(&claim.record, accepted(7))).collect::<Vec<_>>();
    let settled = bench.store.settle(&Actor::Scheduler, settlements).await.unwrap();
    assert!(matches!(settled[0], Err(Error::Damaged(_))), "{settled:?}");
    let (_, record) = settled[1].as_ref().unwrap();
    assert_eq!(record.queue_status(), QueueStatus::Running);
    bench.store.close().await.unwrap();
}

#[tokio::test]
async fn older_contents_in_the_open_file_end_its_use() {
    let bench = Bench::start().await;
    for number in 0..2 {
        bench.submit(number).await;
    }
    bench.damage("UPDATE sqlite_sequence SET seq = seq - 1 WHERE name = 'events'");
    let refused = bench.store.submit(job(2, "ann")).await;
    assert!(matches!(refused, Err(Error::Detached { .. })), "{refused:?}");
    assert!(bench.store.health().detached);
    // Whatever happens to it now, nothing of this process is written into it.
    bench.damage("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'events'");
    let refused = bench.store.submit(job(2, "ann")).await;
    assert!(matches!(refused, Err(Error::Detached { .. })), "{refused:?}");
}
