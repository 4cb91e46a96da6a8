//! Deleting one job on a person's word.

use st_store::{
    Actor, Change, Cost, Error, EventId, Idempotency, JobRef, JobStatus, NewJob, Outcome,
    RecheckOutcome, Searched, Store, StrayOutcome, TransitionError, Verdict,
};

use super::strays::sighting;
use super::{
    Harness, accepted, costs_more_than, decision, fake, id, job, provider_job, refusal, status,
    user,
};

async fn delete(harness: &Harness, number: u8) -> st_store::Result<()> {
    harness.store.delete_job(id(number), &user("ann")).await.map(drop)
}

/// A job that its provider completed.
async fn completed(harness: &Harness, number: u8) {
    let record = harness.at_provider(number).await;
    let report = Outcome::Reported(status(number, JobStatus::Completed));
    harness.settle(&record, report).await.unwrap();
}

pub async fn a_deleted_job_leaves_one_event_and_nothing_else(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    let approval = harness.blocked(1, 60).await;
    harness.store.decide(approval, &decision(Verdict::Approve)).await.unwrap();
    let record = harness.claim().await.remove(0).record;
    let record = harness.settle(&record, accepted(1)).await.unwrap().1;
    let report = Outcome::Reported(status(1, JobStatus::Failed));
    harness.settle(&record, report).await.unwrap();
    let last = *harness.store.last_event().borrow();
    delete(harness, 1).await.unwrap();
    let store = &harness.store;
    assert_eq!(store.find_job(&JobRef::Id(id(1))).await.unwrap(), None);
    assert!(matches!(store.input(id(1)).await, Err(Error::NotFound { .. })));
    assert_eq!(store.find_request(approval).await.unwrap(), None);
    assert_eq!(harness.history(1).await, [""; 0]);
    assert_eq!(store.queue_stats().await.unwrap().by_status.values().sum::<u64>(), 0);
    let page = store.events_after(last, 10).await.unwrap();
    assert!(!page.resync, "who has seen its end goes on");
    let [event] = &page.events[..] else { panic!("{page:?}") };
    let owner = record.job().owner.user.clone();
    let expected = Change::Deleted { job: id(1), owner, from: JobStatus::Failed };
    assert_eq!(event.event.change, expected);
    assert_eq!(event.event.actor, user("ann"));
    assert_eq!(event.event.correlation_id, record.job().correlation_id);
    assert!(store.events_after(EventId(0), 10).await.unwrap().resync, "who has not, does not");
    assert_eq!(store.daily_totals().await.unwrap().len(), 1, "what it cost stays");
    assert!(matches!(delete(harness, 1).await, Err(Error::NotFound { .. })), "once");
}

pub async fn only_a_job_that_is_over_can_be_deleted(harness: &Harness) {
    harness.at_provider(1).await;
    harness.claimed(2).await;
    harness.submit(job(3, "ann")).await;
    for (number, status) in
        [(1, JobStatus::Queued), (2, JobStatus::Uploading), (3, JobStatus::Pending)]
    {
        let refused = refusal(delete(harness, number).await);
        assert_eq!(refused, TransitionError::NotOver(status));
        assert!(refused.to_string().contains(status.as_str()), "{refused}");
    }
    // What never was at a provider goes at once.
    harness.store.cancel_job(id(3), &Actor::Operator).await.unwrap();
    delete(harness, 3).await.unwrap();
}

