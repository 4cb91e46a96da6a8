//! What people decide about jobs where nothing can be proven.

use st_store::{
    AccountId, Error, JobRecord, JobStatus, NewJob, Outcome, ProviderJobId, QueueStatus, Recheck,
    RecheckId, Resolution, Settled, SightingOutcome, TransitionError, Verdict,
};

use super::strays::sighting;
use super::{
    Harness, accepted, at, costs_more_than, decision, fake, id, job, numbers, provider_job,
    refusal, status, user,
};

/// A claimed job of which it is unknown whether the provider has it.
async fn unresolved(harness: &Harness, number: u8) -> JobRecord {
    let claimed = harness.claimed(number).await;
    let silence = Outcome::Unresolved { error: "silence".to_owned(), panics: None };
    harness.settle(&claimed, silence).await.unwrap().1
}

async fn resolve(
    harness: &Harness,
    number: u8,
    resolution: Resolution,
) -> st_store::Result<JobRecord> {
    harness.store.resolve(id(number), &resolution, Some("looked there"), &user("ann")).await
}

fn there(id: ProviderJobId) -> Resolution {
    Resolution::AtProvider { id, account: Some(AccountId::new("serving", None, None)) }
}

async fn rechecks(harness: &Harness) -> Vec<RecheckId> {
    let due = harness.store.due_rechecks(&fake(), 100).await.unwrap();
    due.iter().map(Recheck::id).collect()
}

pub async fn a_job_is_resolved_as_being_at_its_provider(harness: &Harness) {
    let claimed = unresolved(harness, 1).await;
    let seen = vec![sighting(1, 9, status(7, JobStatus::Running))];
    harness.store.record_sightings(&user("ann"), seen).await.unwrap();
    assert_eq!(harness.store.unsettled().await.unwrap().total().strays, 1);
    harness.go_to(10);
    let record = resolve(harness, 1, there(provider_job(7))).await.unwrap();
    assert_eq!(harness.found(1).await, record);
    assert_eq!(
        (record.status(), record.provider_job_id()),
        (JobStatus::Queued, Some(&provider_job(7)))
    );
    let account = record.stage().remote().unwrap().account.clone();
    assert_eq!(account, Some(AccountId::new("serving", None, None)));
    let history = harness.history(1).await;
    assert_eq!(history[4..], ["queue running by user ann", "job queued by user ann"]);
    let counts = harness.store.unsettled().await.unwrap().total();
    assert_eq!((counts.unresolved, counts.strays, counts.rechecks), (0, 0, 1));
    let (settled, _) = harness.settle(&claimed, accepted(7)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::AlreadyAdopted));
    let (settled, _) = harness.settle(&claimed, accepted(8)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "the person was wrong");
    harness.go_to(70);
    assert_eq!(rechecks(harness).await, [RecheckId { job: id(1), attempt: Some(1) }]);
    let events = *harness.store.last_event().borrow();
    let again = resolve(harness, 1, there(provider_job(7))).await.unwrap();
    assert_eq!((again, *harness.store.last_event().borrow()), (record, events));
    let other =
        TransitionError::OtherProviderJob { known: provider_job(7), reported: provider_job(2) };
    let refused = resolve(harness, 1, there(provider_job(2))).await;
    assert_eq!(refusal(refused), other);
}

pub async fn a_provider_job_of_another_job_resolves_nothing(harness: &Harness) {
    harness.at_provider(1).await;
    let before = unresolved(harness, 2).await;
    let refused = resolve(harness, 2, there(provider_job(1))).await;
    assert_eq!(refusal(refused), TransitionError::BelongsToOtherJob(provider_job(1)));
    assert_eq!(harness.found(2).await, before);
    assert_eq!(harness.store.unsettled().await.unwrap().total().rechecks, 0);
}

