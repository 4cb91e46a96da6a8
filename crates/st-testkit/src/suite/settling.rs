//! Settling outcomes: tokens, batches, failures and whose fault they were.

use jiff::SignedDuration;
use st_store::{
    Actor, AttemptFailure, Due, Error, JobStatus, Limit, LimitsPatch, NewJob, Outcome,
    ProviderStatus, QueueStatus, Settled, Settlement, SightingOutcome, Stage, TransitionError,
    UnsettledCounts, Waiting,
};

use super::{
    Harness, accepted, at, failed, fake, id, job, numbers, provider_job, refusal, settlement,
    status, user,
};

fn rejected() -> Outcome {
    Outcome::NotArrived(AttemptFailure::Rejected { error: "bad input".to_owned() })
}

fn not_sent() -> Outcome {
    let retry_in = SignedDuration::ZERO;
    Outcome::NotArrived(AttemptFailure::NotSent { reason: "no token".to_owned(), retry_in })
}

async fn unsettled(harness: &Harness) -> (u64, u64) {
    let unsettled = harness.store.unsettled().await.unwrap();
    let UnsettledCounts { strays, rechecks, .. } = unsettled.total();
    let damaged = unsettled.damaged;
    assert_eq!(damaged, 0);
    (strays, rechecks)
}

/// Many slots for each user.
async fn many_slots(harness: &Harness) {
    let mut patch = LimitsPatch::default();
    patch.set(Limit::Global, 100);
    patch.set(Limit::User, 20);
    harness.store.patch_limits(patch, &Actor::Operator).await.unwrap();
}

/// Claims one job more and lets the provider accept it.
async fn accept_another(harness: &Harness, number: u8) {
    harness.submit(job(number, &format!("other-{number}"))).await;
    let claims = harness.claim().await;
    let claim = claims.into_iter().find(|claim| claim.record.id() == id(number)).unwrap();
    let (settled, _) = harness.settle(&claim.record, accepted(number)).await.unwrap();
    assert_eq!(settled, Settled::Changed);
}

pub async fn a_stale_token_writes_nothing(harness: &Harness) {
    let old = harness.claimed(1).await;
    harness.go_to(100);
    let current = harness.reclaim().await.remove(0).record.token();
    let before = harness.dump().await;
    let stale = TransitionError::StaleAttempt { held: old.token(), current };
    for outcome in [
        Outcome::Held(provider_job(1)),
        Outcome::Reported(status(1, JobStatus::Running)),
        Outcome::Unresolved { error: "x".to_owned(), panics: Some(1) },
        failed(5),
        not_sent(),
        rejected(),
    ] {
        let refused = harness.settle(&old, outcome.clone()).await;
        assert_eq!(refusal(refused), stale, "{outcome:?}");
    }
    assert_eq!(harness.dump().await, before);
}

pub async fn one_refused_outcome_stops_no_other(harness: &Harness) {
    let one = harness.at_provider(1).await;
    let two = harness.at_provider(2).await;
    let running = |number| Outcome::Reported(status(number, JobStatus::Running));
    let missing = Settlement { job: id(9), ..settlement(&one, running(9)) };
    let stale = Settlement {
        token: one.token().next(harness.store.epoch()),
        ..settlement(&one, running(1))
    };
    let settlements =
        vec![missing, stale, settlement(&one, running(7)), settlement(&two, running(2))];
    let settled = harness.store.settle(&Actor::Poller, settlements).await.unwrap();
    assert!(matches!(settled[0], Err(Error::NotFound { .. })));
    assert!(matches!(settled[1], Err(Error::Refused(TransitionError::StaleAttempt { .. }))));
    assert!(matches!(settled[2], Err(Error::Refused(TransitionError::OtherProviderJob { .. }))));
    let (came_to, record) = settled[3].as_ref().unwrap();
    assert_eq!((*came_to, record.status()), (Settled::Changed, JobStatus::Running));
    assert_eq!(harness.found(1).await, one);
}

