//! Which processes belong to a job whose runner is dead.
//!
//! While a runner lives, all processes of its job descend from it. Later they are recognised by what
//! they inherited: three variables of their environment, or their session together with the pipe that
//! they print to. A control group, where there is one, needs neither.

use std::collections::BTreeMap;
use std::io;

use rustix::process::Signal;
use st_store::Marker;

use super::attempt::RunnerFile;
use super::cgroup::Cgroup;
use super::process::{Process, descendants};

/// The variables of every process of a job.
pub(super) const JOB: &str = "ST_JOB_ID";
pub(super) const ATTEMPT: &str = "ST_JOB_ATTEMPT";
pub(super) const INSTANCE: &str = "ST_JOB_INSTANCE";

/// The attempt that a process with this environment belongs to; `None` where it is no process of a
/// job of this instance.
fn attempt_of(environment: &[u8], instance: &str) -> Option<Marker> {
    let value = |name: &str| {
        environment.split(|byte| *byte == 0).find_map(|variable| {
            let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        })
    };
    if value(INSTANCE)? != instance {
        return None;
    }
    format!("{}.{}", value(JOB)?, value(ATTEMPT)?).parse().ok()
}

/// The processes of all attempts of this instance, whether their runners live or not.
pub(super) fn by_attempt(instance: &str) -> io::Result<BTreeMap<Marker, Vec<Process>>> {
    let mut found: BTreeMap<Marker, Vec<Process>> = BTreeMap::new();
    for process in Process::all()?.into_iter().filter(|process| !process.is_zombie) {
        if let Some(marker) = attempt_of(&process.environment()?, instance) {
            found.entry(marker).or_default().push(process);
        }
    }
    Ok(found)
}

/// Kills what is left of the attempt. Returns how many processes were found, in this one pass.
pub(super) fn kill_left(marker: Marker, instance: &str, runner: &RunnerFile) -> io::Result<usize> {
    if !runner.process.is_of_this_boot()? {
        return Ok(0);
    }
    let in_group = match &runner.cgroup {
        Some(dir) => kill_group(&Cgroup::at(dir.clone()))?,
        None => 0,
    };
    let all = Process::all()?;
    let mut members = Vec::new();
    for process in all.iter().filter(|process| !process.is_zombie) {
        if attempt_of(&process.environment()?, instance) == Some(marker)
            || inherited(process, runner)
        {
            members.push(*process);
        }
    }
    // Children that were started without any of that.
    let roots: Vec<i32> = members.iter().map(|member| member.pid).collect();
    members.extend(descendants(&all, roots).into_iter().filter(|child| !child.is_zombie));
    kill(&members);
    Ok(members.len().max(in_group))
}

/// Kills these processes. One that cannot be signalled is found again as long as it lives.
pub(super) fn kill(processes: &[Process]) {
    for process in processes {
        drop(process.signal(Signal::KILL));
    }
}

/// The session alone could be a later one with the same number.
fn inherited(process: &Process, runner: &RunnerFile) -> bool {
    match (runner.session, runner.pipe) {
        (Some(session), Some(pipe)) => process.session == session && process.writes_to(pipe),
        (Some(_) | None, Some(_) | None) => false,
    }
}

/// Kills what is in the group, and removes the group when it is empty. Returns 1 until then.
fn kill_group(group: &Cgroup) -> io::Result<usize> {
    if group.is_empty()? {
        group.remove();
        return Ok(0);
    }
    group.kill()?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: &str = "019c0000-0000-7000-8000-000000000000.2";

    #[test]
    fn only_all_three_variables_make_a_process_one_of_ours() {
        let job = "019c0000-0000-7000-8000-000000000000";
        let all = [
            "HOME=/root".to_owned(),
            format!("ST_JOB_ID={job}"),
            "ST_JOB_ATTEMPT=2".to_owned(),
            "ST_JOB_INSTANCE=fe01-7".to_owned(),
        ];
        let found = |variables: &[String], instance: &str| {
            attempt_of(variables.join("\0").as_bytes(), instance).map(|it| it.to_string())
        };
        assert_eq!(found(&all, "fe01-7").as_deref(), Some(MARKER));
        assert_eq!(found(&all, "fe01-8"), None, "another server's");
        for missing in 1..all.len() {
            let mut some = all.to_vec();
            some.remove(missing);
            assert_eq!(found(&some, "fe01-7"), None, "{missing}");
        }
        assert_eq!(attempt_of(b"", "fe01-7"), None);
        assert_eq!(attempt_of(b"ST_JOB_INSTANCE=\xff\0", "fe01-7"), None);
    }
}
