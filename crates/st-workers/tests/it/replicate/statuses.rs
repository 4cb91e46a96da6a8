//! The statuses of many jobs: by pages, by single calls, and what happens when either fails.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::SignedDuration;
use serde_json::json;
use st_log::{CorrelationId, InScope};
use st_store::{JobId, JobStatus, ProviderStatus};
use st_testkit::replicate::{Call, FakeReplicate, Fault};
use st_workers::provider::replicate::Replicate;
use st_workers::provider::{Cause, Provider, QueryError, RemoteJob};

use super::{add, asked, known, provider_at, start};

pub(super) type Answers = BTreeMap<JobId, Result<ProviderStatus, QueryError>>;

/// All answers; one for each job.
pub(super) async fn poll(provider: &Replicate, jobs: &[RemoteJob]) -> Answers {
    let answers: Vec<_> = provider.statuses(jobs).collect().await;
    assert_eq!(answers.len(), jobs.len());
    let answers: Answers = answers.into_iter().collect();
    assert!(jobs.iter().all(|job| answers.contains_key(&job.id)), "one answer for each");
    answers
}

/// How many jobs got a status that is their own.
pub(super) fn known_statuses(jobs: &[RemoteJob], answers: &Answers) -> usize {
    let own = |job: &&RemoteJob| {
        answers[&job.id].as_ref().is_ok_and(|it| it.provider_job_id == job.provider_job_id)
    };
    jobs.iter().filter(own).count()
}

#[tokio::test]
async fn many_jobs_are_polled_by_the_page() {
    let (fake, provider) = start().await;
    fake.world().hold("processing");
    let mut jobs = add(fake.world(), 250);
    jobs.reverse();
    jobs.swap(3, 200);
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), 250);
    let running = |it: &ProviderStatus| it.status == Some(JobStatus::Running);
    assert!(answers.values().all(|it| it.as_ref().is_ok_and(running)));
    assert_eq!(asked(fake.world()), ["GET /predictions"; 3]);

    // The newest three are all on the first page.
    assert_eq!(poll(&provider, &jobs[..3]).await.len(), 3);
    assert_eq!(fake.world().requests().len(), 4, "no page more than needed");
}

#[tokio::test]
async fn the_window_begins_before_the_oldest_job_by_the_providers_time() {
    let (fake, provider) = start().await;
    let skew = SignedDuration::from_hours(-5);
    fake.world().skew(skew);
    let mut jobs = add(fake.world(), 3);
    poll(&provider, &jobs).await;
    assert_eq!(fake.world().requests()[0].path, "/predictions", "its time was not known yet");
    jobs[1].age = Duration::from_secs(1000);
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), 3);
    let path = fake.world().requests()[1].path.clone();
    let since: jiff::Timestamp =
        path.strip_prefix("/predictions?created_after=").unwrap().parse().unwrap();
    let ago = st_store::Clock::wall(&st_store::SystemClock).duration_since(since);
    let off = ago + skew - SignedDuration::from_secs(1000 + 15 * 60);
    assert!(off.abs() < SignedDuration::from_secs(30), "{path}");
}

#[tokio::test]
async fn a_few_jobs_are_polled_singly_under_their_own_correlation_ids() {
    let (fake, provider) = start().await;
    let jobs = add(fake.world(), 2);
    let cycle = CorrelationId::parse("the-cycle").unwrap();
    let header =
        |at: usize| fake.world().requests()[at].header("x-correlation-id").unwrap().to_owned();
    poll(&provider, &jobs).with_correlation_id(cycle.clone()).await;
    let mut seen = [header(0), header(1)];
    seen.sort();
    let mut expected = [0, 1].map(|at: usize| jobs[at].correlation_id.as_str().to_owned());
    expected.sort();
    assert_eq!(seen, expected);

    // The third is not in the list and asked about by itself.
    let all = [jobs[0].clone(), jobs[1].clone(), known("unknown-to-them")];
    let answers = poll(&provider, &all).with_correlation_id(cycle).await;
    assert!(matches!(answers[&all[2].id], Err(QueryError::NotFound)), "{answers:?}");
    assert_eq!(known_statuses(&all, &answers), 2);
    assert_eq!([header(2), header(3)], ["the-cycle", "of-unknown-to-them"]);
}

#[tokio::test]
async fn a_job_that_is_listed_twice_or_polled_twice_is_one_job() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let mut jobs = add(world, 3);
    let row = json!({"id": jobs[0].provider_job_id.as_str(), "status": "processing"}).to_string();
    world.add_rows([row.clone(), row]);
    // Two of ours that claim the same job there.
    jobs.push(RemoteJob { id: known("x").id, ..jobs[1].clone() });
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), 4);
    assert_eq!(asked(world), ["GET /predictions"]);
}

