//! Jobs: finding, listing, reports and cancellation.

use st_store::{
    Actor, CancelOutcome, Error, EventId, JobFilter, JobRecord, JobRef, JobStatus, LimitsPatch,
    NewJob, Outcome, PageRequest, ProviderJobId, ProviderName, ProviderStatus, QueueStatus,
    Settled, TransitionError, UserId,
};

use super::{
    Harness, accepted, at, claiming, everything, fake, id, job, provider_job, refusal, settlement,
    status, user,
};

async fn report(harness: &Harness, record: &JobRecord, report: ProviderStatus) -> Settled {
    let settlement = settlement(record, Outcome::Reported(report));
    harness.settle_as(&Actor::Poller, settlement).await.unwrap().0
}

pub async fn a_job_is_found_by_either_identifier(harness: &Harness) {
    let record = harness.at_provider(1).await;
    let at_provider = |provider| JobRef::Provider { provider, id: provider_job(1) };
    for job in [JobRef::Id(id(1)), at_provider(fake())] {
        let found = harness.store.find_job(&job).await.unwrap();
        assert_eq!(found.as_ref(), Some(&record), "{job:?}");
    }
    let elsewhere = at_provider(ProviderName::new("other"));
    assert_eq!(harness.store.find_job(&elsewhere).await.unwrap(), None);
}

pub async fn lists_are_paged_and_counted(harness: &Harness) {
    for number in 1..=7 {
        let user = if number % 2 == 0 { "even" } else { "odd" };
        harness.submit(job(number, user)).await;
    }
    let list = async |filter: JobFilter, page| {
        let page = harness.store.list_jobs(&filter, page).await.unwrap();
        assert!(page.damaged.is_empty());
        (page.items.iter().map(super::number).collect::<Vec<_>>(), page.total)
    };
    let newest = PageRequest { limit: 3, offset: 1 };
    assert_eq!(list(JobFilter::default(), newest).await, (vec![6, 5, 4], 7));
    let before = JobFilter { before: Some(id(3)), ..JobFilter::default() };
    let rest = list(before, everything()).await;
    assert_eq!(rest, (vec![2, 1], 7), "the total does not depend on the page");
    let odd = JobFilter { user: Some(UserId::new("odd")), ..JobFilter::default() };
    assert_eq!(list(odd, everything()).await, (vec![7, 5, 3, 1], 4));
    let done = JobFilter { status: Some(JobStatus::Completed), ..JobFilter::default() };
    assert_eq!(list(done, everything()).await, (vec![], 0));
}

pub async fn a_provider_lists_what_it_has(harness: &Harness) {
    let mut all = LimitsPatch::default();
    all.set(st_store::Limit::Global, 100);
    harness.store.patch_limits(all, &Actor::Operator).await.unwrap();
    for number in 1..=5 {
        harness.at_provider(number).await;
    }
    harness.claimed(6).await;
    let over = harness.found(4).await;
    report(harness, &over, status(4, JobStatus::Completed)).await;
    let list = async |provider: &ProviderName, after, max| {
        let found = harness.store.list_at_provider(provider, after, max).await.unwrap();
        found.iter().map(super::number).collect::<Vec<_>>()
    };
    assert_eq!(list(&fake(), None, 2).await, [1, 2]);
    assert_eq!(list(&fake(), Some(id(2)), 10).await, [3, 5]);
    assert!(list(&ProviderName::new("other"), None, 10).await.is_empty());
}

pub async fn known_provider_jobs_are_found_in_bulk(harness: &Harness) {
    let other = ProviderName::new("other");
    harness.at_provider(1).await;
    let held = harness.claimed(2).await;
    harness.settle(&held, Outcome::Held(provider_job(2))).await.unwrap();
    let over = harness.at_provider(3).await;
    report(harness, &over, status(3, JobStatus::Failed)).await;
    harness.claimed(4).await;
    let stray = super::strays::sighting(1, 1, status(50, JobStatus::Queued));
    harness.store.record_sightings(&Actor::Poller, vec![stray]).await.unwrap();
    let known = async |provider: &ProviderName, ids: &[ProviderJobId]| {
        harness.store.known_provider_jobs(provider, ids).await.unwrap()
    };
    // More than one statement is asked for, and some of them twice.
    let mut ids: Vec<_> = (0..1200).map(|it| ProviderJobId::new(format!("q-{it}"))).collect();
    for (place, number) in [(0, 1), (3, 1), (499, 2), (500, 3), (700, 4), (1199, 50), (20, 50)] {
        ids[place] = provider_job(number);
    }
    ids[8] = ProviderJobId::new("it's \"p-1\"");
    let expected = [
        (provider_job(1), Some(id(1))),
        (provider_job(2), Some(id(2))),
        (provider_job(3), Some(id(3))),
        (provider_job(50), None),
    ];
    assert_eq!(known(&fake(), &ids).await, expected.into());
    assert_eq!(known(&other, &ids).await, [].into());
    assert_eq!(known(&fake(), &[]).await, [].into());
    assert_eq!(known(&fake(), &[provider_job(50)]).await, [(provider_job(50), None)].into());
}

