//! The last step before a command: a process of this program that ties itself to its runner and then
//! becomes the command.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getppid, set_parent_process_death_signal, setsid};

use super::attempt::{Attempt, State};
use super::cgroup::Cgroup;
use super::devices::DeviceName;

/// What a program may see of the machine's graphics cards; empty is none of them.
const VISIBLE_DEVICES: &str = "CUDA_VISIBLE_DEVICES";

/// Becomes the command of the attempt in `dir`. Returns only when that failed; the runner finds the
/// reason in the attempt's folder.
pub(super) fn become_command(dir: &Path) -> io::Result<ExitCode> {
    let attempt = Attempt::of_dir(dir).ok_or_else(|| io::Error::other("no attempt's folder"))?;
    // A killed runner cannot end it any more. The command keeps this, its children do not.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let State::Running(runner) = attempt.state()? else { return Ok(ExitCode::FAILURE) };
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != Some(runner.process.pid) {
        // It died before that.
        return Ok(ExitCode::FAILURE);
    }
    let Some(command) = attempt.command()? else { return Ok(ExitCode::FAILURE) };
    // Away from the terminal of the server, and recognisable later.
    setsid()?;
    if let Some(group) = runner.cgroup {
        // Without it the command is supervised in the other ways.
        drop(Cgroup::at(group).join());
    }
    if let Err(error) = command.limits.apply() {
        attempt.write_not_started(&error.to_string())?;
        return Ok(ExitCode::FAILURE);
    }
    let mut program = Command::new(&command.program);
    program
        .args(&command.args)
        .envs(&command.env)
        .envs(super::runner::variables(&attempt, &command)?)
        .current_dir(command.output());
    if let Some(devices) = &runner.devices {
        let devices: Vec<&str> = devices.iter().map(DeviceName::as_str).collect();
        program.env(VISIBLE_DEVICES, devices.join(","));
    }
    let error = program.exec();
    attempt
        .write_not_started(&format!("{} cannot be started: {error}", command.program.display()))?;
    Ok(ExitCode::FAILURE)
}
