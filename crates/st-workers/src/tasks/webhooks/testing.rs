//! A test of a webhook on request: one message, at once and once.

use std::sync::Arc;
use std::time::Duration;

use st_store::{Error, TestDelivery, WebhookId};
use tokio::sync::oneshot;

use super::message::Message;
use super::send::{Verdict, host_of};
use super::{LOG, WebhookDelivery, Work};

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestedWebhook {
    /// Whether the receiver accepted the message.
    pub accepted: bool,
    /// The status of the answer, where there was one.
    pub response_status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// Why the receiver did not accept the message; `None` where it did.
    pub error: Option<String>,
}

impl WebhookDelivery {
    /// Sends a message of this type to a webhook, also where it is disabled. Its events go on meanwhile.
    /// What was sent is remembered also where nobody waits for this any more.
    pub async fn test(&self, id: WebhookId, event_type: &str) -> Result<TestedWebhook, Error> {
        let (work, event_type) = (Arc::clone(&self.work), event_type.to_owned());
        let (done, tested) = oneshot::channel();
        self.dispatcher.spawn_finishing(async move {
            // The caller may be gone.
            drop(done.send(work.test(id, &event_type).await));
        });
        tested.await.map_err(|_stopped| Error::Closed)?
    }
}

impl Work {
    async fn test(&self, id: WebhookId, event_type: &str) -> Result<TestedWebhook, Error> {
        let keyed = self.store.find_webhook(id).await?;
        let missing = || Error::NotFound { what: "webhook", id: id.to_string() };
        let keyed = keyed.ok_or_else(missing)?;
        let message = Message::test(&keyed.webhook, event_type, self.store.now());
        let answer = self.send(&keyed.webhook, &keyed.secrets, &message).await;
        let tested = TestedWebhook {
            accepted: answer.verdict == Verdict::Accepted,
            response_status: answer.status,
            took: answer.took,
            error: answer.error,
        };
        let test = TestDelivery {
            event_type: event_type.to_owned(),
            message_id: message.id,
            correlation_id: st_log::get_correlation_id(),
            accepted: tested.accepted,
            response_status: tested.response_status,
            took: tested.took,
            error: tested.error.clone(),
        };
        self.store.note_test(id, test).await?;
        st_log::info!(
            logger: LOG, webhook_id = id.0, host = host_of(&keyed.webhook.url),
            accepted = tested.accepted, reason = tested.error.as_deref().unwrap_or_default(),
            "Webhook tested"
        );
        Ok(tested)
    }
}
