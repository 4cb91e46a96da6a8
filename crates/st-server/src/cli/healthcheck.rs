//! `st-server healthcheck`: one question to the running server, for a container that has no other client.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use st_api::system;
use st_log::Chain;

use super::doctor::client::Server;
use super::{EXIT_USAGE, fail, load};
use crate::config::Flags;

const MORE: &str = "\
Exit code: 0 it does, 1 it does not, 64 wrong usage. It needs no key. That the server lives does not
depend on its disk or its providers, so that none of them has it restarted in vain; --ready asks
whether it can work now.";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Healthcheck {
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask whether it can work now, and not only whether it lives
    #[arg(long)]
    ready: bool,
}

impl Healthcheck {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let flags = Flags { config: self.config, ..Flags::default() };
        let config = match load(environment, &flags) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let server = match Server::of(&config, None) {
            Ok(server) => server,
            Err(error) => return fail(EXIT_USAGE, &Chain(&error).to_string()),
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
        };
        let about = if self.ready { system::READY.about } else { system::LIVE.about };
        match runtime.block_on(server.ask(about.path)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(refusal) => fail(1, &format!("{} does not answer well: {refusal}", server.url)),
        }
    }
}
