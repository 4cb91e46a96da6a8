//! Trying a described provider without calling it: what would go out, and what an answer would mean.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use st_store::ProviderName;
use st_workers::provider::http::{Description, SavedAnswer};

use super::{EXIT_USAGE, fail, load};
use crate::config::Flags;
use st_api::input::parse_json;

/// A saved answer or input may be as large.
const LARGEST: u64 = 64 * 1024 * 1024;

const ABOUT_CHECK: &str = "\
Nothing is sent. Secrets are shown as ***, and what the environment puts into the file as ${NAME}. The description is checked as a whole, as at every start of
the server; what is wrong is named with file, line and column.

Examples:
    st-server provider check cluster
    st-server provider check cluster --input job.json
    st-server provider check cluster --answer status.json
    curl -s … | st-server provider check cluster --answer - --for submit --status 409";

#[derive(Debug, Args)]
pub(super) struct Provider {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show each request of a described provider as it would go out, or judge a saved answer
    Check(Check),
}

#[derive(Debug, Args)]
#[command(after_help = ABOUT_CHECK)]
struct Check {
    /// The provider's name in the configuration
    name: String,
    /// Read this configuration file instead of looking for one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What a job asks for, as JSON, such as {"config": {...}}; without it there are placeholders
    #[arg(long, value_name = "FILE", conflicts_with = "answer")]
    input: Option<PathBuf>,
    /// Judge this answer instead; - is stdin
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    /// Which call it answers: submit, status, list, find, cancel, logs, validate, release or sweep
    #[arg(long = "for", value_name = "CALL", default_value = "status", requires = "answer")]
    operation: String,
    /// Its HTTP status
    #[arg(long, value_name = "STATUS", default_value_t = 200, requires = "answer")]
    status: u16,
}

impl Provider {
    pub(super) fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        match self.command {
            Command::Check(check) => check.run(environment),
        }
    }
}

impl Check {
    fn run(self, environment: &BTreeMap<String, String>) -> ExitCode {
        let flags = Flags { config: self.config.clone(), ..Flags::default() };
        let config = match load(environment, &flags) {
            Ok(config) => config,
            Err(code) => return code,
        };
        let name = ProviderName::new(self.name.as_str());
        let Some(provider) = config.described.get(&name) else {
            let names: Vec<&str> = config.described.keys().map(ProviderName::as_str).collect();
            let there = if names.is_empty() {
                "the configuration describes none".to_owned()
            } else {
                format!("the configuration describes {}", names.join(", "))
            };
            let message = format!("there is no described provider {:?}; {there}", self.name);
            return fail(EXIT_USAGE, &message);
        };
        let description = &provider.description;
        let shown = match &self.answer {
            Some(answer) => self.judged(&name, description, answer),
            None => self.requests(description),
        };
        match shown {
            Ok(text) => match io::stdout().write_all(config.filled.hide(&text).as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(1, &format!("stdout cannot be written: {error}")),
            },
            Err(message) => fail(EXIT_USAGE, &config.filled.hide(&message)),
        }
    }

    fn requests(&self, description: &Description) -> Result<String, String> {
        let input = self.input.as_deref().map(read_json).transpose()?;
        let mut text = String::new();
        for request in description.requests(input.as_ref()) {
            let shown = request.text.unwrap_or_else(|why| format!("cannot be made: {why}\n"));
            let lines = shown.lines().map(|line| format!("    {line}\n"));
            text.extend([request.operation, "\n"]);
            text.extend(lines);
            text.push('\n');
        }
        let warnings = description.warnings().into_iter().map(|it| format!("warning: {it}\n"));
        text.extend(warnings);
        text.extend(description.hints().into_iter().map(|hint| format!("hint: {hint}\n")));
        Ok(text)
    }

    fn judged(
        &self,
        name: &ProviderName,
        description: &Description,
        answer: &Path,
    ) -> Result<String, String> {
        let body = read(answer)?;
        let saved = SavedAnswer { operation: &self.operation, status: self.status, body: &body };
        let lines = description.judge(name, saved).map_err(|error| error.to_string())?;
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }
}

fn read(path: &Path) -> Result<String, String> {
    let fail = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(LARGEST).read_to_end(&mut bytes).map_err(fail)?;
    } else {
        let file = std::fs::File::open(path).map_err(fail)?;
        file.take(LARGEST).read_to_end(&mut bytes).map_err(fail)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_json(path: &Path) -> Result<Value, String> {
    let text = read(path)?;
    parse_json(text.as_bytes()).map_err(|fault| format!("{}: {}", path.display(), fault.message))
}