pub async fn a_job_is_not_deleted_while_something_of_it_may_happen(harness: &Harness) {
    completed(harness, 1).await;
    let found = sighting(1, 1, status(9, JobStatus::Running));
    harness.store.record_sightings(&Actor::Poller, vec![found]).await.unwrap();
    let refused = refusal(delete(harness, 1).await);
    let now = harness.store.now();
    assert!(matches!(refused, TransitionError::StillOpen { until, .. } if until == now));
    let outcome = StrayOutcome::Ended { cost: Cost::ZERO };
    harness.store.settle_stray(&fake(), &provider_job(9), outcome).await.unwrap();
    delete(harness, 1).await.unwrap();

    let record = harness.claimed(2).await;
    let failure = st_store::AttemptFailure::Final { error: "x".to_owned() };
    harness.settle(&record, Outcome::NotArrived(failure)).await.unwrap();
    let last = *st_store::RECHECKS.last().unwrap();
    for _ in st_store::RECHECKS {
        let refused = refusal(delete(harness, 2).await);
        let TransitionError::StillOpen { until, .. } = refused else { panic!("{refused}") };
        assert!(until >= super::at(0) + last, "{refused}");
        assert!(refused.to_string().contains(&format!("{until:.3}")), "{refused}");
        harness.go_to(2 * 24 * 3600);
        for recheck in harness.store.due_rechecks(&fake(), 9).await.unwrap() {
            let searched = Searched::Complete;
            let outcome = RecheckOutcome { recheck: recheck.id(), searched };
            harness.store.settle_rechecks(vec![outcome]).await.unwrap();
        }
    }
    delete(harness, 2).await.unwrap();
}

pub async fn results_that_are_not_fetched_yet_go_with_their_job(harness: &Harness) {
    let record = harness.at_provider(1).await;
    let mut report = status(1, JobStatus::Completed);
    report.results_kept_for = Some(std::time::Duration::from_hours(1));
    harness.settle(&record, Outcome::Reported(report)).await.unwrap();
    assert_eq!(due(harness.store.as_ref()).await, 1);
    delete(harness, 1).await.unwrap();
    assert_eq!(due(harness.store.as_ref()).await, 0);
    let late = st_store::ResultsOutcome::Kept { output_path: None };
    let late = harness.store.settle_results(id(1), &late).await;
    assert!(matches!(late, Err(Error::NotFound { .. })), "{late:?}");
}

async fn due(store: &dyn Store) -> usize {
    store.results_waiting(&std::collections::BTreeSet::new()).await.unwrap().len()
}

pub async fn a_key_outlives_its_deleted_job_by_a_day(harness: &Harness) {
    const HOUR: u64 = 3600;
    let keyed = |number| {
        let key = Idempotency { key: "k".to_owned(), digest: "d".to_owned() };
        NewJob { idempotency: Some(key), ..job(number, "ann") }
    };
    harness.submit(keyed(1)).await;
    harness.store.cancel_job(id(1), &Actor::Operator).await.unwrap();
    harness.go_to(20 * HOUR);
    delete(harness, 1).await.unwrap();
    for hour in [20, 30, 43] {
        harness.go_to(hour * HOUR);
        let again = harness.store.submit(keyed(2)).await.unwrap_err();
        assert!(matches!(&again, Error::DeletedSince { job, .. } if *job == id(1)), "{again}");
    }
    harness.go_to(44 * HOUR);
    assert!(!harness.store.submit(keyed(2)).await.unwrap().repeated);
}

pub async fn the_provider_job_of_a_deleted_job_stays_known_as_ours(harness: &Harness) {
    completed(harness, 1).await;
    delete(harness, 1).await.unwrap();
    let known = harness.store.known_provider_jobs(&fake(), &[provider_job(1)]).await.unwrap();
    assert_eq!(known.into_iter().collect::<Vec<_>>(), [(provider_job(1), None)]);
}

pub async fn a_deleted_job_is_listed_until_it_is_forgotten(harness: &Harness) {
    for number in [3, 1, 2] {
        completed(harness, number).await;
        delete(harness, number).await.unwrap();
    }
    let listed = async |max| {
        let deleted = harness.store.deleted_jobs(max).await.unwrap();
        assert!(deleted.iter().all(|job| job.provider == fake()));
        deleted.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(2).await, [1, 2].map(id));
    harness.store.forget_deleted(&[1, 3].map(id)).await.unwrap();
    assert_eq!(listed(9).await, [id(2)]);
}
