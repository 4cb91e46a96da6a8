//! Webhooks over HTTP.

use std::sync::Arc;
use std::time::Duration;

use st_api::names::WebhookArg;
use st_api::schema::Time;
use st_api::webhooks::{
    ALL_EVENTS, AddWebhook, ChangeWebhook, DamagedWebhook, Deliveries, Delivery as DeliveryView,
    EventType, EventTypes, ListDeliveries, TestWebhook, Webhook as WebhookView, WebhookAdded,
    WebhookChanged, WebhookDeleted, WebhookTested, Webhooks,
};
use st_log::{Logger, get_logger};
use st_store::{
    Delivery, DeliveryStatus, NewWebhook, Store, WantedEvents, Webhook, WebhookEvent, WebhookId,
    WebhookList, WebhookPatch, WebhookSecret,
};
use st_workers::TaskId;
use st_workers::tasks::webhooks::{parse_secret, show_secret};

use super::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.webhooks");
/// As long as the hash of the signature.
const SECRET_BYTES: usize = 32;

/// A webhook as clients see it.
fn view(webhook: &Webhook) -> WebhookView {
    let events = match &webhook.events {
        WantedEvents::All => vec![ALL_EVENTS.to_owned()],
        WantedEvents::Only(kinds) => kinds.iter().map(ToString::to_string).collect(),
    };
    WebhookView {
        id: webhook.id.0,
        name: webhook.name.clone(),
        url: webhook.url.clone(),
        enabled: webhook.is_enabled(),
        state: webhook.state,
        has_secret: true,
        events,
        owner: webhook.owner.to_string(),
        created_at: Time(webhook.created_at),
        last_triggered: webhook.last_triggered_at.map(Time),
        last_event_id: webhook.position.0,
        failed_attempts: webhook.failing.map_or(0, |failing| failing.attempts),
        failing_since: webhook.failing.map(|failing| Time(failing.since)),
        next_try: webhook.failing.map(|failing| Time(failing.next_at)),
    }
}

