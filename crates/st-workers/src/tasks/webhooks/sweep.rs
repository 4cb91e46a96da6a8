//! Which webhooks want an event that is there: one walk over the new events for all of them.

use std::time::Duration;

use st_store::{Error, Event, EventId, EventPage, Webhook, WebhookId};

use super::{Work, lock};

/// How many events are read at a time.
pub(super) const AT_ONCE: u32 = 200;
/// A webhook that wants none of so many events has its position stored, so that a start need not read
/// them again.
const FAR: i64 = 1000;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The webhooks that want an event now, and after which event it comes.
    pub(super) due: Vec<(WebhookId, EventId)>,
    /// How long until the next attempt is due of one that waits for it.
    pub(super) later: Option<Duration>,
}

impl Work {
    /// Looks for webhooks that something is to be sent to.
    pub(super) async fn sweep(&self) -> Result<Found, Error> {
        let mut hooks = self.store.webhooks().await?;
        hooks.retain(Webhook::is_enabled);
        let is_wanted = !hooks.is_empty();
        self.wanted.send_if_modified(|known| std::mem::replace(known, is_wanted) != is_wanted);
        lock(&self.passed).retain(|id, _| hooks.iter().any(|hook| hook.id == *id));
        let mut found = Found::default();
        let mut waiting = Vec::new();
        let now = self.store.now();
        for hook in hooks {
            if lock(&self.serving).contains(&hook.id) {
                continue;
            }
            match hook.waits_until(self.holder).filter(|at| *at > now) {
                Some(at) => {
                    let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                    found.later = Some(found.later.map_or(wait, |later| later.min(wait)));
                }
                None => waiting.push((self.passed_by(&hook), hook)),
            }
        }
        found.due = self.walk(waiting).await?;
        Ok(found)
    }

    fn passed_by(&self, hook: &Webhook) -> EventId {
        let passed = lock(&self.passed).get(&hook.id).copied();
        passed.map_or(hook.position, |passed| passed.max(hook.position))
    }

    /// Reads on from the one that is furthest behind.
    async fn walk(
        &self,
        mut waiting: Vec<(EventId, Webhook)>,
    ) -> Result<Vec<(WebhookId, EventId)>, Error> {
        let mut due = Vec::new();
        while let Some(at) = waiting.iter().map(|(passed, _)| *passed).min() {
            let page = self.store.events_after(at, AT_ONCE).await?;
            let Some(next) = page.next.filter(|next| *next > at) else { break };
            let wants = |passed: EventId, hook: &Webhook| {
                page.events.iter().any(|it| it.id > passed && includes(hook, it))
            };
            let (found, others): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(passed, hook)| wants(*passed, hook));
            due.extend(found.into_iter().map(|(passed, hook)| (hook.id, passed)));
            waiting = others.into_iter().map(|(passed, hook)| (passed.max(next), hook)).collect();
            if is_last(&page) {
                break;
            }
        }
        for (passed, hook) in waiting {
            lock(&self.passed).insert(hook.id, passed);
            if passed.0.saturating_sub(hook.position.0) > FAR {
                self.store.pass_events(hook.id, self.holder, passed).await?;
            }
        }
        Ok(due)
    }
}

/// Whether a webhook wants an event.
pub(super) fn includes(hook: &Webhook, event: &Event) -> bool {
    hook.events.include(&event.event.change)
}

/// Whether there was nothing more when this was read.
fn is_last(page: &EventPage) -> bool {
    page.events.len() + page.damaged.len() < AT_ONCE as usize
}