pub async fn settling_twice_writes_nothing(harness: &Harness) {
    many_slots(harness).await;
    let outcomes = |number| {
        [accepted(number), failed(50), not_sent(), rejected(), Outcome::Held(provider_job(number))]
    };
    for (number, index) in (1..=5).zip(0..) {
        let record = harness.claimed(number).await;
        let outcome = outcomes(number)[index].clone();
        harness.settle(&record, outcome.clone()).await.unwrap();
        let before = harness.dump().await;
        let (settled, _) = harness.settle(&record, outcome.clone()).await.unwrap();
        assert_eq!(settled, Settled::Unchanged, "{outcome:?}");
        assert_eq!(harness.dump().await, before, "{outcome:?}");
    }
    let twice = harness.claimed(6).await;
    let both = vec![settlement(&twice, accepted(6)), settlement(&twice, accepted(6))];
    let settled = harness.store.settle(&Actor::Scheduler, both).await.unwrap();
    let settled: Vec<_> = settled.into_iter().map(|settled| settled.unwrap().0).collect();
    assert_eq!(settled, [Settled::Changed, Settled::Unchanged]);
}

pub async fn a_provider_job_belongs_to_one_job(harness: &Harness) {
    let one = harness.at_provider(1).await;
    let two = harness.claimed(2).await;
    let before = harness.dump().await;
    let taken = TransitionError::BelongsToOtherJob(provider_job(1));
    for outcome in [accepted(1), Outcome::Held(provider_job(1))] {
        assert_eq!(refusal(harness.settle(&two, outcome).await), taken);
    }
    let stale = Settlement {
        token: one.token().next(harness.store.epoch()),
        ..settlement(&two, accepted(1))
    };
    assert_eq!(refusal(harness.settle_as(&Actor::Scheduler, stale).await), taken);
    let seen = super::strays::sighting(2, 1, status(1, JobStatus::Queued));
    let sighted = harness.store.record_sightings(&Actor::Poller, vec![seen]).await.unwrap();
    assert_eq!(refusal(sighted.into_iter().next().unwrap()), taken);
    assert_eq!(harness.dump().await, before);
    // At another provider the same identifier is another job's.
    let provider = st_store::ProviderName::new("other");
    harness.submit(NewJob { provider, ..job(3, "eve") }).await;
    let options =
        st_store::ClaimOptions { serving: vec![super::serving("other")], ..super::claiming(1) };
    let three = harness.store.claim(&options).await.unwrap().claims.remove(0).record;
    assert_eq!(harness.settle(&three, accepted(1)).await.unwrap().0, Settled::Changed);
}

pub async fn a_refused_job_fails_and_is_not_claimed_again(harness: &Harness) {
    let record = harness.claimed(1).await;
    let (settled, record) = harness.settle(&record, rejected()).await.unwrap();
    assert_eq!(settled, Settled::Ended(JobStatus::Failed));
    assert_eq!((record.status(), record.queue_status()), (JobStatus::Failed, QueueStatus::Failed));
    assert_eq!(record.job().error_message.as_deref(), Some("bad input"));
    harness.go_to(1_000_000);
    assert!(harness.claim().await.is_empty());
}

pub async fn a_failed_attempt_is_repeated_after_a_pause(harness: &Harness) {
    harness.submit(job(1, "ann")).await;
    for attempt in 1..=5 {
        let start = u64::from(attempt) * 100;
        harness.go_to(start);
        let record = harness.claim().await.remove(0).record;
        assert_eq!(record.entry().attempt, attempt);
        let (settled, record) = harness.settle(&record, failed(50)).await.unwrap();
        assert_eq!(settled, Settled::Requeued);
        assert_eq!(record.entry().waits_since, at(0), "a failure costs no place in the queue");
        assert_eq!(record.entry().failed_attempts, 0, "nothing shows that it is the job's own");
        harness.go_to(start + 49);
        assert!(harness.claim().await.is_empty(), "it pauses");
    }
    assert_eq!(harness.found(1).await.status(), JobStatus::Uploading);
}

pub async fn an_unresolved_attempt_keeps_its_slot(harness: &Harness) {
    let record = harness.claimed(1).await;
    let unresolved = Outcome::Unresolved { error: "no answer".to_owned(), panics: Some(1) };
    let (settled, record) = harness.settle(&record, unresolved).await.unwrap();
    assert_eq!((settled, record.queue_status()), (Settled::Changed, QueueStatus::Ready));
    assert_eq!(record.entry().error_message.as_deref(), Some("no answer"));
    assert_eq!(record.entry().panics, 1);
    assert!(harness.claim().await.is_empty());
    let stats = harness.store.queue_stats().await.unwrap();
    assert_eq!(stats.count(QueueStatus::Ready), 1);
}

