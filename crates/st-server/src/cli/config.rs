//! The configuration for people: whether it is good, what it is and where it comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use st_log::Chain;

use super::{EXIT_USAGE, fail, load, log_file, print_out};
use crate::app::clients;
use crate::config::{self, Flags};
use crate::reload;

/// Checks the configuration as a start of the server does, and starts nothing.
#[derive(Debug, Args)]
pub(super) struct CheckConfig {
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print each setting with its value; secrets are masked
    Show(Show),
    /// Print the JSON Schema of simpletuner-enterprise.yaml, for editors and checks
    Schema,
    /// Print the table of all settings, in Markdown
    Table(Table),
}

#[derive(Debug, Args)]
struct Table {
    /// Only the settings that variables of the environment set
    #[arg(long)]
    variables: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print also what set the value: a variable, or a line of the file
    #[arg(long)]
    origin: bool,
}

impl CheckConfig {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let flags = Flags { config: self.config, ..Flags::default() };
        let config = match load(environment, &flags) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let faults = files(&config);
        if !faults.is_empty() {
            return fail(EXIT_USAGE, &faults.join("\nst-server: "));
        }
        let file = config.file.as_ref();
        let read = file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
        let mut text = format!("the configuration is valid ({read})\n");
        for (name, provider) in &config.described {
            let warnings = provider.description.warnings().into_iter();
            text.extend(warnings.map(|warning| format!("warning: provider {name}: {warning}\n")));
        }
        if !config.http.tls_verify {
            text.push_str("warning: http.ssl_verify is false: certificates are not checked\n");
        }
        print_out(&text)
    }
}

/// What is wrong with the files that a start opens beside the configuration.
fn files(config: &config::Config) -> Vec<String> {
    // A reload reads those of TLS, too.
    let tls = reload::live(&config.access).err().map(|error| Chain(&error).to_string());
    let mut faults: Vec<String> = tls.into_iter().collect();
    faults.extend(clients::check(config).iter().map(|error| Chain(error).to_string()));
    let log = config.log.file.as_deref().map(log_file::check);
    if let Some(Err(why)) = log {
        faults.push(format!("{}: {why}", config.log_file_setting));
    }
    faults
}

impl Config {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        match self.command {
            Command::Show(show) => show.run(environment),
            Command::Schema => print_out(&format!("{:#}\n", config::schema())),
            Command::Table(Table { variables: true }) => print_out(&config::variables_table()),
            Command::Table(Table { variables: false }) => print_out(&config::table()),
        }
    }
}

impl Show {
    fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let flags = Flags { config: self.config, ..Flags::default() };
        let cwd = match std::env::current_dir() {
            Ok(cwd) => cwd,
            Err(error) => return fail(EXIT_USAGE, &format!("no working directory: {error}")),
        };
        match config::Config::show(environment, &flags, &cwd, self.origin) {
            Ok(text) => print_out(&text),
            Err(faults) => fail(EXIT_USAGE, &faults.to_string()),
        }
    }
}
