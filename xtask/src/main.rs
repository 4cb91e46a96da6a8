//! `cargo xtask`: the project's developer commands, one verb each.
//!
//! Promises: every step prints a heading before it runs, the first failure stops the run with one
//! clear line and a non-zero exit, and a tool that a step needs is installed below `target/tools`
//! or the command that adds it is named. Leaves out: anything that a user of the server needs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the person who ran it")]

mod bench;
mod fuzz;
mod lint;
mod page;
mod schemathesis;
mod simulate;
mod step;
mod suites;
#[cfg(test)]
mod tidy;

use std::error::Error;
use std::process::ExitCode;

use cargo_metadata::MetadataCommand;
use xshell::Shell;

use crate::bench::Bench;
use crate::fuzz::Fuzzing;
use crate::page::Page;
use crate::schemathesis::Schemathesis;
use crate::simulate::Simulation;
use crate::step::{Failure, Tools};

const HELP: &str = "\
usage: cargo xtask <verb>

  lint         format, clippy, docs, dependency rules, tidy
  test         every test but the slow ones, then the doc-tests
  integration  build st-server and run its end-to-end tests, the slow ones and those of the page too
  page         the operator's page in a browser, which is installed if it is missing
               [--pictures: draw docs/pictures anew]
  ci           lint, then every test once, the slow ones too
  simulate     the background tasks in simulated worlds [--seeds N] [--from S] [--seed S]
               [--store memory|sqlite]
  fuzz         mutated inputs for every reader [--inputs N] [--from S] [--reader NAME]
  schemathesis the server's answers against its OpenAPI document [--examples N] [--seed S]
  bench        every benchmark, or those that are named [NAME ...] [--full]
";

/// What `main` exits with when it was called wrongly, as most command line tools do.
const WRONG_USAGE: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
enum Verb {
    Lint,
    Test,
    Integration,
    Ci,
    Page(Page),
    Simulate(Simulation),
    Fuzz(Fuzzing),
    Schemathesis(Schemathesis),
    Bench(Bench),
}

impl Verb {
    /// The one verb on the command line; what does not belong to it is a mistake worth stopping for,
    /// because a flag that is silently ignored looks like one that worked.
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let verb = match args.next()?.as_str() {
            "lint" => Self::Lint,
            "test" => Self::Test,
            "integration" => Self::Integration,
            "ci" => Self::Ci,
            "page" => return Page::parse(args).map(Self::Page),
            "simulate" => return Simulation::parse(args).map(Self::Simulate),
            "fuzz" => return Fuzzing::parse(args).map(Self::Fuzz),
            "schemathesis" => return Schemathesis::parse(args).map(Self::Schemathesis),
            "bench" => return Bench::parse(args).map(Self::Bench),
            _ => return None,
        };
        args.next().is_none().then_some(verb)
    }
}

fn main() -> ExitCode {
    let Some(verb) = Verb::parse(std::env::args().skip(1)) else {
        eprint!("{HELP}");
        return ExitCode::from(WRONG_USAGE);
    };
    match run(&verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: failed to {failure}");
            let mut cause = failure.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<(), Failure> {
    let workspace = MetadataCommand::new().no_deps().exec().map_err(Failure::reading_workspace)?;
    let sh = Shell::new().map_err(Failure::opening_shell)?;
    sh.change_dir(&workspace.workspace_root);
    let target = workspace.target_directory.as_std_path();
    let tools = Tools::below(&sh, target);
    match verb {
        Verb::Lint => lint::all(&sh, &tools)?,
        Verb::Test => suites::fast(&sh, &tools)?,
        Verb::Integration => {
            suites::integration(&sh, &tools)?;
            Page::default().run(&sh, &tools, target)?;
        }
        Verb::Ci => {
            lint::all(&sh, &tools)?;
            suites::everything_once(&sh, &tools)?;
            Page::default().run(&sh, &tools, target)?;
        }
        Verb::Page(page) => page.run(&sh, &tools, target)?,
        Verb::Simulate(simulation) => simulation.run(&sh)?,
        Verb::Fuzz(fuzzing) => fuzzing.run(&sh)?,
        Verb::Schemathesis(wanted) => wanted.run(&sh, target)?,
        Verb::Bench(bench) => bench.run(&sh, &workspace)?,
    }
    println!("\nxtask: all passed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{HELP, Verb};

    fn parse(args: &[&str]) -> Option<Verb> {
        Verb::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn each_verb_of_the_help_is_understood() {
        let verbs: Vec<&str> = HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let all = [
            "lint",
            "test",
            "integration",
            "page",
            "ci",
            "simulate",
            "fuzz",
            "schemathesis",
            "bench",
        ];
        assert_eq!(verbs, all);
        for verb in verbs {
            assert!(parse(&[verb]).is_some(), "{verb} is in the help but not understood");
        }
    }

    #[test]
    fn a_missing_unknown_or_surplus_word_is_refused() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["deploy"]), None);
        assert_eq!(parse(&["ci", "--fast"]), None);
    }
}
