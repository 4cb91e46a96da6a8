//! The configuration: whether a start would accept it, and what in it is dangerous.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use st_log::{Chain, Format};
use st_store::offline;

use super::finding::{Finding, Subject};
use crate::app::{DATABASE, clients};
use crate::auth::Reach;
use crate::config::{Config, Origin};
use crate::http::listen::tls;

/// Reads it as a start does. Every fault is a finding, and then there is nothing else to check.
pub(super) fn read(origin: &Origin, findings: &mut Vec<Finding>) -> Option<Config> {
    match origin.read() {
        Ok(config) => {
            findings.extend(judge(&config));
            Some(config)
        }
        Err(faults) => {
            let remedy = "Correct it, and try `st-server check-config`. Nothing else was checked.";
            findings.extend(faults.0.into_iter().map(|fault| {
                let found = format!("{}: {}", fault.place, fault.message);
                Finding::failed(Subject::Configuration, found, remedy)
            }));
            None
        }
    }
}

fn judge(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !config.http.tls_verify {
        findings.push(Finding::warning(
            Subject::Configuration,
            "http.ssl_verify is false: whoever answers for a provider gets the credential",
            "Remove SIMPLETUNER_SSL_VERIFY or http.ssl_verify; name an authority of your own with \
             SIMPLETUNER_CA_BUNDLE.",
        ));
    }
    for (name, provider) in &config.described {
        for warning in provider.description.warnings() {
            let found = format!("provider {name}: {warning}");
            let remedy = "See docs/providers.md for the safe form.";
            findings.push(Finding::warning(Subject::Configuration, found, remedy));
        }
    }
    if let Some(Err(error)) = config.access.tls.as_ref().map(tls::read) {
        let remedy = "Put a certificate and its key there, both in PEM.";
        let found = Chain(&error).to_string();
        findings.push(Finding::failed(Subject::Configuration, found, remedy));
    }
    for error in clients::check(config) {
        let remedy = "Correct the file with the authorities: http.ca_bundle, or tls.ca_file of the provider.";
        let found = Chain(&error).to_string();
        findings.push(Finding::failed(Subject::Configuration, found, remedy));
    }
    if findings.is_empty() {
        let file = config.file.as_ref();
        let read = file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
        findings.push(Finding::ok(Subject::Configuration, format!("is valid ({read})")));
    }
    findings.extend(local_commands(config));
    findings.extend(access(config));
    findings.push(log_format(config));
    findings
}

/// Whether the programs that local jobs run are there.
fn local_commands(config: &Config) -> Vec<Finding> {
    let commands = &config.local.commands;
    let faults = commands.iter().filter_map(|(name, command)| {
        let program = command.program.display();
        let why = not_executable(&command.program)?;
        let found = format!("the program {program} of the command {name} {why}");
        let remedy = format!("Correct providers.local.commands.{name}.program.");
        Some(Finding::failed(Subject::LocalCommands, found, remedy))
    });
    let faults: Vec<Finding> = faults.collect();
    if faults.is_empty() && !commands.is_empty() {
        let found = format!("the programs of {} can be run", commands.len());
        return vec![Finding::ok(Subject::LocalCommands, found)];
    }
    faults
}

fn not_executable(program: &Path) -> Option<String> {
    match program.metadata() {
        Ok(it) if !it.is_file() => Some("is no file".to_owned()),
        Ok(it) if it.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
        Err(error) => Some(format!("cannot be used: {error}")),
    }
}

/// Whether a start would be refused because everyone on the network would be the administrator.
fn access(config: &Config) -> Option<Finding> {
    if Reach::of(config.host) == Reach::Loopback {
        let found = format!("{} is reached from this machine alone", config.host);
        return Some(Finding::ok(Subject::Access, found));
    }
    let database = config.state_dir.join(DATABASE);
    let keys = if database.exists() {
        // What is wrong with the database is another finding.
        offline::list_keys(&database, 1).ok()?
    } else {
        Vec::new()
    };
    Some(if keys.is_empty() {
        let found = format!("{} is reached from other machines, and there is no key", config.host);
        let remedy = "Make one, or no start succeeds: `st-server keys create --name NAME --user \
                      USER --role admin`; or listen on 127.0.0.1.";
        Finding::failed(Subject::Access, found, remedy)
    } else {
        let found = format!("{} is reached from other machines, by key", config.host);
        Finding::ok(Subject::Access, found)
    })
}

fn log_format(config: &Config) -> Finding {
    match config.log.format {
        Format::Json => {
            let found = "the log is JSON, with the fields of its context";
            Finding::ok(Subject::LogFormat, found)
        }
        Format::Text => Finding::warning(
            Subject::LogFormat,
            "the log is text: `st-server logs`, jq and log collectors need JSON",
            "Set SIMPLETUNER_LOG_FORMAT=json (logging.format) and restart the server.",
        ),
    }
}
