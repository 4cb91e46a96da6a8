//! The program: reads the command line and the environment, and does what they say.

use std::collections::BTreeMap;
use std::process::ExitCode;

use st_server::cli::Cli;

fn main() -> ExitCode {
    // Read once, before there is a second thread. Names and values that are not UTF-8 are not ours.
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match Cli::read() {
        Ok(cli) => cli.run(&environment),
        Err(code) => code,
    }
}