pub async fn a_report_is_merged_and_never_erases(harness: &Harness) {
    let record = harness.at_provider(1).await;
    let mut rich = status(1, JobStatus::Running);
    rich.cost_usd = Some(1.5);
    rich.started_at = Some("2026-01-01T00:00:05.12345678Z".parse().unwrap());
    report(harness, &record, rich).await;
    harness.go_to(20);
    report(harness, &record, status(1, JobStatus::Completed)).await;
    let done = harness.found(1).await;
    assert_eq!(done.job().cost_usd, Some(1.5));
    assert_eq!(done.job().started_at.unwrap().as_millisecond() % 1000, 123, "to the millisecond");
    assert_eq!((done.job().completed_at, done.ended_at()), (Some(at(20)), Some(at(20))));
    assert_eq!(done.queue_status(), QueueStatus::Completed);
}

pub async fn a_late_report_changes_nothing(harness: &Harness) {
    let record = harness.at_provider(1).await;
    report(harness, &record, status(1, JobStatus::Running)).await;
    let mut late = status(1, JobStatus::Queued);
    late.cost_usd = Some(9.0);
    assert_eq!(report(harness, &record, late).await, Settled::Unchanged, "backwards");
    report(harness, &record, status(1, JobStatus::Cancelled)).await;
    let before = harness.dump().await;
    for late in [JobStatus::Running, JobStatus::Completed, JobStatus::Failed] {
        let settled = report(harness, &record, status(1, late)).await;
        assert_eq!(settled, Settled::Unchanged, "{late} after the end");
    }
    assert_eq!(harness.dump().await, before);
    let found = harness.found(1).await;
    assert_eq!((found.status(), found.job().cost_usd), (JobStatus::Cancelled, None));
}

pub async fn a_repeated_report_writes_nothing(harness: &Harness) {
    let record = harness.at_provider(1).await;
    report(harness, &record, status(1, JobStatus::Running)).await;
    let before = harness.dump().await;
    let same = report(harness, &record, status(1, JobStatus::Running)).await;
    let unknown = ProviderStatus { status: None, ..status(1, JobStatus::Queued) };
    let unknown = report(harness, &record, unknown).await;
    assert_eq!((same, unknown), (Settled::Unchanged, Settled::Unchanged));
    assert_eq!(harness.dump().await, before);
}

pub async fn cancelling_depends_on_where_the_job_is(harness: &Harness) {
    let cancel = async |number: u8, by: &str| harness.store.cancel_job(id(number), &user(by)).await;
    harness.submit(NewJob { run_after: Some(at(1000)), ..job(1, "ann") }).await;
    let (outcome, record) = cancel(1, "ann").await.unwrap();
    assert_eq!((outcome, record.status()), (CancelOutcome::Done, JobStatus::Cancelled));
    let over = TransitionError::AlreadyOver(JobStatus::Cancelled);
    assert_eq!(refusal(cancel(1, "ann").await), over);

    let claimed = harness.claimed(2).await;
    let (outcome, _) = cancel(2, "bob").await.unwrap();
    assert_eq!(outcome, CancelOutcome::InFlight);
    let (_, record) = harness.settle(&claimed, accepted(2)).await.unwrap();
    assert!(record.cancel_requested(), "a request outlives the submission");
    let (outcome, record) = cancel(2, "eve").await.unwrap();
    assert_eq!((outcome, record.status()), (CancelOutcome::AtProvider, JobStatus::Queued));
    assert_eq!(record.stage().cancellation().unwrap().by, user("bob"), "the first one counts");
    report(harness, &record, status(2, JobStatus::Cancelled)).await;
    let history = harness.history(2).await;
    assert_eq!(
        history[history.len() - 2..],
        ["queue cancelled by user bob", "job cancelled by user bob"]
    );
    assert!(matches!(cancel(9, "ann").await, Err(Error::NotFound { .. })));
}

pub async fn a_closed_store_refuses_every_call(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    let store = &harness.store;
    let last = *store.last_event().borrow();
    store.provider_settings(&fake()).await.unwrap();
    store.close().await.unwrap();
    let closed = [
        store.submit(job(2, "ann")).await.map(drop),
        store.claim(&claiming(1)).await.map(drop),
        store.cancel_job(id(1), &user("ann")).await.map(drop),
        store.find_job(&JobRef::Id(id(1))).await.map(drop),
        store.list_jobs(&JobFilter::default(), everything()).await.map(drop),
        store.events_after(EventId(0), 1).await.map(drop),
        store.limits().await.map(drop),
        store.provider_settings(&fake()).await.map(drop),
        store.expire(1).await.map(drop),
    ];
    for result in closed {
        assert!(matches!(result, Err(Error::Closed)), "{result:?}");
    }
    assert_eq!(*store.last_event().borrow(), last);
}