pub async fn a_job_that_is_resolved_as_absent_is_submitted_again(harness: &Harness) {
    let before = unresolved(harness, 1).await;
    harness.go_to(10);
    let record = resolve(harness, 1, Resolution::Absent).await.unwrap();
    assert_eq!(
        (record.queue_status(), record.status()),
        (QueueStatus::Pending, JobStatus::Uploading)
    );
    let said = "resolved as absent by ann: looked there";
    assert_eq!(record.entry().error_message.as_deref(), Some(said));
    let again = harness.claim().await.remove(0).record;
    assert_eq!((again.id(), again.entry().attempt), (id(1), 2));
    assert!(again.token() > record.token() && record.token() > before.token());
    let (settled, _) = harness.settle(&before, accepted(1)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "it did arrive, but too late");
    harness.settle(&again, accepted(2)).await.unwrap();
    harness.go_to(70);
    assert_eq!(rechecks(harness).await, [RecheckId { job: id(1), attempt: Some(1) }]);

    unresolved(harness, 3).await;
    harness.store.cancel_job(id(3), &user("bob")).await.unwrap();
    let cancelled = resolve(harness, 3, Resolution::Absent).await.unwrap();
    assert_eq!(cancelled.status(), JobStatus::Cancelled);
    let last = harness.history(3).await.pop().unwrap();
    assert_eq!(last, "job cancelled by user ann");
}

pub async fn an_abandoned_job_frees_its_slot(harness: &Harness) {
    let before = unresolved(harness, 1).await;
    for number in [2, 3] {
        let mut new = job(number, "user-1");
        new.owner = before.job().owner.clone();
        harness.submit(new).await;
    }
    assert_eq!(numbers(&harness.claim().await), [2], "the user has one slot left");
    let record = resolve(harness, 1, Resolution::Abandon).await.unwrap();
    assert_eq!((record.status(), record.ended_at()), (JobStatus::Failed, Some(at(0))));
    let said = "abandoned by ann: looked there";
    assert_eq!(record.job().error_message.as_deref(), Some(said));
    assert_eq!(numbers(&harness.claim().await), [3]);
    let (settled, _) = harness.settle(&before, accepted(1)).await.unwrap();
    assert_eq!(settled, Settled::Sighted(SightingOutcome::Stray), "it is cancelled there");
    harness.go_to(60);
    assert_eq!(rechecks(harness).await, [RecheckId { job: id(1), attempt: Some(1) }]);
}

pub async fn a_job_at_its_provider_is_ended_by_a_resolution(harness: &Harness) {
    for (number, resolution, error) in [
        (1, Resolution::Absent, "it is not at the provider"),
        (2, Resolution::Abandon, "abandoned by ann: looked there"),
    ] {
        let there = harness.at_provider(number).await;
        let record = resolve(harness, number, resolution).await.unwrap();
        assert_eq!(record.status(), JobStatus::Failed);
        assert_eq!(record.job().error_message.as_deref(), Some(error));
        assert_eq!(record.provider_job_id(), there.provider_job_id());
        let last = harness.history(number).await.pop().unwrap();
        assert_eq!(last, "job failed by user ann");
        let report = Outcome::Reported(status(number, JobStatus::Running));
        assert_eq!(harness.settle(&there, report).await.unwrap().0, Settled::Unchanged);
        assert_eq!(harness.found(number).await, record);
    }
    assert_eq!(
        harness.store.unsettled().await.unwrap().total(),
        st_store::UnsettledCounts::default()
    );
}

pub async fn where_nothing_is_unknown_nothing_is_resolved(harness: &Harness) {
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    let request = harness.blocked(4, 600).await;
    harness.claimed(1).await;
    harness.submit(NewJob { run_after: Some(at(600)), ..job(2, "bob") }).await;
    harness.blocked(5, 600).await;
    harness.store.decide(request, &decision(Verdict::Reject)).await.unwrap();
    let before = harness.dump().await;
    for (number, why) in [
        (1, "its submission is in flight"),
        (2, "nothing of it is at the provider, it waits"),
        (4, "it is over"),
        (5, "it awaits approval"),
    ] {
        for resolution in [there(provider_job(1)), Resolution::Absent, Resolution::Abandon] {
            let refused = refusal(resolve(harness, number, resolution).await);
            assert_eq!(refused, TransitionError::NothingToResolve(why), "{number}");
        }
    }
    let unknown = resolve(harness, 99, Resolution::Absent).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
    assert_eq!(harness.dump().await, before);
}
