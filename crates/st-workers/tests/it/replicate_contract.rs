//! What every answer of Replicate, and every silence, means: for a submission whether it may have
//! arrived, for a question that it says nothing about the job.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use st_testkit::replicate::{Call, FakeReplicate, Fault};
use st_workers::provider::replicate::Replicate;
use st_workers::provider::{JobList, ListQuery, Provider, QueryError, SubmitError, Unavailable};

use crate::replicate::{TOKEN, add, known, provider_with, start, status_of, submission};

/// Long enough for what is answered.
const PATIENT: Duration = Duration::from_mins(1);
/// Short enough for a test to run into, long enough for a fake on this machine to get the request.
const IMPATIENT: Duration = Duration::from_millis(500);

/// Only what never answers is worth a short deadline.
fn provider_for(fake: &FakeReplicate, fault: &Fault) -> Replicate {
    let silent = matches!(fault, Fault::Silence | Fault::SlowBody);
    provider_with(&fake.base_url(), TOKEN, if silent { IMPATIENT } else { PATIENT })
}

/// An answer in the provider's own words.
fn own(status: u16) -> Fault {
    own_with(status, vec![])
}

fn own_with(status: u16, headers: Vec<(&'static str, &'static str)>) -> Fault {
    let body = json!({"title": "Odd", "detail": "its words", "status": status}).to_string();
    Fault::Answer { status, headers, body }
}

fn unavailable(error: &Unavailable) -> String {
    let wait = error.retry_after.map(|wait| format!(", again in {wait:?}"));
    format!("{}{}: {}", error.cause, wait.unwrap_or_default(), error.reason)
}

/// An error in one line: what the caller acts upon, then the text.
fn of_submission(error: &SubmitError) -> String {
    match error {
        SubmitError::Rejected { reason } => format!("rejected: {reason}"),
        SubmitError::MissingSetting { reason } => format!("missing: {reason}"),
        SubmitError::Unavailable(error) => unavailable(error),
        SubmitError::Unknown { reason, may_arrive_for, .. } => {
            assert!(*may_arrive_for >= Duration::from_mins(2), "{may_arrive_for:?}");
            format!("unknown: {reason}")
        }
    }
}

fn of_question(error: &QueryError) -> String {
    match error {
        QueryError::NotFound => "not found".to_owned(),
        QueryError::Unavailable(error) => unavailable(error),
    }
}

/// Submits under a fault. The verdict, and how often the provider was asked and charged for it.
async fn submitted(fault: &Fault) -> (String, usize, usize) {
    let fake = FakeReplicate::start().await;
    let provider = provider_for(&fake, fault);
    fake.world().always(Call::Create, fault.clone());
    let error = provider.submit(&submission()).await.unwrap_err();
    (of_submission(&error), fake.world().requests().len(), fake.world().charges().len())
}

#[tokio::test]
async fn a_refused_submission_is_whose_fault_the_status_says() {
    let table = [
        (400, "rejected", "unknown", "Bad Request"),
        (401, "credentials", "credentials", "Unauthorized"),
        (402, "account", "account", "Payment Required"),
        (403, "account", "account", "Forbidden"),
        (404, "rejected", "unknown", "Not Found"),
        (405, "unknown", "unknown", "Method Not Allowed"),
        (407, "credentials", "credentials", "Proxy Authentication Required"),
        (408, "unknown", "unknown", "Request Timeout"),
        (409, "unknown", "unknown", "Conflict"),
        (410, "unknown", "unknown", "Gone"),
        (413, "rejected", "unknown", "Payload Too Large"),
        (421, "unreachable", "unreachable", "Misdirected Request"),
        (422, "rejected", "unknown", "Unprocessable Entity"),
        (425, "unreachable", "unreachable", "Too Early"),
        (429, "throttled, again in 1s", "throttled, again in 1s", "Too Many Requests"),
        (451, "unknown", "unknown", "Unavailable For Legal Reasons"),
        (302, "unknown", "unknown", "Found"),
        (304, "unknown", "unknown", "Not Modified"),
        (500, "unknown", "unknown", "Internal Server Error"),
        (502, "unknown", "unknown", "Bad Gateway"),
        (503, "unknown", "unknown", "Service Unavailable"),
        (504, "unknown", "unknown", "Gateway Timeout"),
    ];
    for (status, in_own_words, by_gateway, phrase) in table {
        // An answer of 304 has no body, so it can hold no words.
        let words = if status == 304 { phrase } else { "its words" };
        let expected = format!("{in_own_words}: replicate answered {status}: {words}");
        assert_eq!(submitted(&own(status)).await, (expected, 1, 0));
        let expected = format!("{by_gateway}: replicate answered {status}: {phrase}");
        assert_eq!(submitted(&Fault::gateway(status)).await, (expected, 1, 0));
        // JSON that is not the provider's.
        let body = json!({"message": "no route"}).to_string();
        let other = Fault::Answer { status, headers: vec![], body };
        assert!(submitted(&other).await.0.starts_with(by_gateway), "{status}");
    }
    let strange = submitted(&Fault::gateway(599)).await.0;
    assert_eq!(strange, "unknown: replicate answered 599");
}

