//! Whether the queue is processed, and what holds what waits in it; whether providers are polled, and why.

use jiff::Timestamp;
use st_api::jobs::Explanation;
use st_api::jobs::WaitKind;
use st_api::polling::{self, PollingStatus};
use st_api::providers::{self, ProviderConfig, Providers};
use st_api::queue::{self, Hold, Holds, QueueEntry, QueuePage};
use st_api::system::{self, Task, Tasks};

use super::client::{Refusal, Server};
use super::finding::{Finding, Subject};

const SCHEDULER: &str = "queue_processing";
const POLLER: &str = "job_status_polling";
/// A task is late that has not ended well for so many of its periods, and a minute: as by the alert.
const PERIODS: f64 = 3.0;
const MINUTE: f64 = 60.0;

/// Both, and what else the background tasks say.
pub(super) async fn check(server: &Server, now: Timestamp, findings: &mut Vec<Finding>) {
    let tasks: Tasks = match server.get(system::TASKS.about.path).await {
        Ok(tasks) => tasks,
        Err(refusal) => {
            findings.push(unread(Subject::Queue, "the background tasks", &refusal));
            return;
        }
    };
    let late =
        |name: &str| tasks.tasks.iter().find(|it| it.name == name).and_then(|it| late(it, now));
    findings.extend(polling(server, late(POLLER)).await);
    findings.extend(queue(server, late(SCHEDULER)).await);
    if let Some(damaged) = tasks.damaged.filter(|count| *count > 0) {
        let found = format!("{damaged} jobs are set aside because they cannot be read");
        let remedy = "`st-server integrity` lists them; they take no slot and stop nothing else.";
        findings.push(Finding::warning(Subject::Queue, found, remedy));
    }
}

fn unread(subject: Subject, what: &str, refusal: &Refusal) -> Finding {
    let found = format!("{what} cannot be read: {refusal}");
    Finding::failed(subject, found, "Read the end of the server's log.")
}

/// Why a task counts as late; `None` where it does not.
fn late(task: &Task, now: Timestamp) -> Option<String> {
    let failed = task.last_run.as_ref().and_then(|last| last.error.clone());
    let since = task.last_success_at.as_ref().map(|at| now.duration_since(at.0).as_secs_f64());
    match (since, failed) {
        (_, Some(error)) => Some(format!("its last run failed: {error}")),
        (Some(since), None) if since > PERIODS * task.period_seconds + MINUTE => {
            Some(format!("it last ended well {since:.0} seconds ago"))
        }
        (Some(_) | None, None) => None,
    }
}

async fn polling(server: &Server, late: Option<String>) -> Vec<Finding> {
    let status: PollingStatus = match server.get(polling::STATUS.about.path).await {
        Ok(status) => status,
        Err(refusal) => return vec![unread(Subject::Polling, "the state of polling", &refusal)],
    };
    let mut findings = Vec::new();
    if let Some(late) = late {
        let found = format!("the statuses of jobs are not up to date: {late}");
        let remedy = "The log of simpletuner.cloud.background names the reason.";
        findings.push(Finding::failed(Subject::Polling, found, remedy));
    }
    let PollingStatus { is_active, interval_seconds, reason, preference } = status;
    if is_active {
        let found = format!("polling is on, every {interval_seconds} s: {reason}");
        findings.push(Finding::ok(Subject::Polling, found));
    } else if preference == Some(false) {
        findings.extend(switched_off(server, &reason).await);
    } else {
        let found = format!("polling is off but for a sweep every 10 minutes: {reason}");
        findings.push(Finding::ok(Subject::Polling, found));
    }
    findings
}

