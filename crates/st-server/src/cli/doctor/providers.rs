//! Each provider: that it is reached with this credential, is given submissions, and has our time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use jiff::fmt::rfc2822::DateTimeParser;
use st_api::providers::{self, Provider as Listed, Providers, Validation};
use st_log::Chain;
use st_store::{Clock, ProviderName, SystemClock};
use st_workers::provider::{Cause, Provider, QueryError};

use super::client::{PROVIDER_PATIENCE, Refusal, Server};
use super::finding::{Finding, Subject};
use crate::access::Accesses;
use crate::api::{LOCAL, REPLICATE};
use crate::app::{self, StartError};
use crate::config::Config;

/// Beyond this the clock is wrong enough to say so.
const OFF: SignedDuration = SignedDuration::from_secs(30);
/// Beyond this webhooks are refused.
const FAR_OFF: SignedDuration = SignedDuration::from_mins(5);

/// How long a provider may take to say what time it is.
const CLOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Of a `Date` in the form that servers send.
const DATES: DateTimeParser = DateTimeParser::new();

/// Where a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    name: String,
    base_url: String,
}

/// As the running server sees them. Returns where they are.
pub(super) async fn check_by_server(server: &Server, findings: &mut Vec<Finding>) -> Vec<Place> {
    let listed: Providers = match server.get(providers::LIST.about.path).await {
        Ok(listed) => listed,
        Err(refusal) => {
            let found = format!("the providers cannot be listed: {refusal}");
            let remedy = "Read the end of the server's log.";
            findings.push(Finding::failed(Subject::Provider, found, remedy));
            return Vec::new();
        }
    };
    let judged = listed.providers.iter().map(|provider| judge(server, provider));
    let mut places = Vec::new();
    for (provider, (found, is_reached)) in listed.providers.iter().zip(join_all(judged).await) {
        findings.extend(found);
        let account = provider.account.as_ref().filter(|_| is_reached && provider.id != LOCAL.id);
        places.extend(account.map(|account| Place {
            name: provider.id.clone(),
            base_url: account.base_url.clone(),
        }));
    }
    places
}

/// What is wrong with it, and whether it answers.
async fn judge(server: &Server, provider: &Listed) -> (Vec<Finding>, bool) {
    let Listed { id, configured, strays, unsettled, .. } = provider;
    let mut findings = Vec::new();
    let mut is_reached = *configured;
    if *configured {
        let asked = if id == LOCAL.id { None } else { Some(validated(server, id).await) };
        is_reached = asked.as_ref().is_none_or(|it| it.is_reached);
        let is_usable = asked.as_ref().is_none_or(|it| it.finding.remedy().is_none());
        findings.extend(asked.map(|it| it.finding));
        // That a provider which is not reached is given nothing is no second fault.
        if is_usable {
            findings.extend(gate(provider));
        }
    } else if id == REPLICATE.id {
        let found = "replicate has no token and is not used";
        findings.push(Finding::ok(Subject::Provider, found));
    } else {
        let found = format!("{id} has jobs and is not configured");
        let remedy = "Describe it in the configuration again, or resolve its jobs.";
        findings.push(Finding::warning(Subject::Provider, found, remedy));
    }
    if *strays > 0 {
        let found = format!("{strays} jobs run at {id} once too often and are being cancelled");
        let remedy = "When that lasts, end them there by hand; the log names them.";
        findings.push(Finding::warning(Subject::Provider, found, remedy));
    }
    if *unsettled > 0 {
        let found = format!("the outcome of {unsettled} submissions to {id} is unknown");
        let remedy = "GET /api/cloud/jobs/ID/explain says what is missing; POST \
                      /api/cloud/jobs/ID/resolve decides it.";
        findings.push(Finding::warning(Subject::Provider, found, remedy));
    }
    (findings, is_reached)
}

/// What came of a question to a provider.
#[derive(Debug)]
struct Asked {
    finding: Finding,
    /// Whether it answered, be it with a refusal.
    is_reached: bool,
}

/// Whether the server reaches the provider, with the credential that the server has.
async fn validated(server: &Server, id: &str) -> Asked {
    let path = providers::VALIDATE.about.path.replace("{provider}", id);
    match server.get_within::<Validation>(&path, PROVIDER_PATIENCE).await {
        Ok(Validation { valid: true, user_info, .. }) => {
            let name = user_info.map_or_else(String::new, |it| it.username);
            accepted(id, &name)
        }
        Ok(Validation { error, .. }) => {
            refused_credential(id, &error.unwrap_or_else(|| "no reason is given".to_owned()))
        }
        Err(Refusal::Status { detail, .. }) => unreachable(id, &detail),
        Err(refusal) => unreachable(id, &refusal.to_string()),
    }
}

fn accepted(id: &str, account: &str) -> Asked {
    let of = if account.is_empty() { String::new() } else { format!(" of {account}") };
    let found = format!("{id} is reached and accepts the credential{of}");
    Asked { finding: Finding::ok(Subject::Provider, found), is_reached: true }
}

fn refused_credential(id: &str, why: &str) -> Asked {
    let found = format!("{id} does not accept the credential: {why}");
    let remedy = if id == REPLICATE.id {
        "Store a valid token with PUT /api/cloud/providers/replicate/token, or set \
         REPLICATE_API_TOKEN and restart the server."
    } else {
        "Correct the credential that the description names; see docs/providers.md."
    };
    Asked { finding: Finding::failed(Subject::Provider, found, remedy), is_reached: true }
}

fn unreachable(id: &str, why: &str) -> Asked {
    // What comes of a provider mostly names it.
    let found =
        if why.starts_with(id) { why.to_owned() } else { format!("{id} is not reached: {why}") };
    let remedy = "Check the network, the proxy (HTTPS_PROXY), the address and, where a certificate \
                  is refused, SIMPLETUNER_CA_BUNDLE. Jobs wait meanwhile; nothing is lost.";
    Asked { finding: Finding::failed(Subject::Provider, found, remedy), is_reached: false }
}

