//! One call of a receiver.

use std::time::Duration;

use http::Uri;
use http::header::CONTENT_TYPE;
use st_http::{StatusCode, StreamingResponse, retry_after};
use st_store::{Webhook, WebhookSecret};
use tokio::time::{Instant, timeout};

use super::Work;
use super::deliver::explained;
use super::message::Message;
use super::secret::signatures;

/// So much of an answer is read, so that its connection can be used again; it means nothing.
const READ: usize = 16 * 1024;
/// For so long.
const DRAIN: Duration = Duration::from_secs(1);

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// Not now.
    Failed,
    /// Never again.
    Gone,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) status: Option<u16>,
    /// How long the receiver wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    pub(super) took: Duration,
    pub(super) error: Option<String>,
}

impl Work {
    /// Sends a message, signed with each of the secrets.
    pub(super) async fn send(
        &self,
        webhook: &Webhook,
        secrets: &[WebhookSecret],
        message: &Message,
    ) -> Answer {
        let began = Instant::now();
        let timestamp = self.store.now().as_second();
        let signed = signatures(secrets, (&message.id, timestamp), &message.body);
        let request = self.config.client.post(&webhook.url).secret_path();
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", message.id.as_str())
            .header("webhook-timestamp", timestamp)
            .secret_header("webhook-signature", signed)
            .body(message.body.clone());
        let opened = request.open().await;
        let took = began.elapsed();
        match opened {
            Ok(response) => {
                let status = response.status();
                let retry_after = retry_after(response.headers());
                // It has been said already.
                drop(timeout(DRAIN, drain(response)).await);
                let error =
                    (!status.is_success()).then(|| format!("its receiver answered {status}"));
                let status_code = Some(status.as_u16());
                Answer { verdict: verdict(status), status: status_code, retry_after, took, error }
            }
            Err(error) => Answer {
                verdict: Verdict::Failed,
                status: None,
                retry_after: None,
                took,
                error: Some(explained(&error)),
            },
        }
    }
}

fn verdict(status: StatusCode) -> Verdict {
    match status {
        StatusCode::GONE => Verdict::Gone,
        status if status.is_success() => Verdict::Accepted,
        _ => Verdict::Failed,
    }
}

async fn drain(mut response: StreamingResponse) {
    let mut read = 0;
    while read < READ {
        match response.chunk().await {
            Ok(Some(chunk)) => read += chunk.len(),
            // The head has said all.
            Ok(None) | Err(_) => return,
        }
    }
}

/// The part of a webhook's URL that is no secret.
pub(super) fn host_of(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    uri.as_ref().and_then(Uri::host).unwrap_or_default().to_owned()
}
