//! Reads the configuration again at SIGHUP: what may change takes effect all at once, and when anything
//! is wrong, nothing changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use st_log::{Chain, LogHandle, Logger, get_logger};
use st_workers::BackgroundTasks;
use tokio::sync::Notify;

use crate::config::{Access, Changes, Config, Faults, SettledOrigin};
use crate::http::front::{Front, Live};
use crate::http::listen::tls::{self, TlsError};
use crate::http::peer::TrustedProxies;
use crate::http::site::Names;
use crate::service_manager;

const LOG: Logger = get_logger("simpletuner.cloud.server");

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("reading it panicked")]
    Panicked,
}

/// The front as it is configured. Reads the files of TLS.
pub(crate) fn live(access: &Access) -> Result<Live, TlsError> {
    Ok(Live {
        names: Names::new(access.hosts.iter().cloned()),
        proxies: TrustedProxies::new(access.trusted_proxies.clone()),
        connections_per_address: access.connections_per_address,
        tls: access.tls.as_ref().map(tls::read).transpose()?,
    })
}

/// The configuration that a reload has read, before it is applied.
struct Read {
    config: Config,
    live: Live,
    /// What a restart would read instead.
    other_file: Option<PathBuf>,
}

/// What is reloaded, and into what.
#[derive(Debug)]
pub(crate) struct Reload {
    pub(crate) origin: SettledOrigin,
    /// As it is in effect.
    pub(crate) config: Config,
    pub(crate) front: Arc<Front>,
    pub(crate) background: Arc<BackgroundTasks>,
    pub(crate) log: LogHandle,
}

impl Reload {
    /// Reloads whenever it is asked to.
    pub(crate) async fn follow(mut self, asked: Arc<Notify>) -> Infallible {
        loop {
            asked.notified().await;
            service_manager::reloading();
            let fault = self.once().await.err();
            service_manager::reloaded(fault.as_deref());
        }
    }

    /// Fails with what is wrong, which is in the log by then.
    async fn once(&mut self) -> Result<(), String> {
        match self.read().await {
            Ok(read) => {
                self.apply(read);
                Ok(())
            }
            Err(error) => {
                let fault = format!("The configuration was not reloaded: {}", Chain(&error));
                st_log::error!(
                    logger: LOG, error,
                    "Configuration could not be reloaded, nothing was changed"
                );
                Err(fault)
            }
        }
    }

    /// Reads files, which may take time.
    async fn read(&self) -> Result<Read, ReloadError> {
        let origin = self.origin.clone();
        let read = st_log::spawn_blocking(move || {
            let config = origin.read()?;
            let live = live(&config.access)?;
            Ok(Read { config, live, other_file: origin.other_file() })
        });
        read.await.map_err(|_panic| ReloadError::Panicked)?
    }

    fn apply(&mut self, Read { config, live, other_file }: Read) {
        let Changes { reloaded, need_restart } = self.config.changes(&config);
        // Also without a change: the files of TLS may have another content.
        self.front.replace(live);
        self.background.set_polling(config.background.polling);
        // Without one, what was set over HTTP stays.
        if config.log.level != self.config.log.level {
            self.log.set_level(config.log.level.clone());
        }
        self.config.adopt(config);
        st_log::info!(logger: LOG, changed = names(&reloaded), "Configuration reloaded");
        if !need_restart.is_empty() {
            st_log::warning!(
                logger: LOG, settings = names(&need_restart),
                "Changed settings take effect only after a restart"
            );
        }
        if let Some(other) = other_file {
            st_log::warning!(
                logger: LOG, config_file = other.display().to_string(),
                "Another configuration file is read only after a restart"
            );
        }
    }
}

fn names(settings: &BTreeSet<String>) -> String {
    if settings.is_empty() {
        return "nothing".to_owned();
    }
    settings.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
