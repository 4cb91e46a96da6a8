//! No process outlives its job, whichever of command, runner and server dies first, and a job knows
//! the difference between its processes and others.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use st_store::{JobStatus, ProviderStatus};
use st_workers::provider::local::Local;
use st_workers::provider::{JobLookup, Provider};

use super::place::{Place, eventually, gone, run_again, status_of};
use super::{WAIT_FOR_GO, is_trouble};

/// Processes that leave the command in every way, each with its ID in a file: in the background, in a
/// session of its own, twice removed, and deaf to SIGTERM.
const ESCAPEES: &str = "sleep 60 & echo $! > child; \
    setsid sh -c 'echo $$ > session; exec sleep 60' & \
    (setsid sh -c 'sleep 60 & echo $! > twice') ; \
    (trap '' TERM; exec sleep 60) & echo $! > deaf; \
    while [ ! -s session ] || [ ! -s twice ]; do sleep 0.02; done; echo $$ > command; ";
const NAMES: [&str; 5] = ["child", "session", "twice", "deaf", "command"];

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn is_there(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The processes of the job that are alive.
async fn pids(place: &Place) -> Vec<i32> {
    let mut pids = Vec::new();
    for name in NAMES {
        pids.push(place.pid(name).await);
    }
    pids
}

fn assert_none_is_left(pids: &[i32]) {
    let left: Vec<_> = NAMES.iter().zip(pids).filter(|(_, pid)| is_there(**pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A provider with this command that does not wait long before it kills.
fn impatient(place: &Place, script: &str) -> Local {
    let mut config = place.config(script);
    config.grace = Duration::from_millis(300);
    Local::new(config)
}

/// A process with the environment of a job's.
fn with_environment_of(place: &Place, instance: &str) -> Child {
    Command::new("/bin/sleep")
        .arg("60")
        .env("ST_JOB_ID", place.marker.job.to_string())
        .env("ST_JOB_ATTEMPT", place.marker.attempt.to_string())
        .env("ST_JOB_INSTANCE", instance)
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Forgets the job; its runner may not have gone quite yet.
async fn forgotten(local: &Local, place: &Place) {
    let forget = async || local.forget(place.marker.job).await.ok();
    eventually("the runner is gone", forget).await;
}

fn how(ended: &ProviderStatus) -> (JobStatus, &str) {
    (ended.status.unwrap(), ended.error_message.as_deref().unwrap_or_default())
}

#[tokio::test]
async fn a_command_that_ends_leaves_no_process() {
    let place = Place::new();
    let local = impatient(&place, &format!("{ESCAPEES} exit 0"));
    local.submit(&place.submission()).await.unwrap();
    let ended = place.end(&local).await;
    let pids = pids(&place).await;
    assert_none_is_left(&pids);
    assert_eq!(how(&ended), (JobStatus::Completed, ""));
}

#[tokio::test]
async fn a_killed_command_leaves_no_process() {
    let place = Place::new();
    let local = impatient(&place, &format!("{ESCAPEES} kill -9 $$"));
    local.submit(&place.submission()).await.unwrap();
    let ended = place.end(&local).await;
    let pids = pids(&place).await;
    assert_none_is_left(&pids);
    assert_eq!(how(&ended).0, JobStatus::Failed);
    assert!(how(&ended).1.starts_with("ended by signal 9"), "{ended:?}");
}

#[tokio::test]
async fn cancelling_ends_every_process_the_deaf_ones_too() {
    let place = Place::new();
    let local = impatient(&place, &format!("{ESCAPEES} wait"));
    local.submit(&place.submission()).await.unwrap();
    let pids = pids(&place).await;
    local.cancel(&place.known()).await.unwrap();
    let ended = place.end(&local).await;
    assert_none_is_left(&pids);
    assert_eq!(how(&ended), (JobStatus::Cancelled, ""));
    // Once it is over, that is how it stays.
    assert_eq!(local.cancel(&place.known()).await.unwrap().completed_at, ended.completed_at);
}

#[tokio::test]
async fn a_killed_runner_leaves_no_process() {
    let place = Place::new();
    let local = place.running(&format!("echo begun >> runs; {ESCAPEES} {WAIT_FOR_GO}"));
    local.submit(&place.submission()).await.unwrap();
    let pids = pids(&place).await;
    kill_process(place.runner(), Signal::KILL).unwrap();
    let ended = place.end(&local).await;
    assert_none_is_left(&pids);
    assert_eq!(how(&ended).0, JobStatus::Failed);
    assert!(how(&ended).1.starts_with("the process is gone"), "{ended:?}");
    let again = local.submit(&place.submission()).await.unwrap();
    assert_eq!(again.status, Some(JobStatus::Failed));
    assert!(run_again(place.dir()).await);
    assert_eq!(fs::read_to_string(place.file("runs")).unwrap(), "begun\n");
}

#[tokio::test]
async fn a_command_dies_with_its_runner_before_any_poll() {
    let place = Place::new();
    let local = place.running("trap '' TERM HUP INT; echo $$ > command; exec sleep 60");
    local.submit(&place.submission()).await.unwrap();
    let command = place.pid("command").await;
    drop(local);
    kill_process(place.runner(), Signal::KILL).unwrap();
    gone(command).await;
}

#[tokio::test]
async fn when_all_die_together_the_next_poll_ends_the_rest() {
    let place = Place::new();
    let local = place.running(&format!("{ESCAPEES} wait"));
    local.submit(&place.submission()).await.unwrap();
    let pids = pids(&place).await;
    // The server, the runner and the command.
    drop(local);
    kill_process(place.runner(), Signal::KILL).unwrap();
    kill(pids[4]);
    gone(place.runner().as_raw_nonzero().get()).await;
    let next = place.running("");
    next.clean_up().await;
    for pid in &pids {
        gone(*pid).await;
    }
    let ended = status_of(&next, &place.known()).await.unwrap();
    assert_eq!(how(&ended).0, JobStatus::Failed);
}

#[tokio::test]
async fn a_process_without_the_environment_is_found_by_its_session_and_pipe() {
    let place = Place::new();
    let local = place.running("env -i sleep 60 & echo $! > bare; wait");
    local.submit(&place.submission()).await.unwrap();
    let bare = place.pid("bare").await;
    let session = async || place.runner_record()["session"].is_i64().then_some(());
    eventually("the session is recorded", session).await;
    kill_process(place.runner(), Signal::KILL).unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Failed));
    assert!(!is_there(bare));
}

#[tokio::test]
async fn a_process_of_a_job_that_is_over_is_ended_and_no_other() {
    let place = Place::new();
    let local = place.running("echo $ST_JOB_INSTANCE > instance");
    local.submit(&place.submission()).await.unwrap();
    place.end(&local).await;
    let instance = fs::read_to_string(place.file("instance")).unwrap();
    let mut stray = with_environment_of(&place, instance.trim());
    let mut of_another_server = with_environment_of(&place, "0-0");
    local.clean_up().await;
    let ended = async || stray.try_wait().unwrap();
    assert!(!eventually("the stray ends", ended).await.success());
    assert_eq!(of_another_server.try_wait().unwrap(), None);
    of_another_server.kill().unwrap();
    of_another_server.wait().unwrap();
}

#[tokio::test]
async fn strays_are_searched_for_only_when_there_is_a_reason() {
    let place = Place::new();
    let local = place.running("echo $ST_JOB_INSTANCE > instance");
    local.submit(&place.submission()).await.unwrap();
    place.end(&local).await;
    local.clean_up().await;
    let instance = fs::read_to_string(place.file("instance")).unwrap();
    let mut stray = with_environment_of(&place, instance.trim());
    let pid = i32::try_from(stray.id()).unwrap();
    // Often enough that a signal of the first time would have had its effect.
    for _ in 0..20 {
        local.clean_up().await;
    }
    assert!(is_there(pid), "it was searched for again within minutes");
    place.running("").clean_up().await;
    stray.wait().unwrap();
}

#[tokio::test]
async fn two_servers_on_one_machine_leave_each_others_jobs_alone() {
    let mut other = Place::new();
    let place = Place::new();
    // As with a copied database: even the attempts have the same names.
    other.marker = place.marker;
    let script = format!("echo $$ > command; {WAIT_FOR_GO}");
    let (ours, theirs) = (place.running(&script), other.running(&script));
    ours.submit(&place.submission()).await.unwrap();
    theirs.submit(&other.submission()).await.unwrap();
    let (our_command, their_command) = (place.pid("command").await, other.pid("command").await);
    kill_process(place.runner(), Signal::KILL).unwrap();
    assert_eq!(place.end(&ours).await.status, Some(JobStatus::Failed));
    ours.clean_up().await;
    assert!(!is_there(our_command) && is_there(their_command));
    fs::write(other.file("go"), "").unwrap();
    assert_eq!(other.end(&theirs).await.status, Some(JobStatus::Completed));
}

#[tokio::test]
async fn a_copy_of_a_folder_says_nothing_about_the_job() {
    let (place, mut copy) = (Place::new(), Place::new());
    copy.marker = place.marker;
    let local = place.running(&format!("echo $$ > command; {WAIT_FOR_GO}"));
    local.submit(&place.submission()).await.unwrap();
    let command = place.pid("command").await;
    fs::create_dir(copy.dir()).unwrap();
    for file in fs::read_dir(place.dir()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.dir().join(file.file_name())).unwrap();
    }
    let of_copy = copy.running("");
    assert!(is_trouble(&status_of(&of_copy, &copy.known()).await.unwrap_err()));
    of_copy.cancel(&copy.known()).await.unwrap_err();
    assert!(is_there(command));
    fs::write(place.file("go"), "").unwrap();
    assert_eq!(place.end(&local).await.status, Some(JobStatus::Completed));
}

#[tokio::test]
async fn what_a_command_does_to_its_folder_changes_nothing() {
    const HOSTILE: &str = "rm -rf \"$ST_OUTPUT_DIR\" \"$ST_INPUT\"; mkdir -p \"$ST_OUTPUT_DIR\"; \
        cd \"$ST_OUTPUT_DIR\"; echo done > exit.json; echo {} > runner.json; echo > cancel; \
        for name in lock void command.json output.log input.json; do ln -s /etc/passwd $name; done; \
        head -c 3000000 /dev/zero > filled; echo printed; echo $$ > command; ";
    let place = Place::new();
    let local = place.running(&format!("{HOSTILE} {WAIT_FOR_GO}"));
    local.submit(&place.submission()).await.unwrap();
    place.pid("command").await;
    let running = status_of(&local, &place.known()).await.unwrap();
    assert_eq!(running.status, Some(JobStatus::Running));
    local.submit(&place.submission()).await.unwrap();
    assert!(local.logs(&place.known()).await.unwrap().contains("printed"));
    local.cancel(&place.known()).await.unwrap();
    assert_eq!(how(&place.end(&local).await), (JobStatus::Cancelled, ""));

    let place = Place::new();
    let local = place.running(&format!("{HOSTILE} exit 0"));
    local.submit(&place.submission()).await.unwrap();
    assert_eq!(how(&place.end(&local).await), (JobStatus::Completed, ""));
    forgotten(&local, &place).await;
    assert!(!place.dir().exists() && fs::metadata("/etc/passwd").unwrap().len() > 0);
}

#[tokio::test]
async fn a_cancelled_job_that_ends_well_is_cancelled() {
    for status in [0, 3] {
        let place = Place::new();
        let script =
            format!("trap 'touch asked; exit {status}' TERM; sleep 60 & echo $$ > command; wait");
        let local = place.running(&script);
        local.submit(&place.submission()).await.unwrap();
        place.pid("command").await;
        local.cancel(&place.known()).await.unwrap();
        assert_eq!(how(&place.end(&local).await), (JobStatus::Cancelled, ""), "{status}");
        assert!(place.file("asked").exists());
    }
}

#[tokio::test]
async fn a_job_that_was_cancelled_before_its_command_started_does_not_start_it() {
    let place = Place::new();
    let mut config = place.config("echo > ran");
    config.runner.program = "/bin/true".into();
    Local::new(config).submit(&place.submission()).await.unwrap_err();
    fs::write(place.own("cancel"), "").unwrap();
    assert!(run_again(place.dir()).await);
    let ended = place.end(&place.running("")).await;
    assert_eq!(how(&ended), (JobStatus::Cancelled, ""));
    assert!(!place.file("ran").exists());
}

#[tokio::test]
async fn a_cancelled_job_whose_runner_dies_is_cancelled() {
    let place = Place::new();
    let local = place.running(&format!("trap '' TERM; echo $$ > command; {WAIT_FOR_GO}"));
    local.submit(&place.submission()).await.unwrap();
    let command = place.pid("command").await;
    assert_eq!(local.cancel(&place.known()).await.unwrap().status, Some(JobStatus::Running));
    kill_process(place.runner(), Signal::KILL).unwrap();
    assert_eq!(how(&place.end(&local).await), (JobStatus::Cancelled, ""));
    assert!(!is_there(command));
}

#[tokio::test]
async fn a_stopped_runner_can_be_cancelled() {
    let place = Place::new();
    let local = place.running(&format!("echo $$ > command; {WAIT_FOR_GO}"));
    local.submit(&place.submission()).await.unwrap();
    let command = place.pid("command").await;
    kill_process(place.runner(), Signal::STOP).unwrap();
    local.cancel(&place.known()).await.unwrap();
    assert_eq!(how(&place.end(&local).await), (JobStatus::Cancelled, ""));
    assert!(!is_there(command));
}

#[tokio::test]
async fn a_process_with_the_number_of_a_runner_is_not_signalled() {
    let place = Place::new();
    place.run("exit 0").await;
    fs::remove_file(place.own("exit.json")).unwrap();
    // Held as if a runner lived; a signal to the process that it names would end this test.
    let lock = File::open(place.own("lock")).unwrap();
    lock.lock().unwrap();
    for (field, other) in [("start_time", json!(0)), ("boot_id", json!("another"))] {
        let mut reused = place.runner_record();
        reused["process"]["pid"] = json!(std::process::id());
        reused["process"][field] = other;
        fs::write(place.own("runner.json"), reused.to_string()).unwrap();
        let report = place.running("").cancel(&place.known()).await.unwrap();
        assert_eq!(report.status, Some(JobStatus::Running), "{field}");
    }
    drop(lock);
    let report = place.running("").cancel(&place.known()).await.unwrap();
    assert_eq!(report.status, Some(JobStatus::Cancelled));
}

#[tokio::test]
async fn absence_is_certain_immediately() {
    let place = Place::new();
    let local = place.running("");
    assert_eq!(local.may_arrive_for(), Duration::ZERO);
    assert_eq!(local.find(place.marker.job, Some(1)).await.unwrap(), []);
}

#[tokio::test]
async fn what_a_job_prints_is_bounded_and_its_end_is_kept() {
    let place = Place::new();
    let ended = place.run("yes 0123456789 | head -c 30000000; echo the end").await;
    assert_eq!(how(&ended), (JobStatus::Completed, ""));
    let size = |name: &str| fs::metadata(place.own(name)).map_or(0, |it| it.len());
    let kept = size("output.log") + size("output.log.1");
    assert!((8_000_000..17_000_000).contains(&kept), "{kept}");
    assert!(place.running("").logs(&place.known()).await.unwrap().ends_with("the end\n"));
}

#[tokio::test]
async fn folders_go_with_their_job_and_not_while_it_runs() {
    let place = Place::new();
    let local = place.running(WAIT_FOR_GO);
    local.submit(&place.submission()).await.unwrap();
    assert!(is_trouble(&local.forget(place.marker.job).await.unwrap_err()));
    fs::write(place.file("go"), "").unwrap();
    place.end(&local).await;
    let outside = place.work.join("kept");
    fs::write(&outside, "").unwrap();
    symlink(&place.work, place.file("link")).unwrap();
    forgotten(&local, &place).await;
    assert!(!place.dir().exists() && !place.file("").exists() && outside.exists());
    local.forget(place.marker.job).await.unwrap();
}

#[tokio::test]
async fn only_old_folders_of_jobs_that_do_not_run_are_offered_for_removal() {
    let place = Place::new();
    place.run("exit 0").await;
    assert_eq!(place.running("").clean_up().await, []);
    let make_old = || {
        let dir = File::open(place.dir()).unwrap();
        let changed = dir.metadata().unwrap().modified().unwrap();
        dir.set_modified(changed - Duration::from_hours(25)).unwrap();
    };
    make_old();
    let local = place.running("");
    assert_eq!(local.clean_up().await, [place.marker.job]);
    assert_eq!(local.clean_up().await, [], "not in every poll");
    let lock = File::open(place.own("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(place.running("").clean_up().await, []);
}