/// Whether the provider is given submissions.
fn gate(provider: &Listed) -> Option<Finding> {
    let gate = provider.gate.as_ref().filter(|gate| !gate.open)?;
    let cause = gate.cause.as_deref().unwrap_or("unknown");
    if cause == "start" {
        return None;
    }
    let reason = gate.reason.as_deref().unwrap_or("no reason is given");
    let found = format!("{} is given no submissions ({cause}): {reason}", provider.id);
    let remedy = format!(
        "The table of causes in docs/operation.md says who has to act; POST \
         /api/cloud/providers/{}/retry tries it immediately.",
        provider.id
    );
    Some(Finding::warning(Subject::Provider, found, remedy))
}

/// As this program sees them, where no server runs.
pub(super) async fn check_alone(config: &Config, findings: &mut Vec<Finding>) -> Vec<Place> {
    let built = match remote(config) {
        Ok(built) => built,
        Err(error) => {
            let found = Chain(&error).to_string();
            let remedy = "A start fails for the same reason: correct the provider's settings.";
            findings.push(Finding::failed(Subject::Provider, found, remedy));
            return Vec::new();
        }
    };
    let (usable, others): (Vec<_>, Vec<_>) = built.into_iter().partition(|it| it.is_configured());
    findings.extend(others.iter().map(|provider| {
        let found = format!("{} has no credential and is not used", provider.name());
        Finding::ok(Subject::Provider, found)
    }));
    let mut places = Vec::new();
    let answers = join_all(usable.iter().map(|it| asked(it.as_ref()))).await;
    for (provider, Asked { finding, is_reached }) in usable.iter().zip(answers) {
        findings.push(finding);
        let account = provider.account().filter(|_| is_reached);
        places.extend(account.map(|account| Place {
            name: provider.name().to_string(),
            // Behind it are fingerprints of what else the requests are addressed with.
            base_url: account.base_url().split('?').next().unwrap_or_default().to_owned(),
        }));
    }
    places
}

/// The providers elsewhere. The one of this machine is left out: setting it up may write a file.
fn remote(config: &Config) -> Result<Vec<Arc<dyn Provider>>, StartError> {
    let mut accesses = Accesses::new(&config.state_dir, config.http.clone());
    let mut providers: Vec<Arc<dyn Provider>> =
        vec![Arc::new(app::replicate(config, &mut accesses)?)];
    for (name, described) in &config.described {
        providers.push(Arc::new(app::described(config, name, described, &mut accesses)?));
    }
    Ok(providers)
}

async fn asked(provider: &dyn Provider) -> Asked {
    let id = provider.name().as_str();
    match provider.validate().await {
        Ok(account) => accepted(id, &account.username),
        Err(QueryError::Unavailable(refusal)) if refusal.cause == Cause::Credentials => {
            refused_credential(id, &refusal.chain())
        }
        Err(error @ (QueryError::Unavailable(_) | QueryError::NotFound)) => {
            unreachable(id, &Chain(&error).to_string())
        }
    }
}

/// How far our clock is from that of each provider, by the `Date` of any answer of it. One that does not
/// answer is another finding.
pub(super) async fn clocks(config: &Config, places: &[Place]) -> Vec<Finding> {
    let offsets = join_all(places.iter().map(|place| offset(config, place))).await;
    let known = places.iter().zip(offsets).filter_map(|(place, it)| Some((place, it?)));
    known.map(|(place, offset)| judge_offset(&place.name, offset)).collect()
}

async fn offset(config: &Config, place: &Place) -> Option<SignedDuration> {
    let mut http = config.http.clone();
    let described = config.described.get(&ProviderName::new(place.name.as_str()));
    if let Some(ca_file) = described.and_then(|it| it.description.ca_file()) {
        http.ca_bundle = Some(ca_file.to_owned());
    }
    let client = st_http::Client::new(http).ok()?;
    let response = client.head(&place.base_url).timeout(CLOCK_PATIENCE).send().await.ok()?;
    let date = response.headers().get(http::header::DATE)?.to_str().ok()?;
    let theirs = DATES.parse_timestamp(date).ok()?;
    Some(SystemClock.wall().duration_since(theirs))
}

fn judge_offset(name: &str, offset: SignedDuration) -> Finding {
    let seconds = offset.as_secs();
    let direction = if seconds < 0 { "behind" } else { "ahead of" };
    let found = format!("our clock is {} s {direction} that of {name}", seconds.unsigned_abs());
    let remedy =
        "Synchronize this machine's clock (`timedatectl`), and check that of the provider.";
    if offset.abs() > FAR_OFF {
        let found = format!("{found}; webhooks are refused beyond 300 s");
        Finding::failed(Subject::Clock, found, remedy)
    } else if offset.abs() > OFF {
        Finding::warning(Subject::Clock, found, remedy)
    } else {
        Finding::ok(Subject::Clock, format!("our clock agrees with that of {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_clock_is_judged_in_both_directions() {
        for (seconds, expected, words) in [
            (2, Level::Ok, "agrees with"),
            (-30, Level::Ok, "agrees with"),
            (31, Level::Warning, "31 s ahead of"),
            (-300, Level::Warning, "300 s behind"),
            (-301, Level::Failed, "301 s behind"),
            (7200, Level::Failed, "7200 s ahead of"),
        ] {
            let finding = judge_offset("replicate", SignedDuration::from_secs(seconds));
            assert_eq!(finding.level(), expected, "{seconds}");
            assert!(finding.found.contains(words), "{}", finding.found);
        }
    }
}
