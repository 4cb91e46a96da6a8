//! How it is found out whether a submission arrived.

use st_store::{Marker, ProviderStatus};
use st_workers::provider::{Arrivals, Provider, SubmitError};

use super::{
    Situation, World, begun, given, marker, must, recognizes_repetitions, remote, shown, soon,
    status_of,
};

/// What is found of an attempt; an error of a provider that can be asked is no answer.
async fn found(provider: &dyn Provider, marker: Marker) -> Vec<ProviderStatus> {
    match shown(provider, marker).await {
        None => panic!("it shows no markers"),
        Some(found) => found.unwrap_or_else(|error| panic!("{marker} is not found: {error:?}")),
    }
}

fn shows_markers(provider: &dyn Provider) -> bool {
    let shows = !matches!(provider.arrivals(), Arrivals::Undecidable(_));
    if !shows {
        println!("not checked: what arrived cannot be found out");
    }
    shows
}

pub async fn what_was_submitted_is_found_by_its_marker(world: &dyn World) {
    let provider = world.provider();
    if !shows_markers(provider.as_ref()) {
        return;
    }
    let one = marker();
    // Also the next attempt at the same job.
    for marker in [one, Marker { attempt: 2, ..one }, marker(), marker(), marker()] {
        let job = begun(world, marker).await;
        let [report]: [_; 1] = found(provider.as_ref(), marker).await.try_into().unwrap();
        assert_eq!(report.provider_job_id, job.provider_job_id);
        status_of(
            provider.as_ref(),
            &remote(provider.as_ref(), marker.job, &report.provider_job_id),
        )
        .await
        .unwrap();
    }
    assert_eq!(found(provider.as_ref(), one).await.len(), 1, "also when others follow");
    if let Arrivals::LookedUp(lookup) | Arrivals::Repeated { lookup, .. } = provider.arrivals() {
        match soon("a search", lookup.find(one.job, None)).await {
            Ok(all) => {
                let attempts: Vec<u32> = all.iter().map(|it| it.marker.attempt).collect();
                assert_eq!(attempts, [1, 2], "every attempt at the job, the oldest first");
            }
            // A provider that is asked by name need not know every name.
            Err(error) => assert!(recognizes_repetitions(provider.as_ref()), "{error:?}"),
        }
    }
}

pub async fn what_was_never_submitted_is_not_found(world: &dyn World) {
    let provider = world.provider();
    if !shows_markers(provider.as_ref()) {
        return;
    }
    assert_eq!(found(provider.as_ref(), marker()).await, [], "among none");
    let there = marker();
    for marker in [there, marker(), marker()] {
        begun(world, marker).await;
    }
    assert_eq!(found(provider.as_ref(), marker()).await, [], "among others");
    let next = Marker { attempt: 2, ..there };
    assert_eq!(found(provider.as_ref(), next).await, [], "nor is another attempt at the job");
}

pub async fn what_arrived_without_a_reply_is_found(world: &dyn World) {
    let (provider, marker) = (world.provider(), marker());
    if !shows_markers(provider.as_ref())
        || given(world.bring_about(Situation::LostReply).await).is_none()
    {
        return;
    }
    let submission = world.submission(marker);
    let said = soon("a submission", provider.submit(&submission)).await;
    assert!(matches!(said, Err(SubmitError::Unknown { .. })), "{said:?}");
    must(world, Situation::Recovery).await;
    let [report]: [_; 1] = found(provider.as_ref(), marker).await.try_into().unwrap();
    if recognizes_repetitions(provider.as_ref()) {
        let again = soon("a repetition", provider.submit(&submission)).await.unwrap();
        assert_eq!(again.provider_job_id, report.provider_job_id);
    }
    assert_eq!(world.arrived().await, [marker]);
}

pub async fn what_was_lost_is_not_found(world: &dyn World) {
    let (provider, marker) = (world.provider(), marker());
    if !shows_markers(provider.as_ref())
        || given(world.bring_about(Situation::LostRequest).await).is_none()
    {
        return;
    }
    let submission = world.submission(marker);
    let said = soon("a submission", provider.submit(&submission)).await;
    assert!(matches!(said, Err(SubmitError::Unknown { .. })), "{said:?}");
    must(world, Situation::Recovery).await;
    assert_eq!(found(provider.as_ref(), marker).await, []);
    if recognizes_repetitions(provider.as_ref()) {
        soon("a repetition", provider.submit(&submission)).await.unwrap();
        assert_eq!(world.arrived().await, [marker]);
    }
}

pub async fn an_outage_proves_no_absence(world: &dyn World) {
    let (provider, marker) = (world.provider(), marker());
    if !shows_markers(provider.as_ref()) {
        return;
    }
    begun(world, marker).await;
    if given(world.bring_about(Situation::Outage).await).is_some() {
        let answer = shown(provider.as_ref(), marker).await;
        assert!(matches!(answer, Some(Err(_))), "it says nothing: {answer:?}");
        must(world, Situation::Recovery).await;
        assert_eq!(found(provider.as_ref(), marker).await.len(), 1);
    }
    if let Some(nowhere) = given(world.nowhere().await) {
        let answer = shown(nowhere.as_ref(), marker).await;
        assert!(matches!(answer, Some(Err(_))), "it says nothing: {answer:?}");
    }
}

pub async fn an_account_without_jobs_has_no_witness(world: &dyn World) {
    let provider = world.provider();
    let witness = soon("a question", provider.has_witness()).await;
    assert!(!witness.unwrap(), "no job is there");
    begun(world, marker()).await;
    // Not to know it is safe.
    soon("a question", provider.has_witness()).await.unwrap();
    if given(world.bring_about(Situation::Outage).await).is_some() {
        let witness = soon("a question", provider.has_witness()).await;
        assert!(!witness.is_ok_and(|has| has), "nothing can be read");
        must(world, Situation::Recovery).await;
    }
}
