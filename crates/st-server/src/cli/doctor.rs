//! `st-server doctor`: what an operator would check, one thing after the other.
//!
//! Promises: each finding says what was found and what to do; no secret is printed; nothing is changed,
//! except that whether a folder can be written is tried with a file that is removed again, and that a key
//! is noted as used. For an instant it locks the database as a reader would and, where no server answers,
//! listens on the server's address. Leaves out: reading the whole database, which `st-server integrity` does.

mod broken_link;
pub(super) mod client;
mod configuration;
mod database;
mod disk;
mod finding;
mod hidden;
mod place;
mod providers;
mod queue;
mod records;
mod report;
mod secrets;
mod server;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use st_log::{Chain, Format};
use st_store::{Clock, SystemClock};

use self::client::{Key, Server};
use self::finding::{Finding, Level};
use self::hidden::Hidden;
use self::report::Report;
use self::server::Presence;
use super::{EXIT_USAGE, fail, origin, print_out};
use crate::app::DATABASE;
use crate::config::{Config, Flags, Origin, plain};

/// The variable that clients have their key in.
const KEY_VARIABLE: &str = "SIMPLETUNER_API_KEY";
/// A file with a key is no longer, in bytes.
const LONGEST_KEY: u64 = 64 * 1024;

const KEY_FILE: &str =
    "A file with a key of the interface; - is stdin. Without it, SIMPLETUNER_API_KEY is used";

const MORE: &str = "\
Run it as the server's user, with the server's environment and configuration. Where a server runs, it
is asked over HTTP; once a key exists, it needs that of a viewer. Exit code: 0 nothing failed (there
may be warnings), 1 something did, 64 wrong usage. docs/troubleshooting.md has every symptom.

Examples:
    st-server doctor
    sudo -u st-server st-server doctor --config /etc/simpletuner/enterprise.yaml
    st-server doctor --url https://train.example.org --key-file ~/.config/doctor.key
    st-server doctor --json | jq '.findings[] | select(.level != \"ok\")'";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Doctor {
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the server at this URL instead of where the configuration has it listen
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[arg(long, value_name = "FILE", help = KEY_FILE)]
    key_file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        if let Some(fault) = self.url.as_deref().and_then(url_fault) {
            return fail(EXIT_USAGE, &format!("--url: {fault}"));
        }
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let origin = match origin(environment, flags) {
            Ok(origin) => origin,
            Err(code) => return code,
        };
        let key = match self.key(environment) {
            Ok(key) => key,
            Err(message) => return fail(EXIT_USAGE, &message),
        };
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
        };
        let report = match runtime.block_on(self.examine(&origin, key)) {
            Ok(report) => report,
            Err(message) => return fail(EXIT_USAGE, &message),
        };
        let printed = print_out(&if self.json { report.json() } else { report.text() });
        if report.worst() == Level::Failed { ExitCode::FAILURE } else { printed }
    }

    fn key(&self, environment: &BTreeMap<String, String>) -> Result<Option<Key>, String> {
        let Some(path) = &self.key_file else {
            return Ok(environment.get(KEY_VARIABLE).and_then(|text| Key::new(text)));
        };
        let read = if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().take(LONGEST_KEY).read_to_string(&mut text).map(|_| text)
        } else {
            plain::text(path, LONGEST_KEY)
        };
        let shown = path.display();
        let text = read.map_err(|error| format!("--key-file: {shown} cannot be read: {error}"))?;
        let key = Key::new(&text).ok_or_else(|| format!("--key-file: {shown} is empty"))?;
        Ok(Some(key))
    }

    async fn examine(&self, origin: &Origin, key: Option<Key>) -> Result<Report, String> {
        let mut findings = Vec::new();
        let Some(config) = configuration::read(origin, &mut findings) else {
            return Ok(Report { url: self.url.clone(), findings });
        };
        let hidden = Hidden::of(&config, origin, key.as_ref());
        let server = match &self.url {
            Some(url) => Server::at(url, key, &config.http),
            None => Server::of(&config, key),
        };
        let server = server.map_err(|error| format!("cannot ask a server: {}", Chain(&error)))?;
        let mut of_server = Vec::new();
        let presence = server::presence(&server, self.url.is_some(), &mut of_server).await;
        // One that is named may be on another machine.
        let here = Some(presence).filter(|_| self.url.is_none());
        on_this_machine(&config, origin, here, &mut findings);
        findings.append(&mut of_server);
        if here == Some(Presence::Absent) {
            findings.extend(place::check(&config));
        }
        let log_file = config.log.file.as_deref().filter(|_| here.is_some());
        let log_file = log_file.filter(|path| path.is_file() && config.log.format == Format::Json);
        let may_ask = presence == Presence::Answers && server::health(&server, &mut findings).await;
        let places = if may_ask {
            running(&server, log_file, &mut findings).await
        } else {
            if matches!(presence, Presence::Answers | Presence::NeedsKey) {
                findings.extend(server::readiness(&server).await);
            }
            providers::check_alone(&config, &mut findings).await
        };
        findings.extend(providers::clocks(&config, &places).await);
        let findings = findings.into_iter().map(|it| hidden.apply(it)).collect();
        Ok(Report { url: Some(server.url), findings })
    }
}

/// What is wrong with the URL of a server. It is not repeated: it may have a password.
fn url_fault(url: &str) -> Option<&'static str> {
    if url.contains(['@', '?', '#']) {
        return Some(
            "expected a URL without a user name, a query and a fragment; a key is given by --key-file",
        );
    }
    (!st_api::input::is_http_url(url)).then_some("expected a URL such as http://127.0.0.1:8001")
}

/// What needs no server. `here`: of the server that the configuration is of.
fn on_this_machine(
    config: &Config,
    origin: &Origin,
    here: Option<Presence>,
    findings: &mut Vec<Finding>,
) {
    findings.push(disk::state_dir(&config.state_dir));
    findings.extend(disk::space(&config.state_dir));
    findings.extend(secrets::check(config, origin));
    findings.push(database::check(&config.state_dir.join(DATABASE), here));
    if let Some(path) = &config.log.file {
        let is_running = matches!(here, Some(Presence::Answers | Presence::NeedsKey));
        findings.push(disk::log_file(path, &config.log_file_setting, is_running));
        findings.extend(disk::log_space(path, &config.state_dir));
        if config.log.format == Format::Json && path.is_file() {
            findings.extend(records::check(path, SystemClock.wall()));
        }
    }
}

/// What only a running server knows. Returns where its providers are.
async fn running(
    server: &Server,
    log_file: Option<&Path>,
    findings: &mut Vec<Finding>,
) -> Vec<providers::Place> {
    if let Some(path) = log_file {
        findings.extend(server::traced(server, path).await);
    }
    queue::check(server, SystemClock.wall(), findings).await;
    providers::check_by_server(server, findings).await
}
