//! The running server itself: that it answers, is of this version, works, and keeps correlation IDs.

use std::path::Path;
use std::time::Duration;

use st_api::system::{self, Alive, Component, Condition, Health, LogLevel, Mode};
use st_http::Response;
use st_log::get_correlation_id;
use tokio::time::{Instant, sleep};

use super::client::{Refusal, Server, correlation_id, refused};
use super::finding::{Finding, Subject};
use super::records;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a record may take until it is in the log file.
const WRITTEN_WITHIN: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const GIVE_KEY: &str = "Name a file with a key of a viewer by --key-file, or set SIMPLETUNER_API_KEY. \
                        Make one with `st-server keys create --name doctor --user doctor --role \
                        viewer`.";

/// Whether there is a server to ask further questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It answers, and we may ask.
    Answers,
    /// It answers and wants a key.
    NeedsKey,
    /// The connection was refused: no server runs.
    Absent,
    /// What is there gives no answer, or is no server of this kind.
    Unknown,
}

/// Whether a server answers. `is_expected`: the command line says that one runs there.
pub(super) async fn presence(
    server: &Server,
    is_expected: bool,
    findings: &mut Vec<Finding>,
) -> Presence {
    let url = &server.url;
    let response = match server.response(system::PLAIN.about.path).await {
        Ok(response) => response,
        Err(Refusal::NoServer(_why)) if !is_expected => {
            findings.push(Finding::warning(
                Subject::Server,
                format!("no server answers at {url}; what only a running one knows is not checked"),
                "Start it with `st-server serve`, or name where it runs by --url URL.",
            ));
            return Presence::Absent;
        }
        Err(refusal) => {
            let found = format!("no server answers at {url}: {refusal}");
            let remedy = "Start it, correct the URL, or find in its log why it does not answer.";
            findings.push(Finding::failed(Subject::Server, found, remedy));
            return Presence::Unknown;
        }
    };
    let alive: Option<Alive> = response.json().ok().filter(|_| response.status().is_success());
    let Some(alive) = alive else {
        let found = format!("what answers at {url} is not st-server ({})", response.status());
        let remedy = "Stop the other program, or set SIMPLETUNER_PORT to another port.";
        findings.push(Finding::failed(Subject::Server, found, remedy));
        return Presence::Unknown;
    };
    findings.push(echoed(&response));
    if alive.mode == Mode::MultiUser && !server.has_key() {
        let found = format!("the server at {url} wants a key; what it would say is not checked");
        findings.push(Finding::warning(Subject::Server, found, GIVE_KEY));
        return Presence::NeedsKey;
    }
    Presence::Answers
}

/// Whether the answer has the correlation ID that the request had.
fn echoed(response: &Response) -> Finding {
    let sent = get_correlation_id();
    match correlation_id(response.headers()) {
        Some(id) if id == sent.as_str() => {
            let found = format!("X-Correlation-ID is on requests and answers ({id})");
            Finding::ok(Subject::Correlation, found)
        }
        Some(other) => {
            let found = format!("X-Correlation-ID was sent as {sent} and came back as {other}");
            let remedy = "A proxy in between replaces it: have it pass the header on unchanged.";
            Finding::failed(Subject::Correlation, found, remedy)
        }
        None => {
            let found = "the answer has no X-Correlation-ID, so no request can be traced";
            let remedy = "A proxy in between removes it: have it pass the header on unchanged.";
            Finding::failed(Subject::Correlation, found, remedy)
        }
    }
}

/// Each part of the server. `false` where it does not let us ask.
pub(super) async fn health(server: &Server, findings: &mut Vec<Finding>) -> bool {
    let health: Health = match server.get(system::HEALTH.about.path).await {
        Ok(health) => health,
        Err(Refusal::Status { status: 401 | 403, detail }) => {
            let found = format!("the server does not accept the key: {detail}");
            findings.push(Finding::failed(Subject::Server, found, GIVE_KEY));
            return false;
        }
        Err(refusal) => {
            let found = format!("the server cannot say how it is: {refusal}");
            let remedy = "Read the end of its log: st-server logs --level WARNING FILE";
            findings.push(Finding::failed(Subject::Health, found, remedy));
            return false;
        }
    };
    findings.push(version(&health.version, &server.url));
    let unwell = health.components.iter().filter_map(component);
    let unwell: Vec<Finding> = unwell.collect();
    let parts = health.components.len();
    match readiness(server).await {
        Some(finding) => findings.push(finding),
        None if unwell.is_empty() => {
            let found = format!("all {parts} parts of the server are well");
            findings.push(Finding::ok(Subject::Health, found));
        }
        None => {}
    }
    findings.extend(unwell);
    true
}

