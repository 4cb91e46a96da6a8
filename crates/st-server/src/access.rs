//! How providers are called, as far as that changes while the server runs: their clients follow their
//! settings, and their tokens can be stored.

mod token_file;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use st_api::input::FieldFault;
use st_api::providers::TokenSource;
use st_http::{Client, Config, HostMetrics, Proxy};
use st_log::{Chain, LogContext, Logger, get_logger};
use st_store::{ProviderName, ProviderSettings, Store};
use st_workers::provider::http::SharedClient;
use st_workers::provider::replicate::{Access as ReplicateAccess, ApiToken, InvalidApiToken};
use tokio::sync::MutexGuard;

use token_file::TokenFile;
pub(crate) use token_file::TokenFileError;

const LOG: Logger = get_logger("simpletuner.cloud.providers");

/// The folder of stored tokens in the state directory.
pub(crate) const TOKENS: &str = "tokens";

/// Why a token is not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The provider has no token that could be stored.
    #[error("provider {0} has no token that can be stored")]
    NoToken(ProviderName),
    /// No request can carry it.
    #[error(transparent)]
    Invalid(#[from] InvalidApiToken),
    /// The file cannot be written or removed.
    #[error(transparent)]
    File(#[from] TokenFileError),
}

/// What of a provider can be changed while it runs.
#[derive(Debug)]
pub(crate) enum Handle {
    /// The client and the token.
    Replicate(Tokened),
    /// The client.
    Described(SharedClient),
}

/// A provider whose token can be stored.
#[derive(Debug)]
pub(crate) struct Tokened {
    access: ReplicateAccess,
    /// The one of the environment or the configuration file.
    configured: Option<ApiToken>,
    file: TokenFile,
    /// Guards whether the token in use is the stored one.
    is_stored: Mutex<bool>,
}

/// A provider and how it is called where its settings say nothing else.
#[derive(Debug)]
struct Link {
    http: Config,
    handle: Handle,
}

/// How providers are called.
#[derive(Debug)]
pub(crate) struct Accesses {
    tokens: PathBuf,
    /// How providers are called that are none of `links`; their settings are checked by it.
    http: Config,
    links: BTreeMap<ProviderName, Link>,
    /// Held while settings and what follows from them are changed, so that both change together.
    changing: tokio::sync::Mutex<()>,
}

impl Accesses {
    /// No providers yet.
    pub(crate) fn new(state_dir: &Path, http: Config) -> Self {
        let (tokens, links) = (state_dir.join(TOKENS), BTreeMap::new());
        Self { tokens, http, links, changing: tokio::sync::Mutex::default() }
    }

    /// Adds a provider with a token, which is the stored one where there is one.
    pub(crate) fn add_tokened(
        &mut self,
        provider: ProviderName,
        http: Config,
        (access, configured): (ReplicateAccess, Option<ApiToken>),
    ) -> Result<(), TokenError> {
        let file = TokenFile::new(self.tokens.join(provider.as_str()));
        let stored = file.read()?.map(|text| ApiToken::parse(&text)).transpose()?;
        let is_stored = Mutex::new(stored.is_some());
        if stored.is_some() {
            access.set_token(stored);
        }
        let handle = Handle::Replicate(Tokened { access, configured, file, is_stored });
        self.links.insert(provider, Link { http, handle });
        Ok(())
    }

    /// Adds a provider whose client can be changed.
    pub(crate) fn add_client(&mut self, provider: ProviderName, http: Config, it: SharedClient) {
        self.links.insert(provider, Link { http, handle: Handle::Described(it) });
    }

    /// The right to change settings and what follows from them.
    pub(crate) async fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Sets up every client as the stored settings say. What cannot be used any more, such as a file
    /// that is gone, is logged and left out: that harms no other provider.
    pub(crate) async fn follow_settings(&self, store: &dyn Store) -> st_store::Result<()> {
        for provider in self.links.keys() {
            let settings = store.provider_settings(provider).await?;
            match self.client(provider, &ProviderSettings::default(), &settings).await {
                Ok(Some(client)) => self.set_client(provider, client),
                Ok(None) => {}
                Err(faults) => {
                    let faults: Vec<String> =
                        faults.iter().map(|it| format!("{}: {}", it.pointer, it.message)).collect();
                    st_log::error!(
                        logger: LOG, provider = provider.as_str(), reason = faults.join("; "),
                        "Settings of a provider's calls cannot be used, it is called without them"
                    );
                }
            }
        }
        Ok(())
    }

    /// The client that calls as the settings say; `None` where it is the one of before.
    pub(crate) async fn client(
        &self,
        provider: &ProviderName,
        before: &ProviderSettings,
        after: &ProviderSettings,
    ) -> Result<Option<Client>, Vec<FieldFault>> {
        if of_calls(before) == of_calls(after) {
            return Ok(None);
        }
        let base = self.links.get(provider).map_or(&self.http, |link| &link.http);
        let http = merged(base, after)?;
        let context = LogContext::new().field("provider", provider.as_str());
        let by_bundle = after.ssl_ca_bundle.is_some();
        // It reads files.
        let made = st_log::spawn_blocking(move || {
            let _in_context = context.enter();
            if by_bundle {
                // A file that cannot be used is a fault also while it is not used.
                Client::new(Config { tls_verify: true, ..http.clone() })?;
            }
            Client::new(http)
        });
        let fault = |message: String| {
            let name = if by_bundle { "ssl_ca_bundle" } else { "http_timeout" };
            vec![FieldFault { pointer: format!("/{name}"), message }]
        };
        match made.await {
            Ok(Ok(client)) => Ok(Some(client)),
            Ok(Err(error)) => Err(fault(Chain(&error).to_string())),
            Err(error) => Err(fault(error.to_string())),
        }
    }

    /// Calls the provider by this client from now on.
    pub(crate) fn set_client(&self, provider: &ProviderName, client: Client) {
        match self.links.get(provider).map(|link| &link.handle) {
            Some(Handle::Replicate(tokened)) => tokened.access.set_client(client),
            Some(Handle::Described(shared)) => shared.set(client),
            None => {}
        }
    }

    /// What was done at each host since the start, or since the settings of the provider changed.
    pub(crate) fn host_metrics(&self) -> Vec<(ProviderName, Vec<HostMetrics>)> {
        let of = |link: &Link| match &link.handle {
            Handle::Replicate(tokened) => tokened.access.client().metrics(),
            Handle::Described(shared) => shared.get().metrics(),
        };
        self.links.iter().map(|(provider, link)| (provider.clone(), of(link))).collect()
    }

    /// Where the token in use comes from; `None` where there is none.
    pub(crate) fn token_source(&self, provider: &ProviderName) -> Option<TokenSource> {
        let tokened = self.tokened(provider).ok()?;
        if *tokened.is_stored.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some(TokenSource::Stored);
        }
        tokened.configured.as_ref().map(|_token| TokenSource::Environment)
    }

    fn tokened(&self, provider: &ProviderName) -> Result<&Tokened, TokenError> {
        match self.links.get(provider).map(|link| &link.handle) {
            Some(Handle::Replicate(tokened)) => Ok(tokened),
            Some(Handle::Described(_)) | None => Err(TokenError::NoToken(provider.clone())),
        }
    }

    /// Stores a token and uses it from now on, also after a restart.
    pub(crate) async fn store_token(
        &self,
        provider: &ProviderName,
        text: &str,
    ) -> Result<(), TokenError> {
        let tokened = self.tokened(provider)?;
        let token = ApiToken::parse(text)?;
        let _turn = self.changing().await;
        tokened.file.write(token.secret().to_owned()).await?;
        tokened.access.set_token(Some(token));
        *tokened.is_stored.lock().unwrap_or_else(PoisonError::into_inner) = true;
        st_log::info!(
            logger: LOG, provider = provider.as_str(), "Token of a provider was stored"
        );
        Ok(())
    }

    /// Removes the stored token; the configured one is used from now on, if there is one.
    pub(crate) async fn remove_token(&self, provider: &ProviderName) -> Result<(), TokenError> {
        let tokened = self.tokened(provider)?;
        let _turn = self.changing().await;
        tokened.file.remove().await?;
        tokened.access.set_token(tokened.configured.clone());
        *tokened.is_stored.lock().unwrap_or_else(PoisonError::into_inner) = false;
        st_log::info!(
            logger: LOG, provider = provider.as_str(), "Stored token of a provider was removed"
        );
        Ok(())
    }
}