fn delivery(delivery: &Delivery) -> DeliveryView {
    DeliveryView {
        id: delivery.message_id.clone(),
        webhook_id: delivery.webhook.0,
        event_id: delivery.event.map(|event| event.0),
        event_type: delivery.event_type.clone(),
        timestamp: Time(delivery.last_at),
        first_at: Time(delivery.first_at),
        status: delivery.status,
        success: delivery.status == DeliveryStatus::Delivered,
        attempts: delivery.attempts,
        response_status: delivery.response_status,
        response_time_ms: millis(delivery.took),
        error: delivery.error.clone(),
        next_try: delivery.next_at.map(Time),
        correlation_id: delivery.correlation_id.to_string(),
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The secret that was given, or a new one.
fn secret_of(given: Option<&str>) -> Result<WebhookSecret, Problem> {
    if let Some(text) = given {
        return parse_secret(text)
            .map_err(|invalid| Problem::invalid_field("/secret", invalid.to_string()));
    }
    let mut bytes = vec![0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal().caused_by(error))?;
    WebhookSecret::new(bytes).ok_or_else(Problem::internal)
}

fn missing(id: WebhookId) -> Problem {
    Problem::not_found(format!("there is no webhook {id}"))
}

pub(crate) async fn list(store: Arc<dyn Store>, _call: Call) -> Result<Webhooks, Problem> {
    let WebhookList { webhooks, damaged } = store.webhooks().await?;
    let damaged =
        damaged.into_iter().map(|row| DamagedWebhook { id: row.key, problem: row.problem });
    Ok(Webhooks { webhooks: webhooks.iter().map(view).collect(), damaged: damaged.collect() })
}

pub(crate) async fn add(api: Api, call: Call<(), (), AddWebhook>) -> Result<WebhookAdded, Problem> {
    let AddWebhook { name, url, enabled, events, secret } = call.body;
    let secret = secret_of(secret.as_deref())?;
    let owner = call.caller.user.clone();
    let new = NewWebhook { name, url, enabled, events, owner, secret: secret.clone() };
    let webhook = api.store.add_webhook(new).await?;
    call.caller.made(webhook.id.0);
    api.background.activate(TaskId::WebhookDelivery);
    st_log::info!(
        logger: LOG, webhook_id = webhook.id.0, user_id = call.caller.user.as_str(),
        "Webhook added"
    );
    let (id, webhook) = (webhook.id.0, view(&webhook));
    Ok(WebhookAdded { success: true, id, webhook, secret: show_secret(&secret) })
}

pub(crate) async fn show(
    store: Arc<dyn Store>,
    call: Call<WebhookArg>,
) -> Result<WebhookView, Problem> {
    let WebhookArg(id) = call.named;
    let found = store.find_webhook(id).await?.ok_or_else(|| missing(id))?;
    Ok(view(&found.webhook))
}

pub(crate) async fn change(
    api: Api,
    call: Call<WebhookArg, (), ChangeWebhook>,
) -> Result<WebhookChanged, Problem> {
    let WebhookArg(id) = call.named;
    let ChangeWebhook { name, url, enabled, events, secret, rotate_secret } = call.body;
    let secret = match secret.as_deref() {
        None if !rotate_secret => None,
        given => Some(secret_of(given)?),
    };
    let patch = WebhookPatch { name, url, enabled, events, secret: secret.clone() };
    let webhook = api.store.patch_webhook(id, patch).await?;
    api.background.activate(TaskId::WebhookDelivery);
    st_log::info!(
        logger: LOG, webhook_id = id.0, user_id = call.caller.user.as_str(),
        secret_rotated = secret.is_some(),
        "Webhook changed"
    );
    let secret = secret.as_ref().map(show_secret);
    Ok(WebhookChanged { success: true, id: id.0, webhook: view(&webhook), secret })
}

pub(crate) async fn remove(api: Api, call: Call<WebhookArg>) -> Result<WebhookDeleted, Problem> {
    let WebhookArg(id) = call.named;
    if !api.store.remove_webhook(id).await? {
        return Err(missing(id));
    }
    st_log::info!(
        logger: LOG, webhook_id = id.0, user_id = call.caller.user.as_str(),
        "Webhook deleted"
    );
    Ok(WebhookDeleted { success: true, id: id.0, message: format!("webhook {id} is deleted") })
}

pub(crate) async fn test(
    api: Api,
    call: Call<WebhookArg, (), TestWebhook>,
) -> Result<WebhookTested, Problem> {
    let (WebhookArg(id), event_type) = (call.named, call.body.event_type);
    let tested = api.background.test_webhook(id, event_type).await?;
    Ok(WebhookTested {
        success: tested.accepted,
        event_type: event_type.to_owned(),
        response_status: tested.response_status,
        response_time_ms: millis(tested.took),
        error: tested.error,
    })
}

pub(crate) async fn events((): (), _call: Call) -> Result<EventTypes, Problem> {
    let event = |kind: &WebhookEvent| EventType {
        name: kind.to_string(),
        description: kind.description().to_owned(),
    };
    Ok(EventTypes { events: WebhookEvent::ALL.iter().map(event).collect() })
}

pub(crate) async fn history(
    store: Arc<dyn Store>,
    call: Call<(), ListDeliveries>,
) -> Result<Deliveries, Problem> {
    let found = store.deliveries(None, call.query.0).await?;
    Ok(Deliveries { deliveries: found.iter().map(delivery).collect() })
}

pub(crate) async fn history_of_one(
    store: Arc<dyn Store>,
    call: Call<WebhookArg, ListDeliveries>,
) -> Result<Deliveries, Problem> {
    let WebhookArg(id) = call.named;
    if store.find_webhook(id).await?.is_none() {
        return Err(missing(id));
    }
    let found = store.deliveries(Some(id), call.query.0).await?;
    Ok(Deliveries { deliveries: found.iter().map(delivery).collect() })
}
