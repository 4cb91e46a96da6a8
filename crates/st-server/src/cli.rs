//! The command line.

mod api;
mod banner;
mod config;
mod database;
mod doctor;
mod healthcheck;
mod keys;
mod log_file;
mod logs;
mod provider;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use st_log::{Chain, Logger, get_logger};

use crate::app::App;
use crate::config::{Config, Flags, Origin, SettledOrigin};
use crate::init;
use crate::shutdown::Shutdown;

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// Of the command line, the environment or the configuration.
const EXIT_USAGE: u8 = 64;
/// Stopped at the second signal, as by SIGINT.
const EXIT_INSISTED: u8 = 130;

/// A control plane for training jobs at cloud providers.
#[derive(Debug, Parser)]
#[command(
    name = "st-server",
    version,
    about,
    after_help = "\
Flags, the environment (SIMPLETUNER_LOG_LEVEL, SIMPLETUNER_STATE_DIR, REPLICATE_API_TOKEN, ...) and\n\
simpletuner-enterprise.yaml configure it, in this order: `st-server config table` lists all settings."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server and stay in the foreground until SIGTERM or SIGINT
    Serve(Serve),
    /// Check the configuration as a start does, and start nothing
    CheckConfig(config::CheckConfig),
    /// Show the configuration, its schema or the table of all settings
    Config(config::Config),
    /// Print the reference of the HTTP interface, or its OpenAPI document
    Api(api::Api),
    /// Filter the server's JSON log and print it for people
    Logs(logs::Logs),
    /// Find out what is wrong, and what to do about it; changes nothing
    Doctor(doctor::Doctor),
    /// Ask the running server whether it lives; for containers and scripts
    Healthcheck(healthcheck::Healthcheck),
    /// Copy the database, also while the server runs
    Backup(database::Backup),
    /// Put a backup in the place of the database
    Restore(database::Restore),
    /// Write the database as JSON lines, also while the server runs
    Export(database::Export),
    /// Make the database from what export wrote
    Import(database::Import),
    /// Check the database, also while the server runs
    Integrity(database::Integrity),
    /// Bring the database's schema up to date
    Migrate(database::Migrate),
    /// Make, list and revoke the keys of the interface, also while the server runs
    Keys(keys::Keys),
    /// Try the description of a provider without calling it
    Provider(provider::Provider),
    /// Supervise one attempt of a job on this machine
    #[command(hide = true)]
    LocalRunner {
        /// The attempt's folder
        dir: PathBuf,
    },
    /// Behave like a training without training anything
    #[command(hide = true)]
    ExampleTraining,
}

#[derive(Debug, Args)]
struct Serve {
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address instead of 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// Listen on this port instead of 8001
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
}

impl Cli {
    /// Reads the command line; help, version and usage errors are already printed.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            // When even this cannot be printed, there is no place left to report it.
            match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_closed) => ExitCode::FAILURE,
            }
        })
    }

    /// Runs the subcommand and returns the exit code. `environment` is the program's.
    pub fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        match self.command {
            // As the first process of a container it has duties that a server should not have.
            Command::Serve(_) if init::is_first_process() => match init::run() {
                Ok(code) => code,
                Err(error) => fail(1, &format!("cannot start as the first process: {error}")),
            },
            Command::Serve(serve) => serve.run(environment),
            Command::CheckConfig(check) => check.run(environment),
            Command::Config(config) => config.run(environment),
            Command::Api(api) => api.run(),
            Command::Logs(logs) => logs.run(environment),
            Command::Doctor(doctor) => doctor.run(environment),
            Command::Healthcheck(healthcheck) => healthcheck.run(environment),
            Command::Backup(backup) => backup.run(environment),
            Command::Restore(restore) => restore.run(environment),
            Command::Export(export) => export.run(environment),
            Command::Import(import) => import.run(environment),
            Command::Integrity(integrity) => integrity.run(environment),
            Command::Migrate(migrate) => migrate.run(environment),
            Command::Keys(keys) => keys.run(environment),
            Command::Provider(provider) => provider.run(environment),
            Command::LocalRunner { dir } => st_workers::provider::local::run_attempt(&dir),
            Command::ExampleTraining => match environment.get("ST_INPUT") {
                Some(input) => {
                    st_workers::provider::local::example::train(input.as_ref(), io::stdout())
                }
                None => fail(EXIT_USAGE, "example-training is started by the server"),
            },
        }
    }
}