#[tokio::test]
async fn rows_of_strangers_and_odd_rows_of_ours_cost_no_answer() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 4);
    let id = jobs[0].provider_job_id.as_str();
    world.add_rows([
        "null".to_owned(),
        r#"{"id": "f1", "status": null}"#.to_owned(),
        r#"{"id": "a.b", "status": 7, "input": {"prompt": "\ud800"}}"#.to_owned(),
        format!(
            r#"{{"id": "f2", "status": "x", "x": 1e400, "y": {0}1{1}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        ),
        // Ours, without a status: asked about by itself.
        format!(r#"{{"id": "{id}", "status": null}}"#),
    ]);
    world.change(id, |job| "other".clone_into(&mut job.account));
    world.add_account("r8_very-secret", "tester");
    let answers = poll(&provider, &jobs).await;
    assert_eq!(known_statuses(&jobs, &answers), 3);
    assert!(matches!(answers[&jobs[0].id], Err(QueryError::NotFound)), "{answers:?}");
    assert_eq!(asked(world), ["GET /predictions".to_owned(), format!("GET /predictions/{id}")]);
}

#[tokio::test]
async fn a_page_of_twenty_megabytes_is_read() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 4);
    let data = "A".repeat(200_000);
    let row = |number: usize| {
        let output = format!("data:image/png;base64,{data}");
        json!({"id": format!("f{number}"), "status": "succeeded", "output": output}).to_string()
    };
    world.add_rows((0..96).map(row));
    assert_eq!(known_statuses(&jobs, &poll(&provider, &jobs).await), 4);
    assert_eq!(asked(world), ["GET /predictions"]);
}

#[tokio::test]
async fn a_list_in_trouble_is_replaced_by_single_calls() {
    let answer =
        |status, body: &str| Fault::Answer { status, headers: vec![], body: body.to_owned() };
    for fault in [
        Fault::Garbage,
        Fault::DropBefore,
        Fault::ServerError,
        Fault::gateway(404),
        Fault::Refused { status: 404, detail: "no such page" },
        Fault::Refused { status: 403, detail: "not the list" },
        Fault::Redirect("http://127.0.0.1:1/".to_owned()),
        answer(200, "{\"results\": null}"),
        answer(200, "[]"),
    ] {
        let (fake, provider) = start().await;
        let jobs = add(fake.world(), 10);
        fake.world().always(Call::List, fault.clone());
        let answers = poll(&provider, &jobs).await;
        assert_eq!(known_statuses(&jobs, &answers), 10, "{fault:?}");
        assert_eq!(fake.world().requests().len(), 11, "{fault:?}");
    }
}

#[tokio::test]
async fn the_second_page_in_trouble_takes_nothing_from_the_first() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 110);
    for next in ["http://127.0.0.1:1/elsewhere", "no link", "/v1/predictions?cursor=0"] {
        let before = world.requests().len();
        world.always(Call::List, Fault::NextAt(next.to_owned()));
        let answers = poll(&provider, &jobs).await;
        assert_eq!(known_statuses(&jobs, &answers), 110, "{next}");
        let lists = asked(world)[before..].iter().filter(|it| *it == "GET /predictions").count();
        assert!(lists <= 2, "a page that was read is not read again: {lists}, {next}");
        world.recover();
    }
}

#[tokio::test]
async fn a_next_on_another_host_is_followed_here() {
    let fake = FakeReplicate::start().await;
    let elsewhere = FakeReplicate::start().await;
    let provider = provider_at(&fake.base_url());
    let jobs = add(fake.world(), 150);
    let next = format!("{}/predictions?cursor=100", elsewhere.base_url());
    fake.world().fault_on(Call::List, Fault::NextAt(next));
    assert_eq!(known_statuses(&jobs, &poll(&provider, &jobs).await), 150);
    assert_eq!(asked(fake.world()), ["GET /predictions"; 2]);
    assert!(elsewhere.world().requests().is_empty());
}

/// The cause, the text and the wait that all answers have in common.
fn common(answers: &Answers) -> (Cause, String, Option<Duration>) {
    let mut all = answers.values().map(|answer| match answer {
        Err(QueryError::Unavailable(it)) => (it.cause, it.reason.clone(), it.retry_after),
        other => panic!("{other:?}"),
    });
    let first = all.next().unwrap();
    assert!(all.all(|it| it == first), "{answers:?}");
    first
}

