//! A receiver of webhooks on a real socket: it remembers what it was sent, and answers as a test wants.

#![expect(clippy::unwrap_used, reason = "a test double reports by panicking")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// The headers of the request, signature included.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Received {
    /// The value of a header; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What a message is answered.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// This status.
    Status(u16),
    /// That it is too much now, and when to come again.
    Later(&'static str),
    /// That it accepts it, as soon as [`Receiver::release`] is called.
    Held,
    /// That it accepts it, and then a body that never ends.
    Endless,
    /// Nothing at all, for as long as the receiver is there.
    Silence,
}

#[derive(Debug, Default)]
struct Shared {
    /// Never locked across an await.
    replies: Mutex<VecDeque<Reply>>,
    received: watch::Sender<Vec<Received>>,
    released: Notify,
}

/// The receiver. Messages for which no reply is planned are accepted.
#[derive(Debug, Clone)]
pub struct Receiver {
    url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Starts one on a port of its own.
    pub async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        drop(st_log::spawn(async move { axum::serve(listener, router).await.unwrap() }));
        Self { url, shared }
    }

    /// Where it receives.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Plans the replies to the next messages.
    pub fn plan(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies().extend(replies);
    }

    /// What it has received.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// Waits until it has received so many messages.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut received = self.shared.received.subscribe();
        received.wait_for(|received| received.len() >= count).await.unwrap().clone()
    }

    /// Answers the message that is held, or the next one.
    pub fn release(&self) {
        self.shared.released.notify_one();
    }

    fn replies(&self) -> MutexGuard<'_, VecDeque<Reply>> {
        self.shared.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = shared.replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    shared.received.send_modify(|received| received.push(Received { headers, body }));
    match reply.unwrap_or(Reply::Status(200)) {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Later(wait) => {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", wait)]).into_response()
        }
        Reply::Held => {
            shared.released.notified().await;
            StatusCode::OK.into_response()
        }
        Reply::Endless => {
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>())
                .into_response()
        }
        Reply::Silence => std::future::pending().await,
    }
}
