//! Jobs.

use serde_json::json;
use st_store::{
    Cancelling, Error, Idempotency, JobFilter, JobRef, JobStatus, PageRequest, ProviderJobId,
    QueueStatus, Refusal, Report, Source, UserId, Work,
};

use super::{Shared, accepted, at, claim, id, job, submit};

/// A job that its provider has.
pub async fn running(store: &Shared, number: u8) -> Work {
    submit(store, job(number, &format!("user-{number}")), 0).await;
    let claims = claim(store, 1).await;
    let token = claims.iter().find(|it| it.work.job.id == id(number)).unwrap().work.entry.token;
    store.record_submitted(id(number), token, &accepted(number), at(2)).await.unwrap()
}

fn report(number: u8, status: JobStatus) -> Report {
    Report::of(ProviderJobId::new(format!("p-{number}")), status)
}

async fn record(store: &Shared, work: &Work, report: Report, seconds: i64) -> Option<Work> {
    let reports = vec![(work.job.id, work.entry.token, report)];
    let mut recorded = store.record_statuses(reports, Source::Poll, at(seconds)).await.unwrap();
    recorded.pop().unwrap().unwrap()
}

pub async fn a_submission_stores_everything_at_once(store: &Shared) {
    let mut new = job(1, "ann");
    new.hardware_type = Some("h100".to_owned());
    let submitted = store.submit(new, at(0)).await.unwrap();
    assert!(!submitted.repeated);
    let found = store.find_job(&JobRef::Id(id(1))).await.unwrap().unwrap();
    assert_eq!(found, submitted.work);
    assert_eq!((found.job.status, found.entry.status), (JobStatus::Pending, QueueStatus::Pending));
    assert_eq!(found.job.metadata["note"], json!({"n": 1}));
    assert_eq!(store.job_events(id(1)).await.unwrap().len(), 2);
    assert_eq!(store.find_job(&JobRef::Id(id(2))).await.unwrap(), None);
}

pub async fn a_job_is_found_by_either_name(store: &Shared) {
    let work = running(store, 1).await;
    for name in [id(1).to_string(), "p-1".to_owned()] {
        let found = store.find_job(&JobRef::parse(&name)).await.unwrap();
        assert_eq!(found.as_ref(), Some(&work), "{name}");
    }
}

pub async fn one_key_of_one_user_makes_one_job(store: &Shared) {
    let keyed = |number: u8, user: &str, digest: &str, expires: i64| {
        let key =
            Idempotency { key: "k".to_owned(), digest: digest.to_owned(), expires_at: at(expires) };
        st_store::NewJob { idempotency: Some(key), ..job(number, user) }
    };
    let first = store.submit(keyed(1, "ann", "d", 100), at(0)).await.unwrap();
    let again = store.submit(keyed(2, "ann", "d", 200), at(50)).await.unwrap();
    assert_eq!((again.work.job.id, again.repeated), (first.work.job.id, true));
    let other = store.submit(keyed(3, "ann", "e", 200), at(50)).await.unwrap_err();
    assert!(matches!(other, Error::IdempotencyMismatch { .. }), "{other}");
    let bob = store.submit(keyed(4, "bob", "d", 100), at(50)).await.unwrap();
    assert!(!bob.repeated, "a key belongs to its user");
    let late = store.submit(keyed(5, "ann", "e", 300), at(100)).await.unwrap();
    assert!(!late.repeated, "a key can be used anew after its time");
    assert_eq!(store.list_jobs(&JobFilter::default(), all()).await.unwrap().total, 3);
}

fn all() -> PageRequest {
    PageRequest { limit: 500, offset: 0 }
}

pub async fn lists_are_paged_and_counted(store: &Shared) {
    for number in 1..=7 {
        let user = if number % 2 == 0 { "even" } else { "odd" };
        submit(store, job(number, user), i64::from(number)).await;
    }
    let newest = PageRequest { limit: 3, offset: 1 };
    let page = store.list_jobs(&JobFilter::default(), newest).await.unwrap();
    let ids: Vec<_> = page.items.iter().map(|work| work.job.id).collect();
    assert_eq!((ids, page.total), (vec![id(6), id(5), id(4)], 7));
    let before = JobFilter { before: Some(id(3)), ..JobFilter::default() };
    let rest = store.list_jobs(&before, all()).await.unwrap();
    assert_eq!((rest.items.len(), rest.total), (2, 7), "the total does not depend on the page");
    let odd = JobFilter { user: Some(UserId::new("odd")), ..JobFilter::default() };
    assert_eq!(store.list_jobs(&odd, all()).await.unwrap().total, 4);
    let done = JobFilter { status: Some(JobStatus::Completed), ..JobFilter::default() };
    assert_eq!(store.list_jobs(&done, all()).await.unwrap().total, 0);
}

