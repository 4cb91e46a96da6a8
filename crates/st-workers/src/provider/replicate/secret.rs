//! The secret of the account's webhooks, asked for where the configuration has none.
//!
//! A stranger decides when it is asked for and when the request ends that needs it. So the question runs by
//! itself: no request ends it, and one that can be verified with what is known waits for no question.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use st_http::Request;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::access::Held;
use super::classify::{Subject, answered, unreadable};
use super::fields::{pick, read};
use super::row::WORD;
use super::{Purpose, Replicate, send};
use crate::provider::excerpt::{Keep, Shape};
use crate::provider::rate::CallBudget;
use crate::provider::server_time::ServerTime;
use crate::provider::{QueryError, WebhookSecret};

const SECRET: Shape = WORD.or_members(&[("key", Shape::text(Keep::Whole(1024)))]);
/// How long after an answer it is not asked for again: a stranger who sends bad signatures costs no more
/// calls than that.
const AGAIN: Duration = Duration::from_secs(30);
/// The provider waits for an answer meanwhile.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is known of the secret of one account.
#[derive(Debug, Default)]
pub(super) struct FetchedSecret {
    /// Guards what is known; never held during a call.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    secret: Option<WebhookSecret>,
    /// When the last question ended.
    asked_at: Option<Instant>,
    /// Why the last question was not answered.
    failure: Option<String>,
    /// Closed as soon as the question ends that was begun last.
    question: Option<watch::Receiver<()>>,
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
        if let Some(mut question) = self.question(provider, held, wish) {
            while question.changed().await.is_ok() {}
        }
        let state = lock(&self.state);
        state.secret.clone().ok_or_else(|| {
            let failure = state.failure.as_deref().unwrap_or("replicate was not asked for it");
            format!("{failure}; or set providers.replicate.webhook_secret")
        })
    }

    /// What must end before the wish can be fulfilled, if anything must.
    fn question(
        &self,
        provider: &Replicate,
        held: &Held,
        wish: Wish,
    ) -> Option<watch::Receiver<()>> {
        let mut state = lock(&self.state);
        if wish == Wish::Any && state.secret.is_some() {
            return None;
        }
        if let Some(running) = state.question.as_ref().filter(|it| it.has_changed().is_ok()) {
            return Some(running.clone());
        }
        if state.asked_at.is_some_and(|at| at.elapsed() < AGAIN) {
            return None;
        }
        let (ends, question) = watch::channel(());
        state.question = Some(question.clone());
        let asked = Question::new(provider, held);
        let state = Arc::clone(&self.state);
        drop(st_log::spawn(async move {
            let answer = match asked {
                Ok(asked) => timeout(DEADLINE, asked.ask()).await,
                Err(error) => Ok(Err(error)),
            };
            lock(&state).note(answer.unwrap_or_else(|_elapsed| {
                let late = format!("replicate did not answer within {DEADLINE:?}");
                Err(QueryError::trouble(late))
            }));
            drop(ends);
        }));
        Some(question)
    }
}

impl State {
    fn note(&mut self, answer: Result<WebhookSecret, QueryError>) {
        self.asked_at = Some(Instant::now());
        match answer {
            Ok(secret) => (self.secret, self.failure) = (Some(secret), None),
            Err(error) => self.failure = Some(st_log::Chain(&error).to_string()),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A question for the secret, with all that it needs.
struct Question {
    request: Request,
    budget: Arc<CallBudget>,
    time: Arc<ServerTime>,
}

impl Question {
    fn new(provider: &Replicate, held: &Held) -> Result<Self, QueryError> {
        let url = provider.address.url("/webhooks/default/secret");
        let request = held.request(Method::GET, &url)?;
        let (budget, time) = (Arc::clone(&provider.others), Arc::clone(&provider.time));
        Ok(Self { request, budget, time })
    }

    async fn ask(self) -> Result<WebhookSecret, QueryError> {
        self.budget.turn(Purpose::Other).await;
        let answer = send(self.request, &self.time, &self.budget, &SECRET).await;
        let answer = answered(answer, Subject::Account)?;
        let [key] = pick(answer.text(), ["key"]).map_err(unreadable)?;
        let key: String = read(key).ok_or_else(|| unreadable("it has no key"))?;
        WebhookSecret::parse(&key).map_err(unreadable)
    }
}
