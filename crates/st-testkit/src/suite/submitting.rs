//! Submissions.

use jiff::SignedDuration;
use serde_json::{Value, json};
use st_store::{
    Error, EventId, Idempotency, InvalidJob, JobFilter, JobRef, JobStatus, MAX_APPROVAL_TTL,
    MAX_DEPTH, MAX_RUN_AFTER, NewJob, QueueStatus,
};

use super::{Harness, at, claiming, everything, id, job, numbers};

const DAY: u64 = 24 * 3600;

fn keyed(number: u8, user: &str, digest: &str) -> NewJob {
    let key = Idempotency { key: "k".to_owned(), digest: digest.to_owned() };
    NewJob { idempotency: Some(key), ..job(number, user) }
}

async fn count(harness: &Harness) -> u64 {
    harness.store.list_jobs(&JobFilter::default(), everything()).await.unwrap().total
}

pub async fn a_submission_stores_everything_in_one_step(harness: &Harness) {
    let mut new = job(1, "ann");
    new.hardware_type = Some("h100".to_owned());
    let submitted = harness.store.submit(new).await.unwrap();
    assert!(!submitted.repeated);
    let found = harness.found(1).await;
    assert_eq!(found, submitted.record);
    assert_eq!((found.status(), found.queue_status()), (JobStatus::Pending, QueueStatus::Pending));
    assert_eq!(found.job().metadata["note"], json!({"n": 1}));
    assert_eq!(found.job().created_at, at(0));
    assert_eq!(harness.store.input(id(1)).await.unwrap(), json!({"config": {"n": 1}}));
    let history = harness.history(1).await;
    assert_eq!(history, ["job pending by user ann", "queue pending by user ann"]);
    assert_eq!(harness.store.find_job(&JobRef::Id(id(2))).await.unwrap(), None);
    assert!(matches!(harness.store.input(id(2)).await, Err(Error::NotFound { .. })));
}

pub async fn one_key_of_one_user_makes_one_job(harness: &Harness) {
    let store = &harness.store;
    let first = store.submit(keyed(1, "ann", "d")).await.unwrap();
    harness.go_to(DAY - 1);
    let again = store.submit(keyed(2, "ann", "d")).await.unwrap();
    assert_eq!((again.record.id(), again.repeated), (first.record.id(), true));
    let other = store.submit(keyed(3, "ann", "e")).await.unwrap_err();
    assert!(matches!(other, Error::IdempotencyMismatch { .. }), "{other}");
    let bob = store.submit(keyed(4, "bob", "d")).await.unwrap();
    assert!(!bob.repeated, "a key belongs to its user");
    harness.go_to(DAY);
    let late = store.submit(keyed(5, "ann", "e")).await.unwrap();
    assert!(!late.repeated, "a key is forgotten after a day");
    let again = store.submit(keyed(6, "ann", "e")).await.unwrap();
    assert_eq!((again.record.id(), again.repeated), (id(5), true));
    assert_eq!(count(harness).await, 3);
}

pub async fn a_key_is_not_forgotten_by_an_unconfirmed_clock(harness: &Harness) {
    harness.store.submit(keyed(1, "ann", "d")).await.unwrap();
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    let again = harness.store.submit(keyed(2, "ann", "d")).await.unwrap();
    assert_eq!((again.record.id(), again.repeated), (id(1), true));
    harness.store.confirm_clock(st_store::ClockEvidence::Operator);
    let late = harness.store.submit(keyed(2, "ann", "d")).await.unwrap();
    assert_eq!((late.record.id(), late.repeated), (id(2), false));
    // A key that was stored in a wrong future is remembered for a day and no longer.
    harness.clock.step(SignedDuration::from_hours(-24 * 400));
    let again = harness.store.submit(keyed(3, "ann", "d")).await.unwrap();
    assert_eq!((again.record.id(), again.repeated), (id(2), true));
    harness.store.confirm_clock(st_store::ClockEvidence::Operator);
    harness.store.claim(&claiming(0)).await.unwrap();
    harness.go_to(DAY);
    let late = harness.store.submit(keyed(3, "ann", "d")).await.unwrap();
    assert_eq!((late.record.id(), late.repeated), (id(3), false));
}

pub async fn the_same_id_twice_is_a_repetition(harness: &Harness) {
    let first = harness.submit(job(1, "ann")).await;
    let before = harness.dump().await;
    let mut other = job(1, "ann");
    other.config_name = Some("another".to_owned());
    let again = harness.store.submit(other).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.record, first);
    assert_eq!(harness.dump().await, before);
}

pub async fn what_could_not_be_read_back_is_refused(harness: &Harness) {
    let deep = (0..=MAX_DEPTH).fold(Value::Null, |inner, _| json!([inner]));
    let changes: [fn(&mut NewJob, &Value); 11] = [
        |new, _| new.config_name = Some("a\0b".to_owned()),
        |new, _| new.owner.user = st_store::UserId::new("a\0b"),
        |new, _| new.hardware_type = Some("\0".to_owned()),
        |new, _| new.input = json!({"a": ["\0"]}),
        |new, _| new.input = json!({"\0": 1}),
        |new, _| new.metadata = serde_json::Map::from_iter([("a".into(), json!("\0"))]),
        |new, deep| new.input = deep.clone(),
        |new, _| new.estimated_cost = f64::NAN,
        |new, _| new.estimated_cost = -0.01,
        |new, _| new.max_attempts = 0,
        |new, _| new.approval_ttl = MAX_APPROVAL_TTL + SignedDuration::from_millis(1),
    ];
    let before = harness.dump().await;
    for change in changes {
        let mut new = job(1, "ann");
        change(&mut new, &deep);
        let refused = harness.store.submit(new.clone()).await;
        assert!(matches!(refused, Err(Error::InvalidJob(_))), "{new:?}");
    }
    assert_eq!(harness.dump().await, before);
}

pub async fn a_date_is_at_most_ten_years_ahead(harness: &Harness) {
    harness.go_to(100);
    let latest = at(100) + MAX_RUN_AFTER;
    let dated = |number: u8, run_after| NewJob { run_after: Some(run_after), ..job(number, "ann") };
    let late = dated(1, latest + SignedDuration::from_millis(1));
    match harness.store.submit(late).await {
        Err(Error::InvalidJob(InvalidJob::OutOfRange { field: "run_after", .. })) => {}
        other => panic!("{other:?}"),
    }
    let record = harness.submit(dated(2, latest)).await;
    assert_eq!(record.entry().run_after, Some(latest));
    let past = harness.submit(dated(3, at(99))).await;
    assert_eq!((past.entry().run_after, past.entry().waits_since), (None, at(100)));
    let events = harness.store.events_after(EventId(0), 1000).await.unwrap().events;
    assert_eq!(events.len(), 4, "what was refused has no event");
}

pub async fn a_submission_says_where_its_job_is_in_the_queue(harness: &Harness) {
    let position = async |new: NewJob| harness.store.submit(new).await.unwrap().position;
    assert_eq!(position(job(1, "ann")).await, Some(1));
    assert_eq!(position(keyed(2, "ann", "d")).await, Some(2));
    let later = NewJob { run_after: Some(at(600)), ..job(3, "ann") };
    assert_eq!(position(later).await, None, "it waits for a date");
    assert_eq!(position(job(4, "bob")).await, Some(3));
    let first = harness.store.claim(&claiming(1)).await.unwrap().claims;
    assert_eq!(numbers(&first), [1]);
    assert_eq!(position(keyed(2, "ann", "d")).await, Some(1), "where it is now");
    assert_eq!(position(job(1, "ann")).await, None, "it is in a slot");
}
