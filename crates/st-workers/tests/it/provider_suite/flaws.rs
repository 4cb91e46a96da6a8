//! Each case of the suite is failed by a provider that breaks the promise that it is about, and says
//! why.

mod provider;

use std::time::Duration;

use futures_util::future::BoxFuture;
use st_log::CorrelationId;
use st_store::{JobId, ProviderJobId};
use st_testkit::provider_suite::{
    World, arriving, configuring, ending, giving_up, polling, submitting,
};
use st_workers::provider::RemoteJob;

use provider::{Flaw, FlawedWorld};

fn job(id: JobId, provider_job_id: ProviderJobId) -> RemoteJob {
    RemoteJob {
        id,
        provider_job_id,
        account: None,
        correlation_id: CorrelationId::generate(),
        age: Duration::ZERO,
        hardware_type: None,
    }
}

/// What a case says about a provider with this flaw.
async fn said(
    flaw: Flaw,
    case: impl for<'w> FnOnce(&'w dyn World) -> BoxFuture<'w, ()> + Send + 'static,
) -> String {
    let run = st_log::spawn(async move {
        let world = FlawedWorld::new(flaw);
        case(&world).await;
    });
    match run.await {
        Ok(()) => panic!("a provider passes of which it is true that {flaw:?}"),
        Err(error) => {
            let panicked = error.into_panic();
            let text = panicked.downcast_ref::<String>().cloned();
            text.or_else(|| panicked.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap()
        }
    }
}

macro_rules! caught {
    ($(#[$test:meta] $($topic:ident::$case:ident: $flaw:ident, $says:expr;)+)+) => {
        $($(
            #[$test]
            async fn $case() {
                let said = said(Flaw::$flaw, |world| Box::pin($topic::$case(world))).await;
                assert!(said.contains($says), "{said}");
            }
        )+)+
    };
}

mod submissions {
    use super::*;

    caught! {
        #[tokio::test]
        submitting::a_submission_becomes_one_job_with_an_id: EverySubmissionIsTwoJobs, "left == right";
        submitting::jobs_submitted_at_the_same_time_are_different_ones: EveryJobHasOneId,
            "each has an ID of its own";
        submitting::a_lost_reply_leaves_the_outcome_unknown: LostCallsCountAsRefused,
            "the caller cannot know it";
        submitting::a_lost_request_leaves_the_outcome_unknown: LostCallsCountAsRefused,
            "the caller cannot know it";
        submitting::what_is_refused_has_not_arrived: WhatIsRefusedArrivesAllTheSame, "it arrived";
        submitting::what_cannot_be_sent_has_not_arrived: WhatCheckRefusesIsSent, "unwrap_err";
        submitting::a_submission_during_an_outage_is_true_to_the_ledger: OutagesAreTheJobsFault,
            "an outage is no fault of the job";
        submitting::there_is_as_much_room_as_turns: RoomIsPromisedAndNotGiven,
            "turn 0 of 5 is not given";
        submitting::what_is_held_is_released_once: WhatIsReleasedCannotBeReleasedAgain,
            "it is not held";
    }
}

mod arrivals {
    use super::*;

    caught! {
        #[tokio::test]
        arriving::what_was_submitted_is_found_by_its_marker: MarkersAreNotShown, "unwrap";
        arriving::what_was_never_submitted_is_not_found: AnyMarkerIsFound, "among none";
        arriving::what_arrived_without_a_reply_is_found: MarkersAreNotShown, "unwrap";
        arriving::what_was_lost_is_not_found: AnyMarkerIsFound, "left == right";
        arriving::an_outage_proves_no_absence: AnOutageIsAnEmptyList, "it says nothing";
        arriving::an_account_without_jobs_has_no_witness: AnEmptyAccountHasAWitness,
            "no job is there";
    }
}

mod polls {
    use super::*;

    caught! {
        #[tokio::test]
        polling::every_job_gets_one_answer: OneAnswerIsMissing, "one answer for each job";
        polling::what_is_over_stays_over: WhatIsOverRunsAgain, "left == right";
        polling::a_failing_answer_harms_no_other: OneFailureIsTheFailureOfAll, "left == right";
        polling::an_unknown_job_is_not_found: WhatIsNotThereIsTrouble,
            "it is not said that it is not there";
        polling::an_outage_says_nothing_about_a_job: OutagesAreAbsence, "during an outage";
        polling::where_nobody_is_reached_nothing_is_said_about_a_job: OutagesAreAbsence,
            "during an outage";

        #[tokio::test(start_paused = true)]
        polling::a_job_is_followed_to_its_end: JobsNeverEnd, "a job that becomes Completed";
        polling::a_silent_job_holds_up_no_other: QuestionsAreAskedOneByOne, "an answer takes more";
        polling::the_end_of_a_job_is_announced: NothingIsAnnounced, "the news takes more";
    }

    mod twice {
        use super::*;

        caught! {
            #[tokio::test]
            polling::every_job_gets_one_answer: OneAnswerIsGivenTwice, "one answer for each job";
        }
    }

    mod of_others {
        use super::*;

        caught! {
            #[tokio::test]
            polling::every_job_gets_one_answer: AnswersAreAboutOtherJobs, "about another job";
        }
    }
}

mod ends {
    use super::*;

    caught! {
        #[tokio::test(start_paused = true)]
        ending::a_running_job_is_cancelled: NothingIsCancelled, "a job that becomes Cancelled";

        #[tokio::test]
        ending::what_is_over_is_not_cancelled: WhatIsOverIsCancelled, "it ended before";
        ending::an_unknown_job_is_not_cancelled: AnythingCanBeCancelled, "there is no such job";
        ending::what_was_printed_is_shown: LogsAreEmpty, "is not in";
        ending::an_unknown_job_has_no_log: AnythingHasALog, "there is no such job";
        ending::keeping_house_harms_no_job: HousekeepingEndsJobs, "it goes on";
        ending::what_is_kept_is_forgotten_once: NothingIsForgottenTwice, "it is not there";
    }
}

mod configurations {
    use super::*;

    caught! {
        #[tokio::test]
        configuring::an_input_is_refused_with_the_name_of_the_field: RefusalsNameNoField,
            "does not name config";
        configuring::what_is_missing_is_said: NothingIsEverMissing, "unwrap";
        configuring::the_account_is_named: TheAccountHasNoName, "left == right";
        configuring::a_wrong_credential_is_the_credentials_fault: AWrongCredentialIsTrouble,
            "a validation with a wrong credential";
        configuring::nothing_shows_a_secret: DebugShowsTheSecret, "planted-s3cr3t";
    }
}

mod given_up {
    use super::*;

    caught! {
        #[tokio::test]
        giving_up::a_submission_that_is_given_up_is_not_lost: WhatIsGivenUpIsNotShown, "it arrived";
        giving_up::a_cancellation_that_is_given_up_can_be_repeated: NothingIsCancelledTwice,
            "it is over";
        giving_up::a_turn_that_is_given_up_uses_none: TurnsThatAreGivenUpCount, "left == right";

        #[tokio::test(start_paused = true)]
        giving_up::questions_that_are_given_up_harm_nothing: WhatIsGivenUpKeepsItsPlace,
            "takes more than";
    }
}
