//! Single cases of lives: what was wrong once, and the case beside it that must stay as it is.

use st_store::{AttemptToken, ClaimOrigin, Clock, QueueStatus};

use super::{Ending, World, entries};
use crate::differential::steps::{Step, Submit};

const LEASE: Step = Step::Wait(90_000);

fn submit() -> Step {
    Step::Submit(Submit { priority: 10, max_attempts: 3, ..Submit::default() })
}

fn reclaim(holder: u8) -> Step {
    Step::Reclaim { holder, max: 1, flying: 0 }
}

/// A database with one job, which is claimed.
async fn claimed() -> World {
    let mut world = World::begin().await;
    world.step(submit()).await;
    world.step(Step::Claim { holder: 0, max: 1, both: false, opening: None }).await;
    world
}

/// The token of the one claim and what is known of earlier submissions.
async fn claim(world: &World) -> (String, ClaimOrigin) {
    let records = entries(&world.sqlite, &[QueueStatus::Ready]).await;
    let origin = records[0].stage().claimed().unwrap().origin;
    (AttemptToken::to_string(&records[0].token()), origin)
}

#[tokio::test]
async fn no_token_is_repeated_by_an_older_copy_in_which_no_event_is_missing() {
    let mut world = claimed().await;
    world.keep_copy();
    let copy = world.copies.len() - 1;
    world.step(LEASE).await;
    // It issues a token, and no event.
    world.step(reclaim(1)).await;
    assert_eq!(claim(&world).await, ("1.2".to_owned(), ClaimOrigin::Reclaimed));
    world.check(false).await;
    let mut world = world.end(Ending::PutBack { copy, moved: false }).await;
    world.step(reclaim(0)).await;
    assert_eq!(claim(&world).await, ("2.2".to_owned(), ClaimOrigin::Restored));
}

#[tokio::test]
async fn what_was_claimed_before_a_copy_may_have_been_submitted_by_the_other_one() {
    for record in [false, true] {
        let mut world = claimed().await;
        world.check(false).await;
        let mut world = world.end(Ending::Copied { record }).await;
        world.step(LEASE).await;
        world.step(reclaim(0)).await;
        assert_eq!(claim(&world).await, ("2.2".to_owned(), ClaimOrigin::Restored));
    }
}

#[tokio::test]
async fn a_claim_is_taken_over_as_it_is_when_the_same_life_goes_on() {
    for ending in [Ending::Closed, Ending::Dropped] {
        let mut world = claimed().await;
        world.check(false).await;
        let mut world = world.end(ending).await;
        world.step(LEASE).await;
        world.step(reclaim(0)).await;
        assert_eq!(claim(&world).await, ("1.2".to_owned(), ClaimOrigin::Reclaimed));
    }
}

#[tokio::test]
async fn dates_are_cut_for_every_setting_of_the_clock_also_within_one_millisecond() {
    let nothing = Step::Claim { holder: 0, max: 1, both: false, opening: None };
    for restarts in [false, true] {
        let mut world = World::begin().await;
        let elsewhere = Submit { other_provider: true, max_attempts: 3, ..Submit::default() };
        world.step(Step::Submit(elsewhere)).await;
        world.step(nothing.clone()).await;
        world.step(Step::SetClock(-3000)).await;
        world.check(false).await;
        if restarts {
            world = world.end(Ending::Closed).await;
        }
        world.step(nothing.clone()).await;
        world.check(false).await;
        let waiting = entries(&world.sqlite, &[QueueStatus::Pending]).await;
        assert_eq!(waiting[0].entry().waits_since, world.clock.wall());
    }
}
