//! `cargo xtask schemathesis`: the server's answers compared with its OpenAPI document.
//!
//! Promises: the program, in the version that is named here, is installed below `target/tools` by the
//! machine's own Python; with the same libraries of it, the same seed makes the same requests. Leaves out: how the server is started and
//! what is left out; see the tests of that name in st-server.

use std::path::Path;

use xshell::{Shell, cmd};

use crate::step::{Failure, step};

const VERSION: &str = "schemathesis==4.32.5";

/// How many requests the server gets, and which.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Schemathesis {
    /// How many requests each operation gets of each kind.
    examples: u32,
    seed: u64,
}

impl Schemathesis {
    /// The options of the command line; `None` when one of them is wrong.
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut wanted = Self { examples: 12, seed: 1 };
        while let Some(option) = args.next() {
            let value = args.next()?;
            match option.as_str() {
                "--examples" => wanted.examples = value.parse().ok()?,
                "--seed" => wanted.seed = value.parse().ok()?,
                _ => return None,
            }
        }
        (wanted.examples > 0).then_some(wanted)
    }

    /// Installs it where it is missing, and asks the server with the key of each role.
    pub(crate) fn run(&self, sh: &Shell, target: &Path) -> Result<(), Failure> {
        let environment = target.join("tools").join(VERSION);
        let program = environment.join("bin/st");
        if !program.exists() {
            if cmd!(sh, "python3 -m venv {environment}").quiet().run().is_err() {
                let (tool, remedy) = ("python3 with venv", "apt-get install python3-venv");
                return Err(Failure::Missing { tool, remedy });
            }
            let pip = environment.join("bin/pip");
            step("install schemathesis", &cmd!(sh, "{pip} install --quiet {VERSION}"))?;
        }
        // The same packages as in `ci`, so that nothing is built a second time with other features. The others
        // have no test of this name.
        let tests = ["--workspace", "--exclude", "xtask", "--exclude", "st-store", "--test", "it"];
        let command =
            cmd!(sh, "cargo test {tests...} schemathesis:: -- --test-threads 1 --nocapture")
                .env("ST_SCHEMATHESIS", program)
                .env("ST_SCHEMATHESIS_EXAMPLES", self.examples.to_string())
                .env("ST_SCHEMATHESIS_SEED", self.seed.to_string());
        step("answers against the OpenAPI document", &command)
    }
}

#[cfg(test)]
mod tests {
    use super::Schemathesis;

    fn parse(args: &[&str]) -> Option<Schemathesis> {
        Schemathesis::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn the_options_say_what_is_asked() {
        assert_eq!(parse(&[]), Some(Schemathesis { examples: 12, seed: 1 }));
        let other = Schemathesis { examples: 1, seed: 7 };
        assert_eq!(parse(&["--seed", "7", "--examples", "1"]), Some(other));
    }

    #[test]
    fn a_wrong_option_or_value_is_refused() {
        for args in [&["--examples"] as &[&str], &["--examples", "0"], &["--role", "x"]] {
            assert_eq!(parse(args), None, "{args:?}");
        }
    }
}
