//! Jobs on this machine: real processes, run by this test program in the part of the runner.
//!
//! Nothing here waits for a time to pass: a command that shall last waits for a file, and a test
//! checks until what it waits for is there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod devices;
mod groups;
mod machine_use;
mod machines;
pub(crate) mod place;
mod processes;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures_util::StreamExt;
use rustix::process::getpgid;
use serde_json::{Value, json};
use st_log::{CorrelationId, InScope};
use st_store::{AtMostOnce, JobStatus, ProviderSettings};
use st_workers::provider::local::{Local, LocalCommand, run_attempt};
use st_workers::provider::{
    Arrivals, Cause, FoundJob, JobLookup, Provider, QueryError, SubmitError, Unavailable,
};

use place::{Place, known, run_again, status_of};

/// Lasts until the file `go` is there, and a minute at most should a test die before it is.
const WAIT_FOR_GO: &str =
    "i=0; while [ ! -e \"$ST_OUTPUT_DIR/go\" ] && [ $i -lt 3000 ]; do sleep 0.02; i=$((i+1)); done";
fn is_trouble(error: &QueryError) -> bool {
    matches!(error, QueryError::Unavailable(Unavailable { cause: Cause::Trouble, .. }))
}

/// Not a test: what a runner does when a test starts this program as one, with an attempt's folder
/// as the last argument.
#[test]
#[expect(clippy::exit, reason = "what the harness prints must not follow what the job printed")]
fn runner_process() {
    let Some(dir) = std::env::args_os().next_back().map(PathBuf::from) else { return };
    if dir.join("command.json").exists() || dir.ends_with("command.json") {
        std::process::exit(i32::from(run_attempt(&dir) != ExitCode::SUCCESS));
    }
}

#[tokio::test]
async fn a_command_runs_to_its_end() {
    let place = Place::new();
    let local = place.running(WAIT_FOR_GO);
    let begun = local.submit(&place.submission()).await.unwrap();
    assert_eq!(begun.provider_job_id.as_str(), place.marker.to_string());
    assert_eq!(begun.status, Some(JobStatus::Running));
    fs::write(place.file("go"), "").unwrap();
    let ended = place.end(&local).await;
    assert_eq!(ended.status, Some(JobStatus::Completed));
    assert_eq!((ended.started_at, ended.error_message), (begun.started_at, None));
    assert!(ended.completed_at.unwrap() >= begun.started_at.unwrap());
}

#[tokio::test]
async fn a_failure_says_its_code_and_the_last_line() {
    let ended = Place::new().run("echo one; echo two >&2; echo; exit 3").await;
    assert_eq!(ended.status, Some(JobStatus::Failed));
    assert_eq!(ended.error_message.as_deref(), Some("exit status 3: two"));

    let ended = Place::new().run("printf '\\n 1%%\\r 2%%\\r'; kill -9 $$").await;
    assert_eq!(ended.status, Some(JobStatus::Failed));
    assert_eq!(ended.error_message.as_deref(), Some("ended by signal 9: 2%"));
}

#[tokio::test]
async fn a_command_that_is_not_there_is_a_failure() {
    let place = Place::new();
    let mut config = place.config("");
    config.commands.get_mut("job").unwrap().program = "/no/such/program".into();
    let local = Local::new(config);
    local.submit(&place.submission()).await.unwrap();
    let ended = place.end(&local).await;
    assert_eq!(ended.status, Some(JobStatus::Failed));
    let why = ended.error_message.unwrap();
    assert!(why.starts_with("/no/such/program cannot be started"), "{why}");
}