#[tokio::test]
async fn a_provider_that_is_away_or_throttles_is_called_once_and_not_for_each_job() {
    let seven = Some(Duration::from_secs(7));
    let table = [
        (Fault::TooMany { retry_after: Some("7") }, Cause::Throttled, seven),
        (Fault::Refused { status: 401, detail: "who?" }, Cause::Credentials, None),
        (Fault::Refused { status: 407, detail: "who?" }, Cause::Credentials, None),
    ];
    for (fault, cause, wait) in table {
        let (fake, provider) = start().await;
        let jobs = add(fake.world(), 10);
        fake.world().always(Call::List, fault.clone());
        let (common_cause, reason, retry_after) = common(&poll(&provider, &jobs).await);
        assert_eq!((common_cause, retry_after), (cause, wait), "{fault:?}");
        assert!(reason.starts_with("replicate answered 4"), "{reason}");
        assert_eq!(fake.world().requests().len(), 1, "{fault:?}");
    }
    let (fake, _) = start().await;
    let jobs = add(fake.world(), 10);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = provider_at(&format!("http://{closed}"));
    let (cause, reason, _) = common(&poll(&nowhere, &jobs).await);
    assert_eq!((cause, &*reason), (Cause::Unreachable, "replicate cannot be reached"));
}

#[tokio::test]
async fn single_calls_end_too_when_the_provider_wants_to_be_left_alone() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 100);
    world.always(Call::List, Fault::ServerError);
    world.always(Call::Get, Fault::TooMany { retry_after: Some("30") });
    let (cause, _, wait) = common(&poll(&provider, &jobs).await);
    assert_eq!((cause, wait), (Cause::Throttled, Some(Duration::from_secs(30))));
    assert!(world.requests().len() <= 1 + 8 + 8, "{}", world.requests().len());
}

#[tokio::test]
async fn a_call_that_hangs_holds_up_only_itself() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 10);
    world.always(Call::List, Fault::ServerError);
    world.fault_on(Call::Get, Fault::Silence);
    let mut answers = provider.statuses(&jobs);
    for _ in 0..9 {
        let (_, answer) = answers.next().await.unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
    // Nothing else can happen any more, so paused time goes on to the deadline.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let (_, last) = answers.next().await.unwrap();
    let error = last.unwrap_err().to_string();
    assert_eq!(error, "replicate did not answer within 20s");
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_list_that_hangs_is_replaced_by_single_calls() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 3);
    world.always(Call::List, Fault::Silence);
    let mut answers = provider.statuses(&jobs);
    tokio::select! {
        biased;
        _ = answers.next() => panic!("there is no answer yet"),
        () = world.wait_for(|world| world.requests().len() == 1) => {}
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(21)).await;
    tokio::time::resume();
    // Long before the client itself gives the list up.
    let rest = tokio::time::timeout(Duration::from_secs(20), answers.collect::<Vec<_>>());
    let rest = rest.await.unwrap();
    assert_eq!(rest.iter().filter(|(_, answer)| answer.is_ok()).count(), 3, "{rest:?}");
}

#[tokio::test]
async fn a_provider_that_is_silent_for_all_is_not_waited_for_by_all() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let jobs = add(world, 100);
    world.always(Call::List, Fault::ServerError);
    world.always(Call::Get, Fault::Silence);
    let answers = provider.statuses(&jobs).collect::<Vec<_>>();
    let mut answers = std::pin::pin!(answers);
    tokio::select! {
        biased;
        _ = &mut answers => panic!("there is no answer yet"),
        () = world.wait_for(|world| world.requests().len() == 9) => {}
    }
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let answers: Answers = answers.await.into_iter().collect();
    assert_eq!(common(&answers).0, Cause::Trouble);
    assert!(began.elapsed() <= Duration::from_secs(41), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_open_page_costs_a_call_in_five_seconds_however_often_it_asks() {
    let (fake, provider) = start().await;
    let world = fake.world();
    let [one, other] = add(world, 2).try_into().unwrap();
    let ask = async |job: &RemoteJob| provider.progress(job).await.unwrap().unwrap().percent();
    let all = futures_util::future::join_all((0..20).map(|_| ask(&one))).await;
    assert_eq!(all, [Some(10.0); 20]);
    assert_eq!(ask(&one).await, Some(10.0));
    assert_eq!(asked(world).len(), 1);
    ask(&other).await;
    assert_eq!(asked(world).len(), 2, "another job is another question");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(5)).await;
    tokio::time::resume();
    ask(&one).await;
    assert_eq!(asked(world).len(), 3);
}
