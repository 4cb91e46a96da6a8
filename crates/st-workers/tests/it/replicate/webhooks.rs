//! Webhooks of Replicate: who signed them, and what they say.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{Either, select};
use jiff::Timestamp;
use proptest::prelude::*;
use st_http::{Client, Config};
use st_store::{Clock, JobStatus, Marker, SystemClock};
use st_testkit::replicate::{Call, Fault, Hook, World};
use st_workers::provider::replicate::{CallLimits, Prices, Replicate, ReplicateConfig};
use st_workers::provider::{
    BadSignature, Delivery, Provider, ReceiveError, Report, Reported, WebhookSecret,
};

use super::start;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const JOB: &str = "0190b3a0-0000-7000-8000-000000000001";

async fn receive(
    provider: &Replicate,
    hook: &Hook,
    requires_signature: bool,
) -> Result<Report, ReceiveError> {
    let mut headers = http::HeaderMap::new();
    for (name, value) in &hook.headers {
        headers.insert(*name, value.parse().unwrap());
    }
    let received_at = SystemClock.wall();
    provider
        .receive(&Delivery { headers: &headers, body: &hook.body, received_at, requires_signature })
        .await
}

/// One that asks nobody for its secret.
fn with_secret() -> Replicate {
    let config = ReplicateConfig {
        base_url: "http://127.0.0.1:9/v1".to_owned(),
        api_token: None,
        limits: CallLimits::default(),
        prices: Prices::default(),
        retry_on: BTreeSet::new(),
        webhook_secrets: vec![WebhookSecret::parse(SECRET).unwrap()],
    };
    Replicate::new(config, Client::new(Config::default()).unwrap()).unwrap()
}

fn now() -> Timestamp {
    SystemClock.wall()
}

#[tokio::test]
async fn a_rotated_secret_is_asked_for_again_but_not_by_every_stranger() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let id = world.add(serde_json::json!({}));
    let asked = || {
        let requests = world.requests();
        requests.iter().filter(|it| it.path == "/webhooks/default/secret").count()
    };
    let forged = || Hook::signed("msg_f", now(), &[OTHER], "{}");
    let no_match = Err(ReceiveError::Signature(BadSignature::NoMatch));
    receive(&provider, &world.hook(&id), true).await.unwrap();
    for _ in 0..5 {
        assert_eq!(receive(&provider, &forged(), true).await, no_match);
        receive(&provider, &world.hook(&id), true).await.unwrap();
    }
    assert_eq!(asked(), 1);
    world.change_webhook_secret("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB");
    assert_eq!(receive(&provider, &world.hook(&id), true).await, no_match, "not yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    receive(&provider, &world.hook(&id), true).await.unwrap();
    assert_eq!(
        receive(&provider, &Hook::signed("m", now(), &[SECRET], "{}"), true).await,
        no_match
    );
    assert_eq!(asked(), 2);
    let other = st_workers::provider::replicate::ApiToken::parse("r8_other").unwrap();
    provider.access().set_token(Some(other));
    receive(&provider, &world.hook(&id), true).await.unwrap();
    assert_eq!(asked(), 3, "the secret of one account is not that of another");
}

#[tokio::test]
async fn a_stranger_who_hangs_up_ends_no_question_and_what_is_known_waits_for_none() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let id = world.add(serde_json::json!({}));
    let questions = |world: &World| {
        let requests = world.requests();
        requests.iter().filter(|it| it.path == "/webhooks/default/secret").count()
    };
    let forged = Hook::signed("msg_f", now(), &[OTHER], "{}");
    world.delay(Duration::from_millis(50));
    {
        let stranger = std::pin::pin!(receive(&provider, &forged, true));
        let asked = world.wait_for(|world| questions(world) == 1);
        assert!(matches!(select(stranger, std::pin::pin!(asked)).await, Either::Right(_)));
    }
    receive(&provider, &world.hook(&id), true).await.unwrap();
    assert_eq!(questions(world), 1, "the stranger's question was answered");

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    world.fault_on(Call::Secret, Fault::Silence);
    let stranger = std::pin::pin!(receive(&provider, &forged, true));
    let asked = world.wait_for(|world| questions(world) == 2);
    let Either::Right(((), stranger)) = select(stranger, std::pin::pin!(asked)).await else {
        panic!("it is not answered");
    };
    let good = world.hook(&id);
    let known = receive(&provider, &good, true);
    assert!(matches!(select(stranger, std::pin::pin!(known)).await, Either::Right((Ok(_), _))));
}

