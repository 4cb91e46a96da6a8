//! One step of a verb: its heading, its command, its failure; and the tools that steps need.
//!
//! Promises: nothing runs without a heading, and a failure names the step. Tools that are missing
//! are installed below the target directory, so that nothing outside the work tree changes.
//! Leaves out: which steps there are.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use xshell::{Cmd, Shell, cmd};

/// Prints the heading of a step, so that a person sees what runs and where it stopped.
pub(crate) fn heading(name: &str) {
    println!("\n== {name}");
}

/// Runs one command under its heading; the shell prints the command itself.
pub(crate) fn step(name: &'static str, command: &Cmd<'_>) -> Result<(), Failure> {
    heading(name);
    command.run().map_err(|source| Failure::Step { name, source })
}

/// Why a verb stopped. Reads on after "failed to ".
#[derive(Debug)]
pub(crate) enum Failure {
    /// A step's command could not start or ended with a fault.
    Step { name: &'static str, source: xshell::Error },
    /// A tool is missing and only the person at the machine can add it.
    Missing { tool: &'static str, remedy: &'static str },
    /// A benchmark was named that no crate declares.
    UnknownBench { name: String, known: String },
    /// The workspace or the shell could not be opened.
    Start { what: &'static str, source: Box<dyn Error> },
}

impl Failure {
    pub(crate) fn reading_workspace(source: cargo_metadata::Error) -> Self {
        Self::Start { what: "read the workspace", source: Box::new(source) }
    }

    pub(crate) fn opening_shell(source: xshell::Error) -> Self {
        Self::Start { what: "open the shell", source: Box::new(source) }
    }
}

impl Failure {
    pub(crate) fn unknown_bench(name: &str, known: &str) -> Self {
        Self::UnknownBench { name: name.to_owned(), known: known.to_owned() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { name, .. } => write!(f, "pass the step \"{name}\""),
            Self::Missing { tool, remedy } => write!(f, "find {tool}; add it with `{remedy}`"),
            Self::UnknownBench { name, known } => {
                write!(f, "find the benchmark \"{name}\"; there are {known}")
            }
            Self::Start { what, .. } => f.write_str(what),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Step { source, .. } => Some(source),
            Self::Missing { .. } | Self::UnknownBench { .. } => None,
            Self::Start { source, .. } => Some(source.as_ref()),
        }
    }
}

/// Where missing cargo subcommands are installed.
pub(crate) struct Tools {
    root: PathBuf,
}

impl Tools {
    /// Tools below `target`. What is on the PATH already is preferred: a developer's own
    /// cargo-nextest need not be built a second time.
    pub(crate) fn below(sh: &Shell, target: &Path) -> Self {
        let root = target.join("tools");
        let mut path = sh.var_os("PATH").unwrap_or_default();
        path.push(":");
        path.push(root.join("bin"));
        sh.set_var("PATH", path);
        Self { root }
    }

    /// Makes `cargo NAME` available, installing `package` when it is not.
    pub(crate) fn need(
        &self,
        sh: &Shell,
        name: &str,
        package: &'static str,
    ) -> Result<(), Failure> {
        if answers(sh, name) {
            return Ok(());
        }
        let root = &self.root;
        println!("\n{package} is not installed; building it once into {}", root.display());
        step("install a tool", &cmd!(sh, "cargo install --root {root} --locked {package}"))
    }
}

impl Tools {
    /// Makes a program of the distribution available where that can be done without asking, which
    /// is as root on Debian. The tests that run it say when they are skipped, so nothing fails here.
    #[expect(clippy::unused_self, reason = "the counterpart of `need`")]
    pub(crate) fn want(&self, sh: &Shell, program: &str) {
        if is_there(sh, program) {
            return;
        }
        heading("install a program that tests run");
        let is_root = cmd!(sh, "id -u").quiet().read().is_ok_and(|id| id == "0");
        let installed = is_root
            && cmd!(sh, "apt-get update").quiet().ignore_stdout().run().is_ok()
            && cmd!(sh, "apt-get install -y {program}").ignore_stdout().run().is_ok();
        if !installed {
            println!("!! {program} is not installed; add it with `apt-get install {program}`.");
        }
    }
}

/// Whether a program is on the PATH.
pub(crate) fn is_there(sh: &Shell, program: &str) -> bool {
    cmd!(sh, "which {program}").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}

/// Whether `cargo NAME` exists and starts.
pub(crate) fn answers(sh: &Shell, name: &str) -> bool {
    cmd!(sh, "cargo {name} --version").quiet().ignore_stdout().ignore_stderr().run().is_ok()
}
