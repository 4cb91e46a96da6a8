//! What is kept when something else is lost, slow or damaged.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use st_store::{DamagedRow, Error, JobId, NewJob, ProviderName, ResultsState};
use st_testkit::replicate::{Call, Fault};
use st_testkit::suite::{id, job};

use super::{Bench, HOUR, about, is_kept, logged};

const PLENTY: u64 = 1 << 30;
/// More jobs than the task lists at a time.
const MANY: u16 = 1100;

fn damaged() -> Error {
    let problem = "metadata: syntax".to_owned();
    Error::Damaged(DamagedRow { table: "jobs", key: id(1).to_string(), problem })
}

fn bug() -> Error {
    panic!("a bug")
}

#[tokio::test]
async fn every_log_is_kept_while_thousands_of_downloads_hang() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("slow", b"slow".to_vec(), None);
    bench.fake.world().always(Call::File, Fault::SlowBody);
    let mut jobs = Vec::new();
    for number in 0..MANY {
        let [high, low] = number.to_be_bytes();
        let id = JobId::new(Timestamp::UNIX_EPOCH, [high, low, 0, 0, 0, 0, 0, 0, 0, 1]);
        let new = NewJob { id, provider: ProviderName::new("replicate"), ..job(1, "ann") };
        jobs.push(bench.submit_ended(new, "succeeded", json!(bench.fake.file_url("slow"))).await);
    }
    let (logs, all) = (bench.config.logs.clone(), jobs.clone());
    bench.run().await;
    let kept = async {
        for job in &all {
            while logs.read(*job).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), kept).await.expect("every log");
    assert_eq!(bench.run().await.counts, [("begun", 0)], "all of them are in flight");
}

#[tokio::test]
async fn outputs_are_shown_when_the_log_is_lost() {
    let bench = Bench::downloading(PLENTY).await;
    bench.fake.world().add_file("a", b"made".to_vec(), None);
    bench.ended(1, "succeeded", json!(bench.fake.file_url("a"))).await;
    // The first question is for the log.
    bench.fake.world().fault_on(Call::Get, Fault::ServerError);
    bench.harness.go_to(2 * HOUR);
    let (_guard, lines) = logged();
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { reason, output_path } = &state else { panic!("{state:?}") };
    assert!(reason.starts_with("the log: "), "{reason}");
    assert_eq!(output_path.as_deref(), bench.outputs(1).to_str());
    let lines = lines();
    let [line] = about(&lines, "Results of the job are lost")[..] else { panic!("{lines:#?}") };
    let extra = &line["extra"];
    assert_eq!((&extra["log_kept"], &extra["files"]), (&json!(false), &json!(1)));
    assert_eq!(extra["output_path"], json!(output_path));
}

#[tokio::test]
async fn the_reason_names_all_that_is_lost() {
    let bench = Bench::downloading(PLENTY).await;
    bench.ended(1, "succeeded", json!(bench.fake.file_url("a"))).await;
    bench.fake.world().always(Call::Get, Fault::ServerError);
    bench.harness.go_to(2 * HOUR);
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { reason, output_path: None } = &state else { panic!("{state:?}") };
    assert!(reason.contains("the log: ") && reason.contains("; the output: "), "{reason}");
}

#[tokio::test]
async fn a_job_that_cannot_be_read_is_paused_and_given_up_in_the_end() {
    for fault in [damaged, bug] {
        let (bench, store) = Bench::flaky().await;
        bench.ended(1, "succeeded", json!(null)).await;
        let (_guard, lines) = logged();
        store.faults().find = Some(fault);
        bench.fetch().await;
        assert_eq!(bench.due_in().await, Some(0), "the store knows nothing of the attempt");
        assert_eq!(bench.run().await.counts, [("begun", 0)], "it is paused");
        bench.harness.go_to(2 * HOUR);
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(1)).await;
        tokio::time::resume();
        bench.fetch().await;
        store.faults().find = None;
        let state = bench.results(1).await.state;
        let ResultsState::Lost { reason, .. } = &state else { panic!("{state:?}") };
        assert_eq!(bench.due_in().await, None);
        let lines = lines();
        let warned: Vec<&Value> = lines.iter().filter(|it| it["level"] == "WARNING").collect();
        let [line] = warned[..] else { panic!("{lines:#?}") };
        assert_eq!(line["message"], "Results of the job are given up");
        assert_eq!(line["extra"]["reason"], *reason);
    }
}

#[tokio::test]
async fn an_attempt_that_is_not_stored_is_made_again() {
    let (bench, store) = Bench::flaky().await;
    bench.ended(1, "succeeded", json!(null)).await;
    store.faults().settle_results = Some(|| Error::Busy);
    bench.fetch().await;
    assert_eq!(bench.run().await.counts, [("begun", 0)], "it is paused");
    store.faults().settle_results = None;
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(1)).await;
    tokio::time::resume();
    bench.fetch().await;
    assert!(is_kept(&bench.results(1).await.state));
}

#[tokio::test]
async fn an_output_whose_status_names_no_address_is_warned_of_while_it_can_be_read() {
    let bench = Bench::keeping_logs().await;
    let (_guard, lines) = logged();
    let nested = json!({"lora": {"file": bench.fake.file_url("a")}});
    bench.ended(1, "succeeded", nested.clone()).await;
    bench.fetch().await;
    for (number, output) in [(2, json!(null)), (3, json!("words")), (4, json!({"steps": 10}))] {
        bench.ended(number, "succeeded", output).await;
        bench.fetch().await;
    }
    bench.ended(5, "succeeded", nested).await;
    bench.harness.go_to(HOUR);
    bench.fetch().await;
    let lines = lines();
    let message = "Output of the job will be deleted by its provider, and downloading it is off";
    let [warned] = about(&lines, message)[..] else { panic!("{lines:#?}") };
    assert_eq!(warned["correlation_id"], "c-1");
}

#[tokio::test]
async fn parts_of_lost_outputs_are_removed() {
    let bench = Bench::downloading(PLENTY).await;
    for name in ["a", "b"] {
        bench.fake.world().add_file(name, vec![1; 2000], Some("\"v1\""));
    }
    let urls = ["a", "b"].map(|name| bench.fake.file_url(name));
    bench.ended(1, "succeeded", json!(urls)).await;
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(2000));
    bench.fake.world().fault_on(Call::File, Fault::CutAfter(1000));
    bench.fetch().await;
    let names = || {
        let entries = bench.outputs(1).read_dir().unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(), [".received.json", "a", "b.part", "b.part.json"]);
    bench.fake.world().always(Call::File, Fault::ServerError);
    bench.harness.go_to(2 * HOUR);
    bench.fetch().await;
    let state = bench.results(1).await.state;
    let ResultsState::Lost { output_path, .. } = &state else { panic!("{state:?}") };
    assert_eq!(output_path.as_deref(), bench.outputs(1).to_str());
    assert_eq!(names(), [".received.json", "a"]);
}
