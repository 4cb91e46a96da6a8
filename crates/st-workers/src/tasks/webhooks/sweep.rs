//! Which webhooks want an event that is there: a walk over the new events, shared by all that are equally
//! far.

use std::collections::BTreeSet;
use std::time::Duration;

use st_store::{
    DamagedRow, Error, Event, EventId, EventPage, FilterRevision, Webhook, WebhookId, WebhookList,
};

use super::{LOG, Work, lock};

/// How many events are read at a time.
pub(super) const AT_ONCE: u32 = 200;
/// A webhook that wants none of so many events has its position stored, so that a start need not read
/// them again.
const FAR: i64 = 1000;
/// How many pages are read for a webhook in one walk. The next walk goes on at once, and what was found
/// to be due is sent meanwhile.
const PAGES: u32 = 4;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The webhooks that want an event now, and after which event it comes.
    pub(super) due: Vec<(WebhookId, Passed)>,
    /// How long until the next attempt is due of one that waits for it, or until the walk goes on.
    pub(super) later: Option<Duration>,
}

/// Up to where a webhook wants nothing, by what it wanted at a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    up_to: EventId,
    revision: FilterRevision,
}

impl Passed {
    /// After which event a webhook goes on, as it is now.
    pub(super) fn of(self, hook: &Webhook) -> EventId {
        if self.revision == hook.revision { self.up_to.max(hook.position) } else { hook.position }
    }
}

/// A webhook for which events are read.
#[derive(Debug)]
struct Waiting {
    hook: Webhook,
    /// It wants nothing up to here.
    passed: EventId,
    /// How many pages were read for it in this walk.
    pages: u32,
}

impl Waiting {
    fn due(&self) -> (WebhookId, Passed) {
        (self.hook.id, Passed { up_to: self.passed, revision: self.hook.revision })
    }
}

/// What came of a walk.
#[derive(Debug)]
struct Walked {
    due: Vec<(WebhookId, Passed)>,
    /// Whether all events were read.
    is_whole: bool,
}

impl Work {
    /// Looks for webhooks that something is to be sent to.
    pub(super) async fn sweep(&self) -> Result<Found, Error> {
        let read = self.tally.moment();
        let WebhookList { webhooks: mut hooks, damaged } = self.store.webhooks().await?;
        self.report(&damaged);
        hooks.retain(Webhook::is_enabled);
        let is_wanted = !hooks.is_empty();
        self.wanted.send_if_modified(|known| std::mem::replace(known, is_wanted) != is_wanted);
        lock(&self.passed).retain(|id, _| hooks.iter().any(|hook| hook.id == *id));
        self.tally.compare(read, &hooks, |id| lock(&self.serving).contains(&id));
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
                None => waiting.push(self.waiting(hook)),
            }
        }
        let Walked { due, is_whole } = self.walk(waiting).await?;
        found.due = due;
        if !is_whole {
            found.later = Some(Duration::ZERO);
        }
        Ok(found)
    }

    /// Says once of each webhook that it cannot be read.
    fn report(&self, damaged: &[DamagedRow]) {
        let now: BTreeSet<String> = damaged.iter().map(ToString::to_string).collect();
        let mut reported = lock(&self.reported);
        for row in now.difference(&reported) {
            st_log::error!(
                logger: LOG, row = row.as_str(), "Webhook cannot be read and is sent nothing"
            );
        }
        *reported = now;
    }

    /// After which event a webhook goes on.
    fn waiting(&self, hook: Webhook) -> Waiting {
        let known = lock(&self.passed).get(&hook.id).copied();
        let passed = known.map_or(hook.position, |known| known.of(&hook));
        Waiting { hook, passed, pages: 0 }
    }

    /// Reads on for each of them, in turns: one that is far behind delays no other.
    async fn walk(&self, mut waiting: Vec<Waiting>) -> Result<Walked, Error> {
        let mut due = Vec::new();
        loop {
            let behind = waiting.iter().filter(|it| it.pages < PAGES);
            let Some(at) = behind.min_by_key(|it| (it.pages, it.passed)).map(|it| it.passed) else {
                break;
            };
            let page = self.store.events_after(at, AT_ONCE).await?;
            let next = page.next.filter(|next| *next > at);
            let is_end = next.is_none() || is_last(&page);
            let next = next.unwrap_or(at);
            let mut others = Vec::new();
            for mut one in waiting {
                if one.passed < at || (one.passed >= next && !is_end) {
                    others.push(one);
                    continue;
                }
                if page.events.iter().any(|it| it.id > one.passed && includes(&one.hook, it)) {
                    due.push(one.due());
                    continue;
                }
                one.passed = one.passed.max(next);
                one.pages += 1;
                self.note(&mut one, is_end).await?;
                if !is_end {
                    others.push(one);
                }
            }
            waiting = others;
        }
        Ok(Walked { due, is_whole: waiting.is_empty() })
    }

    /// Notes how far a webhook was read for. At the end of the events, one that could not be delivered and
    /// was not met is not there any more.
    async fn note(&self, one: &mut Waiting, is_end: bool) -> Result<(), Error> {
        let Waiting { hook, passed, .. } = one;
        let failing = hook.failing.take_if(|_| is_end).map(|failing| failing.event);
        let up_to = failing.map_or(*passed, |event| event.max(*passed));
        let known = Passed { up_to, revision: hook.revision };
        lock(&self.passed).insert(hook.id, known);
        if failing.is_some() || up_to.0.saturating_sub(hook.position.0) > FAR {
            self.store.pass_events(hook.id, self.holder, up_to, hook.revision).await?;
            hook.position = up_to;
        }
        Ok(())
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