#[tokio::test]
async fn only_a_configured_command_is_accepted() {
    let place = Place::new();
    let mut config = place.config("");
    let local = Local::new(config.clone());
    let check = |local: &Local, config: Value| {
        local.check(&json!({"config": config}), &ProviderSettings::default())
    };
    assert_eq!(check(&local, json!({"command": "job"})), Ok(()));
    let refused = check(&local, json!({"command": "/bin/sh"})).unwrap_err();
    assert!(refused.contains("\"/bin/sh\"") && refused.ends_with("job"), "{refused}");
    for (without, what) in [
        (json!({}), "is required"),
        (json!({"command": null}), "is required"),
        (json!({"command": ["job"]}), "must be text"),
    ] {
        let refused = check(&local, without).unwrap_err();
        assert_eq!(refused, format!("\"command\" {what}, one of: job"));
    }

    // The example runs only when it is named, and its input is checked.
    let example = LocalCommand { is_example: true, ..config.commands["job"].clone() };
    config.commands.insert("example".to_owned(), example);
    let local_with_example = Local::new(config);
    let refused = check(&local_with_example, json!({})).unwrap_err();
    assert_eq!(refused, "\"command\" is required, one of: example, job");
    let example = |steps: Value| json!({"command": "example", "steps": steps});
    assert_eq!(check(&local_with_example, example(json!(3))), Ok(()));
    let refused = check(&local_with_example, example(json!("three"))).unwrap_err();
    assert!(refused.contains("\"steps\" must be a whole number from 1 to 10000"), "{refused}");
    assert_eq!(check(&local_with_example, json!({"command": "job", "steps": "three"})), Ok(()));

    let mut submission = place.submission();
    submission.input = json!({"config": {"command": "other"}});
    match local.submit(&submission).await {
        Err(SubmitError::MissingSetting { reason }) => {
            assert!(reason.starts_with("local cannot run it: command \"other\""), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    submission.input = json!({"config": {"command": ["job"]}});
    let refused = local.submit(&submission).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Rejected { .. }), "{refused:?}");
    assert!(!place.dir().exists());
}

#[tokio::test]
async fn a_provider_without_commands_is_not_valid() {
    let place = Place::new();
    let mut config = place.config("");
    assert_eq!(Local::new(config.clone()).validate().await.unwrap().username, "local");
    config.commands.clear();
    let refused = Local::new(config).validate().await.unwrap_err();
    assert_eq!(refused.to_string(), "no command is configured for local");
}

#[tokio::test]
async fn the_input_is_a_file_for_its_owner_alone() {
    let place = Place::new();
    let script =
        "echo; cat \"$ST_INPUT\" > seen; echo $ST_JOB_ID $ST_CORRELATION_ID $EXTRA > names";
    let mut config = place.config(script);
    config.commands.get_mut("job").unwrap().env.insert("EXTRA".to_owned(), "more".to_owned());
    let local = Local::new(config);
    let id = CorrelationId::parse("of-ann").unwrap();
    local.submit(&place.submission()).with_correlation_id(id).await.unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
    let seen: Value = serde_json::from_slice(&fs::read(place.file("seen")).unwrap()).unwrap();
    assert_eq!(seen, place.submission().input);
    let names = fs::read_to_string(place.file("names")).unwrap();
    assert_eq!(names, format!("{} of-ann more\n", place.marker.job));
    for secret in [place.file("../input.json"), place.own("command.json"), place.own("output.log")]
    {
        let mode = fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
    }
}

#[tokio::test]
async fn a_relative_folder_works_as_an_absolute_one() {
    let mut place = Place::new();
    let here = std::env::current_dir().unwrap();
    // Deep enough that the way up from here does not lead to the root from there.
    place.root.extend(here.components().skip(1).map(|_| "deep"));
    let mut config = place.config("cat \"$ST_INPUT\" && [ -d \"$ST_OUTPUT_DIR\" ]");
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    config.dir = up.join(place.root.strip_prefix("/").unwrap());
    config.work_dir = up.join(place.work.strip_prefix("/").unwrap());
    let local = Local::new(config);
    local.submit(&place.submission()).await.unwrap();
    let ended = place.end(&local).await;
    assert_eq!((ended.status, ended.error_message), (Some(JobStatus::Completed), None));
}

#[tokio::test]
async fn another_provider_on_the_folder_finds_the_job() {
    let place = Place::new();
    let first = place.running(WAIT_FOR_GO);
    first.submit(&place.submission()).await.unwrap();
    drop(first);
    // What a terminal sends to the server's group does not reach it.
    assert_eq!(getpgid(Some(place.runner())).unwrap(), place.runner());
    let second = place.running("exit 1");
    let running = status_of(&second, &place.known()).await.unwrap();
    assert_eq!(running.status, Some(JobStatus::Running));
    assert!(matches!(second.arrivals(), Arrivals::LookedUp(_)));
    let job = place.marker.job;
    for attempt in [Some(1), None] {
        let found = second.find(job, attempt).await.unwrap();
        assert_eq!(found, [FoundJob { marker: place.marker, status: running.clone() }]);
    }
    assert_eq!(second.find(job, Some(2)).await.unwrap(), []);
    fs::write(place.file("go"), "").unwrap();
    assert_eq!(place.end(&second).await.status, Some(JobStatus::Completed));
}

#[tokio::test]
async fn an_attempt_runs_once_however_often_it_is_submitted() {
    let place = Place::new();
    let local = place.running(&format!("echo begun >> runs; {WAIT_FOR_GO}"));
    let submission = place.submission();
    let (one, two) = tokio::join!(local.submit(&submission), local.submit(&submission));
    assert_eq!(one.unwrap().status, Some(JobStatus::Running));
    assert_eq!(two.unwrap().status, Some(JobStatus::Running));
    local.submit(&submission).await.unwrap();
    fs::write(place.file("go"), "").unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
    let again = local.submit(&submission).await.unwrap();
    assert_eq!(again.status, Some(JobStatus::Completed));
    assert!(run_again(place.dir()).await);
    assert_eq!(fs::read_to_string(place.file("runs")).unwrap(), "begun\n");
}

#[tokio::test]
async fn only_the_runner_with_the_lock_runs_the_command() {
    let place = Place::new();
    let mut config = place.config("echo > ran");
    // Its runner is slow: the submission ends without an answer.
    config.runner.program = "/bin/true".into();
    let slow = Local::new(config);
    slow.submit(&place.submission()).await.unwrap_err();
    let lock = File::create(place.own("lock")).unwrap();
    lock.lock().unwrap();
    assert!(run_again(place.dir()).await);
    assert!(!place.own("runner.json").exists());
    drop(lock);
    assert!(run_again(place.dir()).await);
    assert!(place.file("ran").exists());
    let ended = place.end(&place.running("")).await;
    assert_eq!(ended.status, Some(JobStatus::Completed));
}

#[tokio::test]
async fn an_attempt_that_was_found_absent_does_not_begin_any_more() {
    let place = Place::new();
    let mut config = place.config("echo > ran");
    // Its runner is slow: the submission ends without an answer.
    config.runner.program = "/bin/true".into();
    let slow = Local::new(config);
    let error = slow.submit(&place.submission()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { .. }), "{error:?}");
    let absent = slow.find(place.marker.job, Some(1)).await.unwrap();
    assert_eq!((absent, slow.guarantee()), (Vec::new(), AtMostOnce::ChosenName));
    assert!(run_again(place.dir()).await);
    assert!(!place.file("ran").exists() && !place.own("runner.json").exists());
}