pub async fn failures_between_acceptances_are_the_jobs_own(harness: &Harness) {
    many_slots(harness).await;
    let mut new = job(1, "ann");
    new.max_attempts = 2;
    harness.submit(new).await;
    for attempt in 1..=2_u8 {
        accept_another(harness, 10 * attempt).await;
        let record = harness.found(1).await;
        let (settled, _) = harness.settle(&record, failed(0)).await.unwrap();
        assert_eq!(settled, Settled::Requeued);
        accept_another(harness, 10 * attempt + 1).await;
        let counted = harness.found(1).await;
        assert_eq!(counted.entry().failed_attempts, u32::from(attempt));
    }
    // It was claimed with the other job again, so it is its next failure that ends it.
    let record = harness.found(1).await;
    let last = harness.settle(&record, failed(0)).await.unwrap();
    assert_eq!(last.0, Settled::Ended(JobStatus::Failed));
    let history = harness.history(1).await;
    assert_eq!(history.last().unwrap(), "job failed by scheduler");
}

pub async fn blame_falls_in_the_order_of_the_queue(harness: &Harness) {
    many_slots(harness).await;
    for number in [9, 2, 5] {
        harness.submit(NewJob { max_attempts: 1, ..job(number, "ann") }).await;
    }
    let claims = harness.claim().await;
    assert_eq!(numbers(&claims), [9, 2, 5]);
    accept_another(harness, 20).await;
    for claim in &claims {
        harness.settle(&claim.record, failed(600)).await.unwrap();
    }
    let before = *harness.store.last_event().borrow();
    accept_another(harness, 21).await;
    let events = harness.store.events_after(before, 1000).await.unwrap().events;
    let ended: Vec<_> = events
        .iter()
        .filter(|event| event.event.change.statuses().1 == Some("failed"))
        .map(|event| (event.event.change.subject(), event.event.change.job().unwrap()))
        .collect();
    let expected = [9, 2, 5].map(|number| [("queue", id(number)), ("job", id(number))]);
    assert_eq!(ended, expected.as_flattened());
}

pub async fn failures_of_every_job_are_nobodys_fault(harness: &Harness) {
    many_slots(harness).await;
    accept_another(harness, 1).await;
    // Too long ago to say anything.
    harness.go_to(601);
    let record = harness.claimed(2).await;
    harness.settle(&record, failed(0)).await.unwrap();
    assert_eq!(harness.found(2).await.entry().suspect_since, None);
    accept_another(harness, 3).await;
    assert_eq!(harness.found(2).await.entry().failed_attempts, 0);
    // Suspect, but nothing is accepted soon after it.
    let record = harness.found(2).await;
    harness.settle(&record, failed(0)).await.unwrap();
    assert_eq!(harness.found(2).await.entry().suspect_since, Some(at(601)));
    harness.go_to(1202);
    let claims = harness.claim().await;
    assert_eq!(numbers(&claims), [2]);
    accept_another(harness, 4).await;
    let record = harness.found(2).await;
    assert_eq!((record.entry().failed_attempts, record.entry().attempt), (0, 3));
}

pub async fn a_stale_submission_is_a_sighting(harness: &Harness) {
    let old = harness.claimed(1).await;
    harness.go_to(100);
    let reclaimed = harness.reclaim().await.remove(0).record;
    let (settled, record) = harness.settle(&old, accepted(1)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Adopted));
    assert_eq!(record.provider_job_id(), Some(&provider_job(1)));
    let again = harness.settle(&old, accepted(1)).await.unwrap().0;
    assert_eq!(again, Settled::Sighted(SightingOutcome::AlreadyAdopted));
    // Who reclaimed it submitted it as well, under another identifier.
    let (settled, record) = harness.settle(&reclaimed, accepted(2)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray));
    assert_eq!(record.provider_job_id(), Some(&provider_job(1)));
    assert_eq!(unsettled(harness).await, (1, 1), "what was adopted may arrive once more");
}