pub async fn a_report_is_merged_and_never_erases(store: &Shared) {
    let work = running(store, 1).await;
    let mut rich = report(1, JobStatus::Running);
    rich.cost_usd = Some(1.5);
    rich.started_at = Some("2026-01-01T00:00:05.12345678Z".parse().unwrap());
    record(store, &work, rich, 10).await.unwrap();
    let done = record(store, &work, report(1, JobStatus::Completed), 20).await.unwrap();
    assert_eq!(done.job.cost_usd, Some(1.5));
    assert_eq!(done.job.started_at.unwrap().as_millisecond() % 1000, 123, "to the millisecond");
    assert_eq!(done.job.completed_at, Some(at(20)));
    assert_eq!(done.entry.status, QueueStatus::Completed);
}

pub async fn a_late_report_changes_nothing(store: &Shared) {
    let work = running(store, 1).await;
    record(store, &work, report(1, JobStatus::Running), 10).await.unwrap();
    let mut late = report(1, JobStatus::Queued);
    late.cost_usd = Some(9.0);
    assert_eq!(record(store, &work, late, 11).await, None, "backwards");
    record(store, &work, report(1, JobStatus::Cancelled), 12).await.unwrap();
    for status in [JobStatus::Running, JobStatus::Completed, JobStatus::Failed] {
        assert_eq!(record(store, &work, report(1, status), 13).await, None, "{status} at the end");
    }
    let found = store.find_job(&JobRef::Id(id(1))).await.unwrap().unwrap();
    assert_eq!((found.job.status, found.job.cost_usd), (JobStatus::Cancelled, None));
}

pub async fn a_repeated_report_writes_nothing(store: &Shared) {
    let work = running(store, 1).await;
    record(store, &work, report(1, JobStatus::Running), 10).await.unwrap();
    let before = crate::dump::dump(store.as_ref()).await;
    assert_eq!(record(store, &work, report(1, JobStatus::Running), 11).await, None);
    let unknown = Report { status: None, ..report(1, JobStatus::Queued) };
    assert_eq!(record(store, &work, unknown, 12).await, None);
    assert_eq!(crate::dump::dump(store.as_ref()).await, before);
}

pub async fn one_refused_report_stops_no_other(store: &Shared) {
    let one = running(store, 1).await;
    let two = running(store, 2).await;
    let reports = vec![
        (id(9), one.entry.token, report(9, JobStatus::Running)),
        (id(1), one.entry.token.next(), report(1, JobStatus::Running)),
        (id(1), one.entry.token, report(7, JobStatus::Running)),
        (id(2), two.entry.token, report(2, JobStatus::Running)),
    ];
    let recorded = store.record_statuses(reports, Source::Poll, at(9)).await.unwrap();
    assert!(matches!(recorded[0], Err(Error::NotFound { .. })));
    assert!(matches!(recorded[1], Err(Error::Refused(Refusal::StaleAttempt { .. }))));
    assert!(matches!(recorded[2], Err(Error::Refused(Refusal::OtherProviderJob { .. }))));
    assert_eq!(recorded[3].as_ref().unwrap().as_ref().unwrap().job.status, JobStatus::Running);
}

pub async fn cancelling_depends_on_where_the_job_is(store: &Shared) {
    let mut delayed = job(1, "ann");
    delayed.not_before = Some(at(1000));
    submit(store, delayed, 0).await;
    let (done, work) = store.cancel_job(id(1), at(1)).await.unwrap();
    assert_eq!((done, work.job.status), (Cancelling::Done, JobStatus::Cancelled));
    let again = store.cancel_job(id(1), at(2)).await.unwrap_err();
    let over = Refusal::AlreadyOver(JobStatus::Cancelled);
    assert!(matches!(again, Error::Refused(refusal) if refusal == over));

    submit(store, job(2, "bob"), 3).await;
    let token = claim(store, 4).await[0].work.entry.token;
    let (under_way, _work) = store.cancel_job(id(2), at(5)).await.unwrap();
    assert_eq!(under_way, Cancelling::UnderWay);
    let work = store.record_submitted(id(2), token, &accepted(2), at(6)).await.unwrap();
    assert!(work.entry.cancel_requested_at.is_some(), "whoever holds it is told");
    let (there, work) = store.cancel_job(id(2), at(7)).await.unwrap();
    assert_eq!((there, work.job.status), (Cancelling::AtProvider, JobStatus::Queued));
    let missing = store.cancel_job(id(9), at(8)).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }));
}