impl Serve {
    fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let flags = Flags { config: self.config, host: self.host, port: self.port };
        let origin = match origin(environment, flags) {
            Ok(origin) => origin,
            Err(code) => return code,
        };
        let config = match origin.read() {
            Ok(config) => config,
            Err(faults) => return fail(EXIT_USAGE, &faults.to_string()),
        };
        let log = match st_log::init(&config.log) {
            Ok(log) => log,
            Err(error @ st_log::Error::File { .. }) => {
                let message = format!("{}: {}", config.log_file_setting, Chain(&error));
                return fail(EXIT_USAGE, &message);
            }
            Err(error) => return fail(EXIT_USAGE, &Chain(&error).to_string()),
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(1, &format!("cannot start the runtime: {error}")),
        };
        let handle = log.handle();
        let origin = origin.settle(&config);
        let code = runtime.block_on(serve(config, handle, origin));
        // What still hangs in a system call must not keep the process.
        runtime.shutdown_background();
        drop(log);
        code
    }
}

/// What the configuration is read from.
fn origin(environment: &BTreeMap<String, String>, flags: Flags) -> Result<Origin, ExitCode> {
    let cwd = std::env::current_dir()
        .map_err(|error| fail(EXIT_USAGE, &format!("no working directory: {error}")))?;
    Ok(Origin { environment: environment.clone(), flags, cwd })
}

/// Reads the configuration; what is wrong with it is already printed.
fn load(environment: &BTreeMap<String, String>, flags: &Flags) -> Result<Config, ExitCode> {
    let read = origin(environment, flags.clone())?.read();
    read.map_err(|faults| fail(EXIT_USAGE, &faults.to_string()))
}

async fn serve(config: Config, log: st_log::LogHandle, origin: SettledOrigin) -> ExitCode {
    let shutdown = match Shutdown::on_signals(log.clone()) {
        Ok(shutdown) => shutdown,
        Err(error) => return fail(1, &format!("cannot listen for signals: {error}")),
    };
    let file = config.file.clone();
    let state_dir = config.state_dir.clone();
    let scheme = if config.access.tls.is_some() { "https" } else { "http" };
    let app = match App::build(config).await {
        Ok(app) => app,
        Err(error) => {
            let chain = Chain(&error).to_string();
            st_log::critical!(logger: LOG, reason = chain, "Server did not start");
            return fail(1, &chain);
        }
    };
    let address = match app.address() {
        Ok(address) => address,
        Err(error) => return fail(1, &format!("the port was lost: {error}")),
    };
    let url = banner::url(scheme, address);
    st_log::info!(
        logger: LOG,
        version = env!("CARGO_PKG_VERSION"),
        address = address.to_string(),
        state_dir = state_dir.display().to_string(),
        config_file = file.map(|file| file.display().to_string()),
        "Listening on {url}"
    );
    print(&banner::banner(scheme, address, app.needs_key()));
    let hard = shutdown.hard.clone();
    tokio::select! {
        stopped = app.run(shutdown, log, origin) => match stopped {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let chain = Chain(&error).to_string();
                st_log::critical!(logger: LOG, reason = chain, "Server did not stop well");
                fail(1, &chain)
            }
        },
        () = hard.cancelled() => ExitCode::from(EXIT_INSISTED),
    }
}

fn print_out(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("stdout cannot be written: {error}")),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    print(&format!("st-server: {message}\n"));
    ExitCode::from(code)
}

/// On stderr; when that is closed, there is nowhere else to print.
fn print(text: &str) {
    if let Err(closed) = io::stderr().write_all(text.as_bytes()) {
        st_log::debug!(
            logger: LOG, error = closed, "stderr cannot be written"
        );
    }
}
