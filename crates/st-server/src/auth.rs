//! Who a request is from, and what that caller may do.
//!
//! One middleware, [`guard`], runs before every handler: it finds the caller by a key or a session,
//! asks the one table of [`access`] whether the caller may do it, and records what was done. Handlers get
//! the [`Caller`] and decide nothing but what depends on the object, again by functions of `access`.
//!
//! While no key was ever made and the server listens on loopback only, every request is the local
//! administrator's.

pub(crate) mod access;
mod caller;
mod cookie;
mod failures;
mod guard;
pub(crate) mod key;
mod mode;
mod recorder;
mod session;
mod verified;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use st_log::{Logger, get_logger};
use st_store::{ApiKey, KeyId, NewAudit, Store};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::peer::Peer;
use crate::http::problem::Problem;
use failures::{Failures, Refusal};
use key::{Presented, SecretHash};
use mode::Mode;
use recorder::Recorder;
use session::{Found, Sessions};
use verified::Verified;

pub(crate) use caller::{Caller, Via};
pub(crate) use cookie::{ended_cookie, session_cookie};
pub(crate) use guard::guard;
pub(crate) use recorder::PATIENCE as RECORDING_PATIENCE;
pub(crate) use session::{LIFETIME, Opened};

const LOG: Logger = get_logger("simpletuner.cloud.auth");

/// How long changes that are under way may take when the server stops.
const FINISH: Duration = Duration::from_secs(2);

/// From where the server can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// From this machine only.
    Loopback,
    /// From others too.
    Network,
}

impl Reach {
    /// That of a server that listens on this address.
    pub(crate) fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_loopback() { Self::Loopback } else { Self::Network }
    }
}

/// Everything that authentication knows. Shared by the middleware and the handlers about keys.
#[derive(Debug)]
pub(crate) struct Auth {
    store: Arc<dyn Store>,
    mode: Mode,
    verified: Verified,
    sessions: Sessions,
    failures: Arc<Failures>,
    recorder: Recorder,
    /// Changes with every revocation.
    revocations: watch::Sender<()>,
    /// Requests that may change something. They go on without their clients.
    under_way: TaskTracker,
    /// Those that are under way end now.
    cut: CancellationToken,
}

impl Auth {
    /// `has_keys`: whether a key was ever made.
    pub(crate) fn start(store: Arc<dyn Store>, reach: Reach, has_keys: bool) -> Arc<Self> {
        let mode = Mode::start(Arc::clone(&store), reach, has_keys);
        let failures = Arc::<Failures>::default();
        Arc::new(Self {
            recorder: Recorder::start(Arc::clone(&store), Arc::clone(&failures)),
            store,
            mode,
            verified: Verified::default(),
            sessions: Sessions::default(),
            failures,
            revocations: watch::Sender::new(()),
            under_way: TaskTracker::new(),
            cut: CancellationToken::new(),
        })
    }

    /// Lets changes that are under way finish, and writes what is still to be recorded. Nothing is recorded
    /// after this.
    pub(crate) async fn close(&self) {
        self.under_way.close();
        if timeout(FINISH, self.under_way.wait()).await.is_err() {
            self.cut.cancel();
            // Each still records that its outcome is not known.
            drop(timeout(recorder::PATIENCE + FINISH, self.under_way.wait()).await);
        }
        self.recorder.close().await;
    }

    /// Whether every request is the local administrator's.
    pub(crate) fn is_single_user(&self) -> bool {
        self.mode.is_single_user()
    }

    /// From now on a key is needed.
    pub(crate) fn note_key_made(&self) {
        self.mode.note_key_made();
    }

    /// Makes a revocation count at once: for the next request, and for streams that are open.
    pub(crate) fn note_revoked(&self, id: &KeyId) {
        self.verified.forget(id);
        self.revocations.send_replace(());
    }

    /// How many addresses and keys wrong sign-ins are counted for.
    pub(crate) fn tracked_clients(&self) -> usize {
        self.failures.tracked()
    }

    /// Remembers an operation. Returns when that is stored.
    pub(crate) async fn record(&self, entry: NewAudit) {
        self.recorder.record(entry).await;
    }

