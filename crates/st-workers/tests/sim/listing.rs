//! A provider's list of the account's jobs, with the oddities of real ones: it changes while it is
//! read, repeats rows, ignores what it is asked for, and shows what strangers did.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use st_store::ProviderJobId;
use st_workers::provider::{ListPage, ListQuery, ListedJob, Trace};

use crate::draw::Draw;
use crate::ledger::{Accepted, INPUT_KEPT_FOR, Kind};
use crate::world::World;

/// How many rows a page has.
const PAGE: usize = 100;

/// A row: when it was created, its place among those of the same time, and what it is.
struct Row {
    key: (Timestamp, u64),
    shown: Shown,
}

enum Shown {
    Ours(ListedJob),
    Stranger { removed: Option<ProviderJobId>, readable: bool },
}

impl World {
    /// One page of the list, as the account of this moment sees it.
    pub(crate) fn page(&self, provider: usize, query: &ListQuery) -> ListPage {
        let plan = &self.plan.providers[provider];
        let odd = self.happens(provider, plan.rates.odd_page);
        let mut rows = self.rows(provider);
        if !plan.ignores_filters {
            rows.retain(|row| query.since.is_none_or(|since| row.key.0 >= since));
            rows.retain(|row| query.until.is_none_or(|until| row.key.0 <= until));
        }
        rows.sort_by_key(|row| Reverse(row.key));
        let before = query.cursor.as_deref().and_then(parse_cursor);
        let mut start = before.map_or(0, |before| rows.partition_point(|row| row.key >= before));
        if odd && start > 0 {
            // Rows of the page before come again.
            start -= self.draw(|random| random.usize(0..=start.min(30)));
        }
        let mut page: Vec<Row> = rows.drain(start..).collect();
        let more = page.len() > PAGE;
        page.truncate(PAGE);
        let last = page.last().map(|row| row.key);
        if odd {
            self.draw(|random| random.shuffle(&mut page));
        }
        let mut next =
            last.filter(|_| more).map(|(at, number)| format!("{}_{number}", at.as_nanosecond()));
        if odd && next.is_some() && query.cursor.is_some() && self.draw(|random| random.chance(0.1))
        {
            next.clone_from(&query.cursor);
        }
        page_of(page, next)
    }

    fn rows(&self, provider: usize) -> Vec<Row> {
        let now = self.now();
        let mut rows = Vec::new();
        if !self.is_other_account(provider) {
            let state = self.state();
            let ours = state.ledger.jobs.iter();
            let ours = ours.filter(|job| job.call.provider == provider && job.is_listed(now));
            rows.extend(ours.map(|job| Row {
                key: (job.created_at, job.number),
                shown: Shown::Ours(listed(job, now)),
            }));
        }
        for (number, stranger) in self.strangers[provider].iter().enumerate() {
            if stranger.appears_at <= now {
                let removed = stranger.ends_at + INPUT_KEPT_FOR <= now;
                let removed = removed.then(|| ProviderJobId::new(format!("s{provider}n{number}")));
                rows.push(Row {
                    key: (stranger.created_at, 1_000_000 + number as u64),
                    shown: Shown::Stranger { removed, readable: stranger.readable },
                });
            }
        }
        rows
    }
}

fn parse_cursor(cursor: &str) -> Option<(Timestamp, u64)> {
    let (at, number) = cursor.split_once('_')?;
    Some((Timestamp::from_nanosecond(at.parse().ok()?).ok()?, number.parse().ok()?))
}

fn listed(job: &Accepted, now: Duration) -> ListedJob {
    let trace = if job.is_input_removed(now) {
        Trace::Deleted
    } else {
        let by_hand = matches!(job.kind, Kind::Copy { marked: true });
        Trace::Marker { marker: job.call.marker, by_hand }
    };
    ListedJob { status: job.report(now), created_at: Some(job.created_at), trace }
}

fn page_of(rows: Vec<Row>, next: Option<String>) -> ListPage {
    let count = rows.len();
    let mut newest = rows.iter().map(|row| row.key.0).max();
    let (mut jobs, mut unreadable) = (Vec::new(), 0);
    for row in rows {
        match row.shown {
            Shown::Ours(job) => jobs.push(job),
            Shown::Stranger { readable: false, .. } => {
                unreadable += 1;
                newest = None;
            }
            Shown::Stranger { removed: Some(id), .. } => jobs.push(ListedJob {
                status: st_store::ProviderStatus::new(id, st_store::JobStatus::Completed),
                created_at: Some(row.key.0),
                trace: Trace::Deleted,
            }),
            Shown::Stranger { removed: None, .. } => {}
        }
    }
    ListPage { jobs, rows: count, unreadable, newest, next }
}
