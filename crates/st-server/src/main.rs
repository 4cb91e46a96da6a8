//! The program: reads the command line and the environment, and does what they say.

use std::process::ExitCode;

use st_server::cli::Cli;

fn main() -> ExitCode {
    // Read once, before there is a second thread.
    let environment = st_server::config::environment();
    match Cli::read() {
        Ok(cli) => cli.run(&environment),
        Err(code) => code,
    }
}
