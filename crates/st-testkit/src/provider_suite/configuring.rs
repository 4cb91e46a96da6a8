//! Inputs, settings, the account and its credential.

use futures_util::StreamExt;
use jiff::SignedDuration;
use st_workers::provider::{Cause, Provider, QueryError, RemoteJob, SubmitError};

use super::{RefusedInput, Situation, World, begun, begun_jobs, given, marker, must, remote, soon};

pub async fn an_input_is_refused_with_the_name_of_the_field(world: &dyn World) {
    let provider = world.provider();
    let good = world.submission(marker());
    assert_eq!(provider.check(&good.input, &good.settings), Ok(()));
    for RefusedInput { input, field } in given(world.refused_inputs()).unwrap_or_default() {
        let said = provider.check(&input, &good.settings).unwrap_err();
        assert!(said.contains(field), "{input}: {said:?} does not name {field}");
        assert!(!said.contains('\n') && !said.ends_with('.'), "it fits behind a colon: {said:?}");
    }
    assert_eq!(world.arrived().await, [], "a check has no effect");
}

pub async fn what_is_missing_is_said(world: &dyn World) {
    let provider = world.provider();
    assert_eq!(provider.missing(&world.submission(marker()).settings), None);
    if let Some(settings) = given(world.incomplete_settings()) {
        let said = provider.missing(&settings).unwrap();
        assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
    }
    assert_eq!(world.arrived().await, [], "a question has no effect");
}

pub async fn the_account_is_named(world: &dyn World) {
    let provider = world.provider();
    let name = given(world.account_name());
    let mut times = Vec::new();
    for _ in 0..2 {
        let account = soon("a validation", provider.validate()).await.unwrap();
        if let Some(name) = name {
            assert_eq!(account.username, name);
        }
        times.push(provider.time());
    }
    // A `Date` has no fractions of a second.
    let goes_on = match (times[0], times[1]) {
        (Some(before), Some(after)) => after.duration_since(before) > SignedDuration::from_secs(-2),
        (before, after) => before.is_none() || after.is_some(),
    };
    assert!(goes_on, "its time goes on: {times:?}");
    let account = provider.account();
    begun(world, marker()).await;
    assert_eq!(provider.account(), account, "it stays the same account");
    if given(world.bring_about(Situation::Outage).await).is_some() {
        // Some providers need not ask to know it.
        if let Err(error) = soon("a validation", provider.validate()).await {
            let is_ours = is_of_credentials(&error) || matches!(error, QueryError::NotFound);
            assert!(!is_ours, "an outage says nothing about the credential: {error:?}");
        }
        assert_eq!(provider.account(), account, "a failure does not change it");
        must(world, Situation::Recovery).await;
    }
}

fn is_of_credentials(error: &QueryError) -> bool {
    matches!(error, QueryError::Unavailable(error) if error.cause == Cause::Credentials)
}

fn assert_of_credentials(what: &str, answer: &Result<(), QueryError>) {
    let is_such = answer.as_ref().is_err_and(is_of_credentials);
    assert!(is_such, "{what} with a wrong credential: {answer:?}");
}

pub async fn a_wrong_credential_is_the_credentials_fault(world: &dyn World) {
    let Some(wrong) = given(world.with_wrong_credential().await) else { return };
    let marker = marker();
    match soon("a submission", wrong.submit(&world.submission(marker))).await {
        Err(SubmitError::Unavailable(error)) => assert_eq!(error.cause, Cause::Credentials),
        other => panic!("it is not accepted: {other:?}"),
    }
    assert_eq!(world.arrived().await, []);
    assert_of_credentials("a validation", &soon("a call", wrong.validate()).await.map(drop));
    let jobs: Vec<RemoteJob> = begun_jobs(world, 5).await;
    let jobs: Vec<RemoteJob> =
        jobs.iter().map(|job| remote(wrong.as_ref(), job.id, &job.provider_job_id)).collect();
    for few in [1, jobs.len()] {
        let answers: Vec<_> = soon("a poll", wrong.statuses(&jobs[..few]).collect()).await;
        assert_eq!(answers.len(), few);
        for (_, answer) in answers {
            assert_of_credentials("a status", &answer.map(drop));
        }
    }
    assert_of_credentials(
        "a cancellation",
        &soon("a call", wrong.cancel(&jobs[0])).await.map(drop),
    );
    if given(world.printed()).is_some() {
        assert_of_credentials("a log", &soon("a call", wrong.logs(&jobs[0])).await.map(drop));
    }
}

pub async fn nothing_shows_a_secret(world: &dyn World) {
    let Some(secret) = given(world.secret()) else { return };
    let provider = world.provider();
    let hidden = |provider: &dyn Provider| {
        for shown in [format!("{provider:?}"), format!("{provider:#?}")] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let account = provider.account();
        assert!(!format!("{account:?}").contains(secret), "{account:?}");
    };
    hidden(provider.as_ref());
    let job = begun(world, marker()).await;
    soon("a validation", provider.validate()).await.unwrap();
    soon("a cancellation", provider.cancel(&job)).await.unwrap();
    hidden(provider.as_ref());
    if let Some(wrong) = given(world.with_wrong_credential().await) {
        let submission = world.submission(marker());
        let error = soon("a submission", wrong.submit(&submission)).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
        hidden(wrong.as_ref());
    }
}
