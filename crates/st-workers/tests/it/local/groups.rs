//! Jobs in control groups, where a test may make one.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal, kill_process};
use st_store::JobStatus;
use st_workers::provider::Provider;
use st_workers::provider::local::Local;

use super::place::{Place, gone};

/// A group of its own for the runners of a test.
struct Delegated {
    dir: PathBuf,
}

impl Delegated {
    /// `None` where groups cannot be made.
    fn new() -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" cgroup2 "))?.split(' ').nth(1)?;
        let dir = Path::new(mount).join(own).join(format!("st-test-{:x}", fastrand::u64(..)));
        fs::create_dir(&dir).ok()?;
        let group = Self { dir };
        let marked = setxattr(&group.dir, "user.delegate", b"1", XattrFlags::empty());
        (marked.is_ok() && group.dir.join("cgroup.kill").exists()).then_some(group)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        drop(fs::write(self.dir.join("cgroup.kill"), "1"));
        while fs::remove_dir(&self.dir).is_err_and(|error| error.raw_os_error() == Some(16)) {
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
async fn a_process_that_hides_in_every_other_way_is_ended_by_its_group() {
    let Some(delegated) = Delegated::new() else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    // No environment, no session, no pipe and no parent of the job's.
    let script = "setsid env -i sh -c 'echo $$ > hidden; exec sleep 60' >/dev/null 2>&1 & \
        while [ ! -s hidden ]; do sleep 0.02; done; echo $$ > command; wait";
    for kills_runner in [true, false] {
        let place = Place::new();
        let mut config = place.config(script);
        let join = "echo $$ > \"$0/cgroup.procs\"; exec \"$@\"".to_owned();
        let program = config.runner.program.to_str().unwrap().to_owned();
        let group = delegated.dir.to_str().unwrap().to_owned();
        let before = ["-c".to_owned(), join, group, program];
        config.runner.args = before.into_iter().chain(config.runner.args).collect();
        config.runner.program = "/bin/sh".into();
        let local = Local::new(config);
        local.submit(&place.submission()).await.unwrap();
        let (command, hidden) = (place.pid("command").await, place.pid("hidden").await);
        let group = PathBuf::from(place.runner_record()["cgroup"].as_str().unwrap());
        let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert!(inside.lines().any(|line| line == hidden.to_string()), "{inside}");
        if kills_runner {
            kill_process(place.runner(), Signal::KILL).unwrap();
            // As long as it lives, what hides is its descendant.
            gone(command).await;
        } else {
            kill_process(Pid::from_raw(command).unwrap(), Signal::KILL).unwrap();
        }
        assert_eq!(place.end(&local).await.status, Some(JobStatus::Failed));
        gone(hidden).await;
        assert!(!group.exists(), "runner killed: {kills_runner}");
    }
}