    /// Finds the caller of a request by what it shows; `None` where it shows nothing.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Option<Caller>, Problem> {
        if self.is_single_user() {
            return Ok(Some(Caller::local()));
        }
        if let Some(text) = presented(headers) {
            let presented = self.sign_in(text, peer).await?;
            return Ok(Some(Caller::of(&presented.0, Via::Key(presented.1))));
        }
        let Some(token) = cookie::session(headers, peer.is_some_and(|peer| peer.is_secure)) else {
            return Ok(None);
        };
        // A session that is over is as good as none: the person signs in again.
        let Some(Found { key: presented, csrf }) = self.sessions.find(token) else {
            return Ok(None);
        };
        let key = self.verify(&presented).await?;
        Ok(key.map(|key| Caller::of(&key, Via::Session { key: presented, csrf })))
    }

    /// The key that a text is, if it is valid now. A wrong one is slowed, counted and logged.
    async fn sign_in(
        &self,
        text: &str,
        peer: Option<Peer>,
    ) -> Result<(Arc<ApiKey>, Presented), Problem> {
        let address = peer.map(|peer| peer.address);
        let presented = Presented::parse(text);
        if let Some(presented) = &presented {
            if let Some(key) = self.verified.find(presented) {
                if let Some(key) = self.usable(key) {
                    return Ok((key, presented.clone()));
                }
            } else if self.failures.is_full(address) {
                // Not even looked up, so that guessing costs the database nothing.
                return Err(Problem::too_many_attempts());
            } else if let Some(key) = self.verify(presented).await? {
                return Ok((key, presented.clone()));
            }
        }
        let id = presented.map(|presented| presented.id);
        Err(self.slow_down(address, id).await)
    }

    /// Waits longer with each failure, and says nothing about what was wrong.
    async fn slow_down(&self, address: Option<IpAddr>, id: Option<KeyId>) -> Problem {
        self.failures.report(&Refusal {
            operation: "auth.failed",
            status: 401,
            peer: address,
            actor: None,
            key: id.clone(),
        });
        let Some(waiting) = self.failures.wait(address, id) else {
            return Problem::too_many_attempts();
        };
        sleep(waiting.delay).await;
        Problem::unauthenticated()
    }

    /// The stored key, if it is this one and valid now. What was found a moment ago is not read again.
    async fn verify(&self, presented: &Presented) -> Result<Option<Arc<ApiKey>>, Problem> {
        if let Some(key) = self.verified.find(presented) {
            return Ok(self.usable(key));
        }
        let generation = self.verified.generation();
        let stored = self.store.find_key(&presented.id).await?;
        // Compared also where there is no such key.
        let other = SecretHash::default();
        let hash = stored.as_ref().map_or(other.as_bytes(), |stored| stored.hash.as_bytes());
        let same: bool = hash.ct_eq(presented.hash.as_bytes()).into();
        let Some(stored) = stored.filter(|_| same) else { return Ok(None) };
        let key = Arc::new(stored.key);
        self.verified.insert(presented, &key, generation);
        Ok(self.usable(key))
    }

    fn usable(&self, key: Arc<ApiKey>) -> Option<Arc<ApiKey>> {
        let valid = key.is_valid_at(self.store.now());
        if valid {
            self.recorder.note_use(&key.key.id);
        }
        valid.then_some(key)
    }

    /// Opens a session for the user of this key.
    pub(crate) async fn open_session(
        &self,
        text: &str,
        peer: Option<Peer>,
    ) -> Result<(Caller, Opened), Problem> {
        let (key, presented) = self.sign_in(text, peer).await?;
        let opened = self.sessions.open(presented.clone()).map_err(|error| {
            // Without randomness there are no secrets.
            Problem::internal().caused_by(error)
        })?;
        Ok((Caller::of(&key, Via::Key(presented)), opened))
    }

    /// Ends the session that a request shows.
    pub(crate) fn end_session(&self, headers: &HeaderMap, peer: Option<Peer>) {
        if let Some(token) = cookie::session(headers, peer.is_some_and(|peer| peer.is_secure)) {
            self.sessions.end(token);
        }
        self.revocations.send_replace(());
    }
}

/// The key that the headers show, empty where it cannot be read; `None` where they show none. The first
/// form counts.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    // Another scheme is for a proxy on the way.
    let bearer = bearer.and_then(|value| {
        let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer
        .or_else(|| headers.get("x-api-key").map(|value| value.to_str().unwrap_or_default().trim()))
}

#[cfg(test)]
mod tests;