#[tokio::test]
async fn an_attempt_whose_runner_is_starting_is_not_absent() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let lock = File::create(place.own("lock")).unwrap();
    lock.lock().unwrap();
    let local = place.running("");
    let answer = local.find(place.marker.job, None).await;
    assert!(is_trouble(&answer.unwrap_err()));
    drop(lock);
    assert_eq!(local.find(place.marker.job, None).await.unwrap(), []);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_nothing_is_concluded_from_it() {
    let place = Place::new();
    let local = place.running("");
    for name in ["runner.json", "exit.json"] {
        fs::create_dir_all(place.dir()).unwrap();
        for garbage in ["", "{", "[]", "{\"process\": 1}", "\0\u{1f}"] {
            fs::write(place.own(name), garbage).unwrap();
            let error = status_of(&local, &place.known()).await.unwrap_err();
            let text = st_log::Chain(&error).to_string();
            assert!(is_trouble(&error), "{error:?}");
            assert!(text.contains(name), "{text}");
        }
        fs::remove_dir_all(place.dir()).unwrap();
    }
}

#[tokio::test]
async fn once_a_runner_may_run_trouble_is_an_unknown_outcome() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    fs::write(place.own("runner.json"), "{").unwrap();
    let error = place.running("").submit(&place.submission()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Unknown { .. }), "{error:?}");
}

#[tokio::test]
async fn trouble_before_a_runner_was_started_passes_and_nothing_has_begun() {
    let place = Place::new();
    let local = place.running("");
    // A file in the place of the folder.
    fs::write(place.dir(), "").unwrap();
    match local.submit(&place.submission()).await {
        Err(SubmitError::Unavailable(error)) => {
            assert_eq!(error.cause, Cause::Unreachable);
            assert!(error.chain().starts_with("local cannot write the job's folder: "));
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(place.dir()).unwrap();
    local.submit(&place.submission()).await.unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
}

#[tokio::test]
async fn a_runner_that_cannot_be_started_is_no_passing_trouble() {
    let place = Place::new();
    for program in [Path::new("/no/such/runner"), place.root.as_path()] {
        let mut config = place.config("");
        config.runner.program = program.to_owned();
        let error = Local::new(config).submit(&place.submission()).await.unwrap_err();
        assert!(matches!(error, SubmitError::MissingSetting { .. }), "{error:?}");
        assert!(error.to_string().starts_with("local cannot run /"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_marker_is_not_known() {
    let place = Place::new();
    let local = place.running("");
    fs::write(place.root.join("output.log"), "not yours").unwrap();
    let other = place.marker.to_string();
    for id in ["", ".", "..", "../x.1", other.trim_end_matches(".1"), &other] {
        let job = known(place.marker.job, id);
        for answer in [status_of(&local, &job).await, local.cancel(&job).await] {
            assert!(matches!(answer, Err(QueryError::NotFound)), "{id}: {answer:?}");
        }
        assert!(matches!(local.logs(&job).await, Err(QueryError::NotFound)), "{id}");
    }
    assert_eq!(local.find(place.marker.job, None).await.unwrap(), []);
    let jobs = [place.known(), known(place.marker.job, "x")];
    let answers: Vec<_> = local.statuses(&jobs).collect().await;
    assert_eq!(answers.len(), 2);
}

#[tokio::test]
async fn logs_are_the_end_of_what_was_printed() {
    let place = Place::new();
    place
        .run("printf 'first\\n'; head -c 100000 /dev/zero | tr '\\0' x; printf '\\377 last\\n'")
        .await;
    let logs = place.running("").logs(&place.known()).await.unwrap();
    assert!(logs.ends_with("x\u{fffd} last\n") && !logs.contains("first"));
    assert!(logs.chars().count() <= 64 * 1024);
}

#[tokio::test]
async fn a_job_that_printed_nothing_has_an_empty_log_and_one_that_is_gone_has_none() {
    let place = Place::new();
    let local = place.running("");
    assert!(matches!(local.logs(&place.known()).await, Err(QueryError::NotFound)));
    place.run("true").await;
    // As before the first line: the runner of tests prints one of its own.
    fs::remove_file(place.root.join(place.marker.to_string()).join("output.log")).unwrap();
    assert_eq!(local.logs(&place.known()).await.unwrap(), "");
}