/// Polling was switched off by a person, which leaves providers without webhooks unwatched.
async fn switched_off(server: &Server, reason: &str) -> Vec<Finding> {
    let providers: Providers = match server.get(providers::LIST.about.path).await {
        Ok(providers) => providers,
        Err(refusal) => return vec![unread(Subject::Polling, "the providers", &refusal)],
    };
    let mut unwatched = Vec::new();
    for provider in providers.providers.iter().filter(|it| it.configured) {
        let path = providers::CONFIG.about.path.replace("{provider}", &provider.id);
        match server.get::<ProviderConfig>(&path).await {
            Ok(config) if config.config.contains_key("webhook_url") => {}
            Ok(_) => unwatched.push(provider.id.as_str()),
            Err(refusal) => return vec![unread(Subject::Polling, "the settings", &refusal)],
        }
    }
    if unwatched.is_empty() {
        let found = format!("polling is off: {reason}; webhooks report every provider");
        return vec![Finding::ok(Subject::Polling, found)];
    }
    let found = format!("polling is off and {} has no webhook: {reason}", unwatched.join(", "));
    let remedy = "PUT /api/cloud/polling/setting with {\"enabled\": null} does again what the \
                  configuration says.";
    vec![Finding::warning(Subject::Polling, found, remedy)]
}

async fn queue(server: &Server, late: Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(late) = late {
        let found = format!("the queue is not processed: {late}");
        let remedy = "The log of simpletuner.cloud.background and simpletuner.cloud.queue names the \
                      reason.";
        findings.push(Finding::failed(Subject::Queue, found, remedy));
    }
    match server.get::<Holds>(queue::HOLDS.about.path).await {
        Ok(holds) => findings.extend(holds.holds.iter().map(held)),
        Err(refusal) => findings.push(unread(Subject::Queue, "the holds", &refusal)),
    }
    let is_processed = findings.is_empty();
    findings.push(waiting(server, is_processed).await);
    findings
}

/// A hold is intended, and easily forgotten.
fn held(hold: &Hold) -> Finding {
    let scope = hold.scope.as_str();
    let (id, field) = match &hold.id {
        Some(id) => (format!(" {id}"), format!(", \"id\": \"{id}\"")),
        None => (String::new(), String::new()),
    };
    let reason = hold.reason.as_deref().map_or_else(String::new, |it| format!(" ({it})"));
    let what = if hold.id.is_none() { "the queue".to_owned() } else { format!("{scope}{id}") };
    let found = format!("{what} is paused by {} since {}{reason}", hold.by, hold.since);
    let remedy = format!("POST /api/queue/resume with {{\"scope\": \"{scope}\"{field}}} ends it.");
    Finding::warning(Subject::Queue, found, remedy)
}

/// How many jobs wait, and what for in the case of the first. `is_processed`: nothing was found to stop it.
async fn waiting(server: &Server, is_processed: bool) -> Finding {
    let page = |status: &str| format!("{}?status={status}&limit=1", queue::LIST.about.path);
    let page: QueuePage = match server.get(&page("pending")).await {
        Ok(page) => page,
        Err(refusal) => return unread(Subject::Queue, "the queue", &refusal),
    };
    let counts = format!("{} jobs have a slot, {} wait", page.total_running, page.total_pending);
    let summary = || if is_processed { format!("is processed: {counts}") } else { counts.clone() };
    let Some(QueueEntry { job_id, .. }) = page.entries.first() else {
        return Finding::ok(Subject::Queue, summary());
    };
    let path = st_api::jobs::EXPLAIN.about.path.replace("{job}", job_id);
    match server.get::<Explanation>(&path).await {
        Ok(explanation) => explained(&counts, job_id, &explanation),
        // It may be over by now.
        Err(Refusal::Status { status: 404, .. }) => Finding::ok(Subject::Queue, summary()),
        Err(refusal) => unread(Subject::Queue, "what the first job waits for", &refusal),
    }
}

fn explained(counts: &str, job_id: &str, explanation: &Explanation) -> Finding {
    let Explanation { summary, next_step, waiting_for, .. } = explanation;
    let found = format!("{counts}; the first, {job_id}: {summary}");
    let next = next_step.clone().unwrap_or_else(|| "GET its /explain once more.".to_owned());
    match waiting_for.as_ref().map(|it| it.kind) {
        // These do not end by themselves.
        Some(WaitKind::Provider | WaitKind::Hold | WaitKind::Budget | WaitKind::Gate) => {
            Finding::warning(Subject::Queue, found, next)
        }
        Some(_) | None => Finding::ok(Subject::Queue, found),
    }
}
