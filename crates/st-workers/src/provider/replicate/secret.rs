//! The secret of the account's webhooks, asked for where the configuration has none.

use std::time::Duration;

use http::Method;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};

use super::access::Held;
use super::classify::{Subject, answered, unreadable};
use super::fields::{pick, read};
use super::row::WORD;
use super::{Purpose, Replicate};
use crate::provider::excerpt::{Keep, Shape};
use crate::provider::{QueryError, WebhookSecret};

const SECRET: Shape = WORD.or_members(&[("key", Shape::text(Keep::Whole(1024)))]);
/// How long it is not asked for again: a stranger who sends bad signatures costs no more calls than that.
const AGAIN: Duration = Duration::from_secs(30);
/// The provider waits for an answer meanwhile.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is known of the secret of one account.
#[derive(Debug, Default)]
pub(super) struct FetchedSecret {
    /// Guards what is known; held during a call, so that all who wait for the answer share it.
    state: AsyncMutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secret: Option<WebhookSecret>,
    asked_at: Option<Instant>,
    /// Why the last question was not answered.
    failure: Option<String>,
}

/// Why a secret is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The one that is known will do.
    Any,
    /// The one that is known did not match: the account may have another one by now.
    Newer,
}

impl FetchedSecret {
    /// The secret, or why it is not known.
    pub(super) async fn get(
        &self,
        provider: &Replicate,
        held: &Held,
        wish: Wish,
    ) -> Result<WebhookSecret, String> {
        let mut state = self.state.lock().await;
        let is_recent = state.asked_at.is_some_and(|at| at.elapsed() < AGAIN);
        let will_do = wish == Wish::Any && state.secret.is_some();
        if !is_recent && !will_do {
            state.asked_at = Some(Instant::now());
            match timeout(DEADLINE, fetch(provider, held)).await {
                Ok(Ok(secret)) => (state.secret, state.failure) = (Some(secret), None),
                Ok(Err(error)) => state.failure = Some(st_log::Chain(&error).to_string()),
                Err(_elapsed) => {
                    state.failure = Some(format!("replicate did not answer within {DEADLINE:?}"));
                }
            }
        }
        state.secret.clone().ok_or_else(|| {
            let failure = state.failure.as_deref().unwrap_or("replicate was not asked for it");
            format!("{failure}; or set providers.replicate.webhook_secret")
        })
    }
}

async fn fetch(provider: &Replicate, held: &Held) -> Result<WebhookSecret, QueryError> {
    let request = held.request(Method::GET, &provider.address.url("/webhooks/default/secret"))?;
    provider.others.turn(Purpose::Other).await;
    let answer = provider.send(request, &provider.others, &SECRET).await;
    let answer = answered(answer, Subject::Account)?;
    let [key] = pick(answer.text(), ["key"]).map_err(unreadable)?;
    let key: String = read(key).ok_or_else(|| unreadable("it has no key"))?;
    WebhookSecret::parse(&key).map_err(unreadable)
}
