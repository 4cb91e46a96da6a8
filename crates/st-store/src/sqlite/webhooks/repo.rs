//! The calls about webhooks.

use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;

use super::{count, deliveries, find, insert, list, require, secrets, update};
use crate::error::Result;
use crate::model::{
    Delivery, DeliveryAttempt, EventId, Failing, FilterRevision, Holder, InvalidWebhook,
    KeyedWebhook, MAX_LEASE, MOST_WEBHOOKS, NewWebhook, PageRequest, SettledDelivery,
    StoredWebhook, TestDelivery, Webhook, WebhookId, WebhookList, WebhookPatch,
};
use crate::repo::WebhookRepo;
use crate::sqlite::query::change;
use crate::sqlite::writer::{Lane, Tx};
use crate::sqlite::{SqliteStore, events};

#[async_trait]
impl WebhookRepo for SqliteStore {
    async fn add_webhook(&self, new: NewWebhook) -> Result<Webhook> {
        new.check()?;
        self.writer
            .write(Lane::Interactive, "store a webhook", move |tx| {
                if count(tx.connection)? >= MOST_WEBHOOKS {
                    return Err(InvalidWebhook::TooMany.into());
                }
                insert(tx, &new)
            })
            .await
    }

    async fn webhooks(&self) -> Result<WebhookList> {
        self.readers.point("list webhooks", list).await
    }

    async fn find_webhook(&self, id: WebhookId) -> Result<Option<KeyedWebhook>> {
        let now = self.clock.now();
        self.readers
            .point("read a webhook", move |connection| {
                Ok(find(connection, id)?.map(|found| found.keyed(now)))
            })
            .await
    }

    async fn patch_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook> {
        patch.check()?;
        self.writer
            .write(Lane::Interactive, "change a webhook", move |tx| {
                let mut found = require(tx.connection, id)?;
                let (before, old_secrets) = (found.webhook.failing, found.old_secrets.clone());
                found.patch(patch.clone(), events::last_id(tx.connection)?, tx.now)?;
                step(tx, &found, before)?;
                if found.old_secrets != old_secrets {
                    secrets::replace(tx.connection, id, &found.old_secrets)?;
                }
                Ok(found.webhook)
            })
            .await
    }

    async fn remove_webhook(&self, id: WebhookId) -> Result<bool> {
        self.writer
            .write(Lane::Interactive, "remove a webhook", move |tx| {
                let sql = "DELETE FROM webhooks WHERE webhook_id = ?1";
                Ok(change(tx.connection, "remove a webhook", sql, [id.0])? > 0)
            })
            .await
    }

    async fn claim_webhook(
        &self,
        id: WebhookId,
        holder: Holder,
        lease: Duration,
    ) -> Result<Option<KeyedWebhook>> {
        let lease = signed(lease);
        self.writer
            .write(Lane::Worker, "claim a webhook", move |tx| claim(tx, id, (holder, lease)))
            .await
    }

    async fn end_webhook_leases(&self, holder: Holder) -> Result<u64> {
        self.writer
            .write(Lane::Worker, "end the leases of webhooks", move |tx| {
                let sql = "UPDATE webhooks SET lease_holder = NULL, lease_until = NULL \
                           WHERE lease_holder <> ?1";
                let what = "end the leases of webhooks";
                Ok(change(tx.connection, what, sql, [holder.to_string()])? as u64)
            })
            .await
    }

    async fn settle_attempt(
        &self,
        id: WebhookId,
        holder: Holder,
        attempt: DeliveryAttempt,
        lease: Duration,
    ) -> Result<Option<SettledDelivery>> {
        let lease = signed(lease);
        self.writer
            .write(Lane::Worker, "settle an attempt of a webhook", move |tx| {
                settle(tx, id, (holder, lease), &attempt)
            })
            .await
    }

    async fn pass_events(
        &self,
        id: WebhookId,
        holder: Holder,
        up_to: EventId,
        revision: FilterRevision,
    ) -> Result<()> {
        self.writer
            .write(Lane::Worker, "pass events of a webhook", move |tx| {
                let Some(mut found) = find(tx.connection, id)? else { return Ok(()) };
                let before = found.webhook.failing;
                if found.pass(holder, (up_to, revision), tx.now) {
                    step(tx, &found, before)?;
                }
                Ok(())
            })
            .await
    }

    async fn note_test(&self, id: WebhookId, test: TestDelivery) -> Result<()> {
        self.writer
            .write(Lane::Interactive, "note a test of a webhook", move |tx| {
                let Some(mut found) = find(tx.connection, id)? else { return Ok(()) };
                if test.accepted {
                    found.webhook.hurry(tx.now);
                    update(tx.connection, &found)?;
                }
                deliveries::note_test(tx, id, &test)
            })
            .await
    }

    async fn deliveries(&self, of: Option<WebhookId>, page: PageRequest) -> Result<Vec<Delivery>> {
        self.readers
            .list("list deliveries", move |connection| deliveries::list(connection, of, page))
            .await
    }

    async fn prune_deliveries(&self, max: u32) -> Result<u64> {
        self.writer
            .write(Lane::Bulk, "forget old deliveries", move |tx| deliveries::prune(tx, max))
            .await
    }
}

/// A lease as the model has it.
fn signed(lease: Duration) -> SignedDuration {
    SignedDuration::try_from(lease).unwrap_or(MAX_LEASE)
}

/// Stores what a step made of a webhook, and that a message is not tried again where the step ended
/// that.
fn step(tx: &Tx<'_>, after: &StoredWebhook, before: Option<Failing>) -> Result<()> {
    update(tx.connection, after)?;
    match after.let_go(before) {
        Some(event) => deliveries::let_go(tx, after.webhook.id, event),
        None => Ok(()),
    }
}

fn claim(
    tx: &Tx<'_>,
    id: WebhookId,
    (holder, lease): (Holder, SignedDuration),
) -> Result<Option<KeyedWebhook>> {
    let Some(mut found) = find(tx.connection, id)? else { return Ok(None) };
    if !found.claim(holder, lease, tx.now) {
        return Ok(None);
    }
    update(tx.connection, &found)?;
    Ok(Some(found.keyed(tx.now)))
}

fn settle(
    tx: &Tx<'_>,
    id: WebhookId,
    lease: (Holder, SignedDuration),
    attempt: &DeliveryAttempt,
) -> Result<Option<SettledDelivery>> {
    let Some(mut found) = find(tx.connection, id)? else { return Ok(None) };
    let before = found.webhook.failing;
    let moment = (tx.now, tx.clock_confirmed);
    let Some(settled) = found.settle(lease, attempt, moment) else { return Ok(None) };
    deliveries::note(tx, id, attempt, &settled)?;
    step(tx, &found, before)?;
    Ok(Some(SettledDelivery {
        webhook: found.webhook,
        status: settled.status,
        attempts: settled.attempts,
        failing_since: settled.failing_since,
    }))
}