#[tokio::test]
async fn a_submission_without_a_usable_answer_may_have_arrived() {
    let answer = |body: &str| Fault::Answer { status: 201, headers: vec![], body: body.to_owned() };
    let long = json!({"id": "a".repeat(100_000), "status": "starting"}).to_string();
    // More than is kept, though each member is short.
    let wordy =
        format!("{{{}\"id\": 1}}", format!("\"error\": {:?}, ", "x".repeat(10_000)).repeat(900));
    let accepted = "unknown: replicate accepted the job and ";
    let table = [
        (Fault::DropAfter, "unknown: the connection to replicate broke".to_owned(), 1),
        (Fault::DropBefore, "unknown: the connection to replicate broke".to_owned(), 0),
        (Fault::SlowBody, "unknown: replicate did not answer in time".to_owned(), 1),
        (Fault::Silence, "unknown: replicate did not answer in time".to_owned(), 0),
        (Fault::Garbage, format!("{accepted}its answer cannot be read"), 1),
        (answer(""), format!("{accepted}its answer cannot be read"), 0),
        (answer("[]"), format!("{accepted}its answer cannot be read"), 0),
        (answer("{}"), format!("{accepted}gave it an id that cannot be used"), 0),
        (answer(r#"{"id": "../x"}"#), format!("{accepted}gave it an id that cannot be used"), 0),
        (answer(&long), format!("{accepted}gave it an id that cannot be used"), 0),
        (answer(&" ".repeat(17 << 20)), format!("{accepted}its answer cannot be read"), 0),
        (answer(&wordy), "unknown: replicate's answer is too large".to_owned(), 0),
    ];
    for (fault, expected, charged) in table {
        let shown: String = format!("{fault:?}").chars().take(100).collect();
        assert_eq!(submitted(&fault).await, (expected, 1, charged), "{shown}");
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_was_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = provider_with(&format!("http://{closed}"), TOKEN, PATIENT);
    let error = provider.submit(&submission()).await.unwrap_err();
    assert_eq!(of_submission(&error), "unreachable: replicate cannot be reached");
    assert!(error.source().is_some(), "the reason is kept for the log");
    let error = status_of(&provider, &known("a")).await.unwrap_err();
    assert_eq!(of_question(&error), "unreachable: replicate cannot be reached");
}

/// Asks every question there is under a fault: the verdicts about one job, then those about the
/// account and its list.
async fn questions(fault: &Fault) -> (Vec<String>, Vec<String>) {
    let fake = FakeReplicate::start().await;
    let provider = provider_for(&fake, fault);
    let job = add(fake.world(), 1).remove(0);
    for call in [Call::Get, Call::List, Call::Cancel, Call::Account] {
        fake.world().always(call, fault.clone());
    }
    let about_job = [
        status_of(&provider, &job).await.map(drop),
        provider.cancel(&job).await.map(drop),
        provider.logs(&job).await.map(drop),
    ];
    let about_account = [
        provider.page(&ListQuery::default()).await.map(drop),
        provider.has_witness().await.map(drop),
        provider.validate().await.map(drop),
    ];
    assert_eq!(fake.world().requests().len(), 6, "each was asked once: {fault:?}");
    let verdict = |answer: &Result<(), QueryError>| of_question(answer.as_ref().unwrap_err());
    (about_job.iter().map(verdict).collect(), about_account.iter().map(verdict).collect())
}

#[tokio::test]
async fn a_refused_question_says_nothing_about_the_job() {
    let table = [
        (400, "trouble"),
        (401, "credentials"),
        (402, "account"),
        (403, "account"),
        (405, "trouble"),
        (407, "credentials"),
        (408, "trouble"),
        (409, "trouble"),
        (410, "trouble"),
        (413, "trouble"),
        (421, "trouble"),
        (422, "trouble"),
        (425, "trouble"),
        (429, "throttled, again in 1s"),
        (451, "trouble"),
        (302, "trouble"),
        (500, "trouble"),
        (503, "trouble"),
    ];
    for (status, verdict) in table {
        let expected = vec![format!("{verdict}: replicate answered {status}: its words"); 3];
        assert_eq!(questions(&own(status)).await, (expected.clone(), expected));
        let (job, account) = questions(&Fault::gateway(status)).await;
        let same = |it: &String| it.starts_with(&format!("{verdict}: replicate answered {status}"));
        assert!(job.iter().chain(&account).all(same), "{job:?} {account:?}");
    }
}

#[tokio::test]
async fn only_the_providers_own_404_about_a_job_is_not_found() {
    let (job, account) = questions(&own(404)).await;
    assert_eq!(job, ["not found"; 3], "a cancellation too");
    assert_eq!(account, ["trouble: replicate answered 404: its words"; 3]);
    let page = vec!["trouble: replicate answered 404: Not Found".to_owned(); 3];
    assert_eq!(questions(&Fault::gateway(404)).await, (page.clone(), page.clone()));
    let body = json!({"detail": "its words", "status": 500}).to_string();
    let other = Fault::Answer { status: 404, headers: vec![], body };
    assert_eq!(questions(&other).await, (page.clone(), page));
}

#[tokio::test]
async fn a_question_without_a_usable_answer_is_trouble() {
    let table = [
        (Fault::DropAfter, "trouble: the connection to replicate broke"),
        (Fault::DropBefore, "trouble: the connection to replicate broke"),
        (Fault::SlowBody, "trouble: replicate did not answer in time"),
        (Fault::Silence, "trouble: replicate did not answer in time"),
        (Fault::Garbage, "trouble: replicate's answer cannot be read"),
    ];
    for (fault, verdict) in table {
        let (job, account) = questions(&fault).await;
        assert_eq!(job, [verdict; 3], "{fault:?}");
        assert_eq!(account, [verdict; 3], "{fault:?}");
    }
}

#[tokio::test]
async fn a_wish_to_be_left_alone_is_read_from_every_error() {
    for status in [401, 403, 429, 500, 503] {
        let (job, account) = questions(&own_with(status, vec![("retry-after", " 7 ")])).await;
        let wish = |it: &String| it.contains(", again in 7s: ");
        assert!(job.iter().chain(&account).all(wish), "{job:?} {account:?}");
    }
    for status in [401, 402, 403, 429] {
        let fault = own_with(status, vec![("retry-after", "30")]);
        let verdict = submitted(&fault).await.0;
        assert!(verdict.contains(", again in 30s: "), "{verdict}");
    }
    let words = |detail: &'static str| Fault::Refused { status: 429, detail };
    let year = submitted(&words("Not before 2026, request 8c2f1a77")).await.0;
    assert!(year.starts_with("throttled, again in 1s: "), "{year}");
    let soon = submitted(&words("Your rate limit resets in ~30s.")).await.0;
    assert!(soon.starts_with("throttled, again in 30s: "), "{soon}");
}

#[tokio::test]
async fn another_accounts_job_is_not_found_and_its_own_is() {
    let (fake, provider) = start().await;
    fake.world().add_account("r8_another", "another");
    let job = add(fake.world(), 1).remove(0);
    let another = provider_with(&fake.base_url(), "r8_another", PATIENT);
    let error = status_of(&another, &job).await.unwrap_err();
    assert_eq!(of_question(&error), "not found");
    assert!(!another.has_witness().await.unwrap(), "which makes it not worth believing");
    status_of(&provider, &job).await.unwrap();
    assert!(provider.has_witness().await.unwrap());
}

#[tokio::test]
async fn the_token_goes_nowhere_else() {
    let (fake, provider) = start().await;
    let thief = FakeReplicate::start().await;
    let job = add(fake.world(), 1).remove(0);
    for call in [Call::Create, Call::Get, Call::List, Call::Cancel, Call::Account] {
        fake.world().always(call, Fault::Redirect(thief.base_url()));
    }
    provider.submit(&submission()).await.unwrap_err();
    provider.cancel(&job).await.unwrap_err();
    provider.logs(&job).await.unwrap_err();
    provider.page(&ListQuery::default()).await.unwrap_err();
    provider.validate().await.unwrap_err();
    assert!(thief.world().requests().is_empty());
    let bearer = format!("Bearer {TOKEN}");
    let requests = fake.world().requests();
    assert!(requests.iter().all(|it| it.header("authorization") == Some(bearer.as_str())));
}
