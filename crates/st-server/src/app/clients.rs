//! The clients of HTTP: what each is for, and how it differs from what is configured for all.

use std::time::Duration;

use st_http::{AddressPolicy, IpNet};
use st_workers::KeptLogs;
use st_workers::tasks::results::{DownloadConfig, ResultsConfig};
use st_workers::tasks::webhooks::WebhooksConfig;

use super::StartError;
use crate::api;
use crate::config::{Config, DescribedProvider};

/// The folder of kept logs in the state directory.
const RESULTS: &str = "results";
/// So many connections to a described provider are kept: its jobs are polled by single calls.
const POLLED_AT_ONCE: usize = 192;

/// How long the receiver of a webhook may take.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer of one, in bytes. It means nothing.
const WEBHOOK_ANSWER: usize = 64 * 1024;

/// Makes each client as a start does, and lets go of it: whether their files can be used.
pub(crate) fn check(config: &Config) -> Vec<StartError> {
    let described = config.described.iter().filter_map(|(name, provider)| {
        let error = st_http::Client::new(of_described(config, provider)).err()?;
        Some(StartError::Provider { provider: name.to_string(), source: error.into() })
    });
    // What is wrong with what all have is said once.
    let common = results(config).err().or_else(|| webhooks(config).err());
    match common {
        Some(error) => vec![error],
        None => described.collect(),
    }
}

/// How a provider of the configuration file is called.
pub(super) fn of_described(config: &Config, provider: &DescribedProvider) -> st_http::Config {
    let mut http = config.http.clone();
    http.pool_max_idle_per_host = POLLED_AT_ONCE;
    if let Some(ca_file) = provider.description.ca_file() {
        http.ca_bundle = Some(ca_file.to_owned());
    }
    http
}

/// Where results go whose providers delete them.
pub(super) fn results(config: &Config) -> Result<ResultsConfig, StartError> {
    let outputs = &config.outputs;
    // The addresses are those that providers name.
    let public = AddressPolicy::public().through_proxies();
    let addresses = outputs.allowed_networks.iter().fold(public, |it, net| it.allow(*net));
    let http = st_http::Config { addresses, ..config.http.clone() };
    let client = st_http::Client::new(http).map_err(StartError::Downloads)?;
    let downloads = DownloadConfig {
        download: outputs.download,
        dir: outputs.dir.clone(),
        max_bytes: outputs.max_bytes,
        client,
    };
    Ok(ResultsConfig { logs: KeptLogs::new(config.state_dir.join(RESULTS)), downloads })
}

/// Where webhooks may be sent, and how long a receiver may take.
pub(super) fn webhooks(config: &Config) -> Result<WebhooksConfig, StartError> {
    let http = of_receivers(&config.http, &config.webhooks.allowed_networks);
    let client = st_http::Client::new(http).map_err(StartError::Webhooks)?;
    Ok(WebhooksConfig { client, show: api::shown })
}

fn of_receivers(http: &st_http::Config, networks: &[IpNet]) -> st_http::Config {
    let public = AddressPolicy::public().through_proxies();
    st_http::Config {
        addresses: networks.iter().fold(public, |it, net| it.allow(*net)),
        // That the certificates of providers are not checked says nothing about receivers.
        tls_verify: true,
        attempt_timeout: WEBHOOK_TIMEOUT,
        overall_timeout: WEBHOOK_TIMEOUT,
        body_limit: WEBHOOK_ANSWER,
        ..http.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificates_of_receivers_are_checked_whatever_providers_have() {
        let unchecked = st_http::Config { tls_verify: false, ..st_http::Config::default() };
        assert!(of_receivers(&unchecked, &[]).tls_verify);
    }
}