fn version(running: &str, url: &str) -> Finding {
    if running == VERSION {
        return Finding::ok(Subject::Server, format!("version {running} answers at {url}"));
    }
    let found = format!("version {running} runs, and this program is version {VERSION}");
    let remedy = "Restart the server, so that the installed version runs.";
    Finding::warning(Subject::Server, found, remedy)
}

fn component(component: &Component) -> Option<Finding> {
    let Component { name, status, message, .. } = component;
    let found = format!("{name}: {message}");
    let remedy = match name.as_str() {
        "database" => "Check the disk of the state directory, then run `st-server integrity`.",
        "integrity" => "Run `st-server integrity`, and restore a backup.",
        _ => "GET /api/background/tasks shows its last run; the log has its error.",
    };
    match status {
        Condition::Healthy => None,
        Condition::Degraded => Some(Finding::warning(Subject::Health, found, remedy)),
        Condition::Unhealthy => Some(Finding::failed(Subject::Health, found, remedy)),
    }
}

/// Why the server cannot work now; `None` where it can.
pub(super) async fn readiness(server: &Server) -> Option<Finding> {
    let response = server.response(system::READY.about.path).await.ok()?;
    if response.status().is_success() {
        return None;
    }
    let found = format!("the server is not ready: {}", refused(&response));
    let remedy = "It becomes ready a few seconds after a start; else the other findings say why.";
    Some(Finding::failed(Subject::Health, found, remedy))
}

/// Whether a request can be found in the log file. A method that the path does not take changes nothing
/// and is logged at INFO, while what only reads is logged at DEBUG.
pub(super) async fn traced(server: &Server, log_file: &Path) -> Option<Finding> {
    let level: LogLevel = server.get(system::LOG_LEVEL.about.path).await.ok()?;
    server.post(system::LIVE.about.path).await.ok()?;
    let id = get_correlation_id();
    let began = Instant::now();
    while began.elapsed() < WRITTEN_WITHIN {
        if records::has(log_file, id.as_str()).ok()? {
            let found = format!("a request was found in the log by its correlation ID ({id})");
            return Some(Finding::ok(Subject::Correlation, found));
        }
        sleep(LOOK_AGAIN).await;
    }
    let shown = log_file.display();
    if !logs_requests(&level.level) {
        let found = format!("requests are not logged at the level {}", level.level);
        return Some(Finding::ok(Subject::Correlation, found));
    }
    let found = format!("a request that was just made is not in {shown}");
    let remedy = "The running server writes to another file: its SIMPLETUNER_LOG_FILE differs, or the \
                  file was rotated and the server got no SIGHUP.";
    Some(Finding::failed(Subject::Correlation, found, remedy))
}

/// Whether the level of the log lets through what requests are logged at.
fn logs_requests(level: &str) -> bool {
    const LOGGER: &str = "simpletuner.cloud.api";
    let directives =
        level.split(',').map(|it| it.trim().split_once('=').unwrap_or(("", it.trim())));
    let of_requests = directives.filter(|(logger, _)| LOGGER.starts_with(logger));
    let narrowest = of_requests.max_by_key(|(logger, _)| logger.len());
    narrowest.is_none_or(|(_, level)| matches!(level, "INFO" | "DEBUG"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_directive_says_whether_requests_are_logged() {
        for (level, expected) in [
            ("INFO", true),
            ("DEBUG", true),
            ("WARNING", false),
            ("WARNING,simpletuner.cloud.api=INFO", true),
            ("INFO,simpletuner=ERROR", false),
            ("INFO,simpletuner=ERROR,simpletuner.cloud.api=DEBUG", true),
            ("INFO,simpletuner.cloud.queue=ERROR", true),
        ] {
            assert_eq!(logs_requests(level), expected, "{level}");
        }
    }
}
