//! What a job gets of the machine: variables, memory, files, time and room for what it prints.

use std::fs;
use std::process::Command;

use serde_json::Value;
use st_store::{JobStatus, ProviderSettings};
use st_workers::provider::local::{Limits, Local};
use st_workers::provider::{Count, Provider, Submission};

use super::WAIT_FOR_GO;
use super::place::{Place, eventually};

const SECRETS: [&str; 4] =
    ["REPLICATE_API_TOKEN", "SIMPLETUNER_WEBHOOK_SECRET", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"];

#[test]
fn only_what_is_usual_or_named_of_the_environment_reaches_runner_and_command() {
    let mut inner = Command::new(std::env::current_exe().unwrap());
    inner.args([
        "--exact",
        "local::machine_use::inside_an_environment_with_secrets",
        "--nocapture",
    ]);
    inner.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("CUDA_HOME", "/cuda");
    inner.env("NCCL_DEBUG", "INFO").env("OTHER", "s3cret");
    inner.envs(SECRETS.map(|name| (name, "s3cret")));
    let inner = inner.output().unwrap();
    let text = String::from_utf8_lossy(&inner.stdout);
    assert!(inner.status.success(), "{text}{}", String::from_utf8_lossy(&inner.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

/// The other half of the test above; by itself it sees no secrets and so proves nothing.
#[tokio::test]
async fn inside_an_environment_with_secrets() {
    let with_secrets = std::env::vars_os().any(|(name, _)| name == "HF_TOKEN");
    let place = Place::new();
    let mut config = place.config(&format!("env > seen; {WAIT_FOR_GO}"));
    config.pass_env = vec!["NCCL_*".parse().unwrap()];
    let local = Local::new(config.clone());
    local.submit(&place.submission()).await.unwrap();
    let runner = &place.runner_record()["process"]["pid"];
    let runner = fs::read(format!("/proc/{runner}/environ")).unwrap();
    fs::write(place.file("go"), "").unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
    for seen in [fs::read(place.file("seen")).unwrap(), runner] {
        let seen = String::from_utf8_lossy(&seen);
        assert!(!seen.contains("s3cret"), "a secret is there");
        for usual in ["PATH=/", "LC_ALL=C", "CUDA_HOME=/cuda", "NCCL_DEBUG=INFO"] {
            assert!(!with_secrets || seen.contains(usual), "{usual} is gone");
        }
    }
    let place = Place::new();
    config = place.config("env > seen");
    config.pass_env = vec!["HF_TOKEN".parse().unwrap()];
    let local = Local::new(config);
    local.submit(&place.submission()).await.unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
    let seen = fs::read_to_string(place.file("seen")).unwrap();
    assert!(!with_secrets || seen.contains("HF_TOKEN=s3cret"), "what is named is given on");
}

#[tokio::test]
async fn limits_hold_for_the_command_and_what_it_starts() {
    let place = Place::new();
    let mut config =
        place.config("sh -c 'ulimit -n; ulimit -d; cut -d\" \" -f19 /proc/self/stat' > seen");
    let before: u8 = 3;
    config.limits =
        Limits { memory: Some(256 * 1024 * 1024), open_files: Some(123), nice: Some(before) };
    let local = Local::new(config.clone());
    local.submit(&place.submission()).await.unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
    let seen = fs::read_to_string(place.file("seen")).unwrap();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own: i32 = own.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap();
    let nice = (own + i32::from(before)).min(19);
    assert_eq!(seen, format!("123\n{}\n{nice}\n", 256 * 1024));

    // Each takes 64 MiB at once.
    let place = Place::new();
    config = place.config("dd if=/dev/zero of=/dev/null bs=64M count=1");
    config.limits.memory = Some(32 * 1024 * 1024);
    let local = Local::new(config);
    local.submit(&place.submission()).await.unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Failed));
    let ended = Place::new().run("dd if=/dev/zero of=/dev/null bs=64M count=1").await;
    assert_eq!(ended.status, Some(JobStatus::Completed), "without a limit it has them");
}

#[tokio::test]
async fn a_limit_that_cannot_be_set_fails_the_job_and_names_it() {
    let place = Place::new();
    let mut config = place.config("exit 0");
    config.limits.open_files = Some(u64::MAX / 2);
    let local = Local::new(config);
    local.submit(&place.submission()).await.unwrap();
    let ended = place.end(&local).await;
    assert_eq!(ended.status, Some(JobStatus::Failed));
    let why = ended.error_message.unwrap();
    assert!(why.starts_with("limits.open_files cannot be 9223372036854775807: "), "{why}");
}

#[tokio::test]
async fn a_job_that_takes_longer_than_it_may_is_ended() {
    let place = Place::new();
    let config = place.config("echo begun; sleep 600");
    let local = Local::new(config);
    let limited = ProviderSettings { max_runtime_minutes: Some(1), ..ProviderSettings::default() };
    let submission = Submission { settings: limited, ..place.submission() };
    local.submit(&submission).await.unwrap();
    let written = fs::read(place.own("command.json")).unwrap();
    let written: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(written["time_limit"]["secs"], 60, "a minute of the setting");
    local.cancel(&place.known()).await.unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Cancelled));

    // The same with a shorter time, which the settings do not have.
    let place = Place::new();
    let ended = place
        .run_for("trap 'echo saved; exit 0' TERM; echo begun; while :; do sleep 0.01; done")
        .await;
    assert_eq!(ended.status, Some(JobStatus::Cancelled), "however it ends then");
    let why = "the provider ended it: it took longer than max_runtime_minutes: saved";
    assert_eq!(ended.error_message.as_deref(), Some(why));
}

#[tokio::test]
async fn the_log_has_the_size_that_is_set_and_shows_the_progress() {
    let place = Place::new();
    let script = format!(
        "for step in $(seq 1 200); do echo \"step $step/400 {}\"; done; touch printed; {WAIT_FOR_GO}",
        "x".repeat(1000)
    );
    let mut config = place.config(&script);
    config.log_bytes = 50_000;
    let local = Local::new(config);
    local.submit(&place.submission()).await.unwrap();
    eventually("the command prints", async || place.file("printed").exists().then_some(())).await;
    let job = place.known();
    let whole = async || {
        let progress = local.progress(&job).await.unwrap()?;
        (progress.step == Some(Count { done: 200, all: 400 })).then_some(progress)
    };
    let progress = eventually("all of it is read", whole).await;
    assert_eq!(progress.percent(), Some(50.0));
    let size = |name: &str| fs::metadata(place.own(name)).map_or(0, |file| file.len());
    let (current, before) = (size("output.log"), size("output.log.1"));
    // One piece may be read beyond the limit.
    assert!((50_000..120_000).contains(&before) && current < 50_000, "{current} {before}");
    fs::write(place.file("go"), "").unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
}