pub async fn a_second_provider_job_is_a_stray(harness: &Harness) {
    // An attempt that was proven lost arrives when the next one is in flight.
    let first = harness.claimed(1).await;
    harness.settle(&first, failed(0)).await.unwrap();
    let second = harness.claim().await.remove(0).record;
    assert_eq!(second.entry().attempt, 2);
    let (settled, _) = harness.settle(&first, accepted(1)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "it is not attempt 2");
    let (settled, record) = harness.settle(&second, accepted(2)).await.unwrap();
    assert_eq!(settled, Settled::Changed);
    assert_eq!(record.provider_job_id(), Some(&provider_job(2)));
    let strays = harness.store.due_strays(&fake(), 9).await.unwrap();
    assert_eq!((&strays[0].provider_job_id, strays[0].marker.attempt), (&provider_job(1), 1));
    assert_eq!(strays[0].account, None, "the account of attempt 1 is forgotten");
    // One that is over already has nothing to be cancelled.
    let over = Outcome::Submitted(status(3, JobStatus::Failed));
    let (settled, _) = harness.settle(&second, over).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Over));
    assert_eq!(unsettled(harness).await.0, 1);
}

pub async fn a_stale_submission_has_the_account_of_its_attempt(harness: &Harness) {
    // The attempt was reclaimed, found, and sent another time by the process that was slow.
    let old = harness.claimed(1).await;
    let account = old.stage().claimed().unwrap().attempt.account.clone();
    assert_ne!(account, None);
    harness.go_to(100);
    let reclaimed = harness.reclaim().await.remove(0).record;
    harness.settle(&reclaimed, accepted(1)).await.unwrap();
    let (settled, _) = harness.settle(&old, accepted(2)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray));
    // The same while the provider holds the submission of the reclaimed attempt.
    let old = harness.claimed(3).await;
    harness.go_to(200);
    let reclaimed = harness.reclaim().await.remove(0).record;
    harness.settle(&reclaimed, Outcome::Held(provider_job(3))).await.unwrap();
    let (settled, _) = harness.settle(&old, accepted(4)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray));
    let strays = harness.store.due_strays(&fake(), 9).await.unwrap();
    let accounts: Vec<_> = strays.iter().map(|it| (&it.provider_job_id, &it.account)).collect();
    assert_eq!(accounts, [(&provider_job(2), &account), (&provider_job(4), &account)]);
}

pub async fn a_held_submission_keeps_its_identifier(harness: &Harness) {
    let record = harness.claimed(1).await;
    let (_, record) = harness.settle(&record, Outcome::Held(provider_job(1))).await.unwrap();
    assert_eq!(record.provider_job_id(), Some(&provider_job(1)));
    assert_eq!(
        (record.status(), record.queue_status()),
        (JobStatus::Uploading, QueueStatus::Ready)
    );
    assert_eq!(harness.found(1).await, record);
    harness.go_to(100);
    let record = harness.reclaim().await.remove(0).record;
    assert!(matches!(record.stage(), Stage::Held(_)));
    let (settled, record) = harness.settle(&record, failed(5)).await.unwrap();
    assert_eq!((settled, record.provider_job_id()), (Settled::Requeued, None));
    let pause = Due::Pause(at(105));
    assert_eq!(record.stage(), &Stage::Waiting(Waiting { due: pause }));
    assert_eq!(unsettled(harness).await, (0, 0), "what was never released never ran");
}

pub async fn every_change_names_its_actor(harness: &Harness) {
    let record = harness.at_provider(1).await;
    let running = ProviderStatus { cost_usd: Some(0.5), ..status(1, JobStatus::Running) };
    let webhook = Actor::Webhook(fake());
    harness.settle_as(&webhook, settlement(&record, Outcome::Reported(running))).await.unwrap();
    let ended = Outcome::Reported(status(1, JobStatus::Cancelled));
    harness.settle_as(&Actor::Poller, settlement(&record, ended)).await.unwrap();
    let claimed = harness.claimed(2).await;
    harness.store.cancel_job(id(2), &user("bob")).await.unwrap();
    let (settled, _) = harness.settle(&claimed, failed(5)).await.unwrap();
    assert_eq!(settled, Settled::Ended(JobStatus::Cancelled));
    assert_eq!(
        harness.history(1).await,
        [
            "job pending by user user-1",
            "queue pending by user user-1",
            "queue ready by scheduler",
            "job uploading by scheduler",
            "queue running by scheduler",
            "job queued by scheduler",
            "job running by webhook fake",
            "queue cancelled by provider fake",
            "job cancelled by provider fake",
        ]
    );
    let cancelled = ["queue cancelled by user bob", "job cancelled by user bob"];
    assert_eq!(harness.history(2).await[4..], cancelled);
}
