//! Whether callers need a key.

use std::sync::Arc;
use std::time::Duration;

use st_store::{Error, Store};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{LOG, Reach};

/// How often a first key that another process made is looked for. It must be noticed within two seconds.
const AGAIN: Duration = Duration::from_secs(1);

/// While no key was ever made and the server listens on loopback only, callers need none.
///
/// A task looks for a first key, not the requests: after a quiet hour those that arrive together would all
/// be let in while the first of them still looks.
#[derive(Debug)]
pub(super) struct Mode {
    /// Whether a key is needed. That is never undone.
    needs_key: watch::Sender<bool>,
    /// Ends the task that looks for a first key.
    _looking: DropGuard,
}

impl Mode {
    /// `has_keys`: whether a key was ever made.
    pub(super) fn start(store: Arc<dyn Store>, reach: Reach, has_keys: bool) -> Self {
        let needs_key = watch::Sender::new(has_keys || reach == Reach::Network);
        let stop = CancellationToken::new();
        let mode = Self { needs_key: needs_key.clone(), _looking: stop.clone().drop_guard() };
        if mode.is_single_user() {
            drop(st_log::spawn(async move {
                stop.run_until_cancelled(look_for_key(store, needs_key)).await;
            }));
        }
        mode
    }

    /// Whether every request is the local administrator's.
    pub(super) fn is_single_user(&self) -> bool {
        !*self.needs_key.borrow()
    }

    /// From now on a key is needed.
    pub(super) fn note_key_made(&self) {
        self.needs_key.send_replace(true);
    }

    /// Returns when a key is needed.
    pub(super) fn needs_key(&self) -> impl Future<Output = ()> + use<> {
        let mut needs_key = self.needs_key.subscribe();
        async move {
            // Without a sender nobody is let in any more.
            drop(needs_key.wait_for(|needed| *needed).await);
        }
    }
}

async fn look_for_key(store: Arc<dyn Store>, needs_key: watch::Sender<bool>) {
    loop {
        sleep(AGAIN).await;
        match store.has_keys().await {
            Ok(true) => {
                needs_key.send_replace(true);
                return;
            }
            Err(Error::Closed) => return,
            Ok(false) => {}
            Err(error) => {
                st_log::debug!(logger: LOG, error, "Whether there is a key could not be read");
            }
        }
    }
}