/// What of the settings decides how the provider is called.
fn of_calls(settings: &ProviderSettings) -> impl PartialEq {
    (
        settings.ssl_verify,
        settings.ssl_ca_bundle.clone(),
        settings.proxy_url.clone(),
        settings.http_timeout,
    )
}

fn merged(base: &Config, settings: &ProviderSettings) -> Result<Config, Vec<FieldFault>> {
    let mut http = base.clone();
    if let Some(timeout) = settings.http_timeout {
        http.overall_timeout = timeout;
        http.attempt_timeout = Config::default().attempt_timeout.min(timeout);
    }
    if let Some(verify) = settings.ssl_verify {
        http.tls_verify = verify;
    }
    if let Some(path) = &settings.ssl_ca_bundle {
        http.ca_bundle = Some(PathBuf::from(path));
    }
    if let Some(text) = &settings.proxy_url {
        let proxy = proxy(text)
            .map_err(|message| vec![FieldFault { pointer: "/proxy_url".to_owned(), message }])?;
        http.proxies = http.proxies.through(&proxy);
    }
    Ok(http)
}

/// A proxy without a password: the settings are stored in the database and shown to clients.
pub(crate) fn proxy(text: &str) -> Result<Proxy, String> {
    let proxy = Proxy::parse(text).map_err(|error| error.to_string())?;
    if text.contains('@') {
        let legal =
            "may have no user name and password; set HTTPS_PROXY for a proxy that needs them";
        return Err(legal.to_owned());
    }
    Ok(proxy)
}

#[cfg(test)]
mod tests;