#[tokio::test]
async fn what_needs_no_question_makes_none() {
    let (fake, provider) = start().await;
    let old = now() - jiff::SignedDuration::from_hours(1);
    for hook in [
        Hook { headers: Vec::new(), body: b"{}".to_vec() },
        Hook::signed("m", old, &[SECRET], "{}"),
    ] {
        let refused = receive(&provider, &hook, true).await.unwrap_err();
        assert!(matches!(refused, ReceiveError::Signature(_)), "{refused}");
    }
    assert!(fake.world().requests().is_empty());
    fake.world().always(Call::Secret, Fault::ServerError);
    let hook = Hook::signed("m", now(), &[SECRET], "{}");
    let refused = receive(&provider, &hook, true).await.unwrap_err();
    assert!(matches!(refused, ReceiveError::NoSecret { .. }), "{refused}");
}

#[tokio::test]
async fn a_signed_prediction_is_a_status_and_everything_else_is_a_hint() {
    let (_fake, provider) = start().await;
    let signed = |body: &str| Hook::signed("msg_1", now(), &[SECRET], body);
    let read = async |hook: Hook| receive(&provider, &hook, false).await.map(|it| it.reported);
    let body = format!(
        r#"{{"id": "p1", "status": "succeeded", "input": {{"st_marker": "{JOB}.2"}}, "error": null}}"#
    );
    let Ok(Reported::Status { status, marker }) = read(signed(&body)).await else { panic!() };
    assert_eq!(
        (status.provider_job_id.as_str(), status.status),
        ("p1", Some(JobStatus::Completed))
    );
    assert_eq!(marker, Some(Marker { job: JOB.parse().unwrap(), attempt: 2 }));
    let copied = body.replace(r#""error""#, r#""source": "web", "error""#);
    let Ok(Reported::Status { marker: None, .. }) = read(signed(&copied)).await else { panic!() };
    let unsigned = Hook { headers: Vec::new(), body: body.clone().into_bytes() };
    let hint = |id: Option<&str>, job: Option<&str>| Reported::Hint {
        provider_job_id: id.map(st_store::ProviderJobId::new),
        job: job.map(|job| job.parse().unwrap()),
    };
    assert_eq!(read(unsigned).await, Ok(hint(Some("p1"), None)), "and no marker");
    for (body, expected) in [
        (r#"{"prediction_id": "p1", "status": "failed"}"#.to_owned(), hint(Some("p1"), None)),
        (format!(r#"{{"job_id": "{JOB}"}}"#), hint(None, Some(JOB))),
        (r#"{"job_id": "p2", "type": "completed"}"#.to_owned(), hint(Some("p2"), None)),
        (
            format!(r#"{{"id": "x", "prediction_id": "p1", "job_id": "{JOB}"}}"#),
            hint(Some("p1"), Some(JOB)),
        ),
    ] {
        assert_eq!(read(signed(&body)).await, Ok(expected), "{body}");
    }
    for bad in
        [r#"{"prediction_id": "../x"}"#, r#"{"id": 7, "status": "failed"}"#, r#"{"id": "a"}"#, "{}"]
    {
        let refused = read(signed(bad)).await.unwrap_err();
        assert!(matches!(refused, ReceiveError::NoJob { .. }), "{bad}: {refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_body_is_refused_unless_it_is_signed_and_never_ends_the_program(
        at in 0_usize..200, byte in any::<u8>(), cut in proptest::option::of(0_usize..200),
    ) {
        let body = format!(
            r#"{{"id": "p1", "status": "succeeded", "input": {{"st_marker": "{JOB}.1"}}, "logs": "x"}}"#
        );
        let mut mutated = body.clone().into_bytes();
        let place = at % mutated.len();
        mutated[place] = byte;
        mutated.truncate(cut.unwrap_or(usize::MAX));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (kept, resigned) = runtime.block_on(async {
            let provider = with_secret();
            let signed = Hook::signed("m", now(), &[SECRET], body.clone());
            let kept = Hook { body: mutated.clone(), ..signed };
            let resigned = Hook::signed("m", now(), &[SECRET], mutated.clone());
            (receive(&provider, &kept, true).await, receive(&provider, &resigned, true).await)
        });
        if mutated != body.as_bytes() {
            prop_assert_eq!(kept, Err(ReceiveError::Signature(BadSignature::NoMatch)));
        }
        prop_assert!(!matches!(resigned, Err(ReceiveError::Signature(_))));
    }
}
