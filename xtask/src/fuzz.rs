//! `cargo xtask fuzz`: any number of mutated inputs for every reader of what others write.
//!
//! Promises: without options each reader gets ten million; `--reader` names the one that a failure
//! named. Leaves out: what an input is and what is checked; see the `fuzz` modules of the crates.

use xshell::{Shell, cmd};

use crate::step::{Failure, step};

/// What to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fuzzing {
    /// The first seed.
    from: u64,
    /// How many inputs each reader gets.
    inputs: u64,
    /// A part of a test's name.
    reader: String,
}

impl Fuzzing {
    /// The options of the command line; `None` when one of them is wrong.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut fuzzing = Self { from: 0, inputs: 10_000_000, reader: String::new() };
        while let Some(option) = args.next() {
            let value = args.next()?;
            match option.as_str() {
                "--inputs" => fuzzing.inputs = value.parse().ok()?,
                "--from" => fuzzing.from = value.parse().ok()?,
                "--reader" => fuzzing.reader = value,
                _ => return None,
            }
        }
        (fuzzing.inputs > 0).then_some(fuzzing)
    }

    /// Builds and runs it. What failed, and how to see it again, is printed by the test itself.
    pub(crate) fn run(&self, sh: &Shell) -> Result<(), Failure> {
        let filter = format!("fuzz::{}", self.reader);
        let packages = ["--package", "st-workers", "--package", "st-server"];
        let command = cmd!(sh, "cargo test --release {packages...} --lib {filter}");
        let command = command
            .env("ST_FUZZ_INPUTS", self.inputs.to_string())
            .env("ST_FUZZ_SEED", self.from.to_string());
        step("fuzzing", &command)
    }
}

#[cfg(test)]
mod tests {
    use super::Fuzzing;

    fn parse(args: &[&str]) -> Option<Fuzzing> {
        Fuzzing::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn the_options_say_what_is_read() {
        let all = Fuzzing { from: 0, inputs: 10_000_000, reader: String::new() };
        assert_eq!(parse(&[]), Some(all));
        let one = Fuzzing { from: 17, inputs: 1, reader: "waits".to_owned() };
        assert_eq!(parse(&["--from", "17", "--inputs", "1", "--reader", "waits"]), Some(one));
    }

    #[test]
    fn a_wrong_option_or_value_is_refused() {
        for args in [&["--inputs"] as &[&str], &["--inputs", "0"], &["--seed", "1"], &["all"]] {
            assert_eq!(parse(args), None, "{args:?}");
        }
    }
}
