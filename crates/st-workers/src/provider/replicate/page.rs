//! A page of the list, read row by row.

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::fields::{pick, read};
use super::price::Prices;
use super::row::{JOB, Row, Sorted, WORD};
use crate::provider::ListPage;
use crate::provider::excerpt::{Keep, Shape};

const FIELDS: [(&str, Shape); 2] = [
    ("results", WORD.or_items(&JOB, usize::MAX)),
    // One that is cut is no link, and not the end of the list either.
    ("next", Shape::text(Keep::Whole(8 * 1024))),
];

/// What is kept of a page.
pub(super) const PAGE: Shape = WORD.or_members(&FIELDS);

/// A page whose rows are not read yet.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// Each as raw JSON.
    pub(super) rows: Vec<&'a RawValue>,
    /// The link to the next page as the provider wrote it, empty where it wrote none; `None` when it
    /// says that this is the last page.
    pub(super) next: Option<String>,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnreadablePage {
    #[error("it is not a JSON object")]
    NoObject(#[source] serde_json::Error),
    #[error("its results are not a list")]
    NoResults,
}

impl<'a> Page<'a> {
    pub(super) fn read(json: &'a str) -> Result<Self, UnreadablePage> {
        let [results, next] =
            pick(json, FIELDS.map(|(name, _)| name)).map_err(UnreadablePage::NoObject)?;
        let rows = results.and_then(|results| serde_json::from_str(results.get()).ok());
        // Only null is the end of the list. What is no text, or not there, is no link either.
        let is_last = next.is_some_and(|next| next.get() == "null");
        let next = (!is_last).then(|| read(next).unwrap_or_default());
        Ok(Self { rows: rows.ok_or(UnreadablePage::NoResults)?, next })
    }

    /// What a search for markers needs of it; its `next` is left out. `now`: the provider's time, where
    /// it is known.
    pub(super) fn sorted(&self, prices: &Prices, now: Option<Timestamp>) -> ListPage {
        let mut page = ListPage { rows: self.rows.len(), ..ListPage::default() };
        let mut all_dated = true;
        for json in &self.rows {
            let row = Row::read(json.get());
            let created_at = row.and_then(|row| row.created_at());
            all_dated &= created_at.is_some();
            page.newest = page.newest.max(created_at);
            match row.map_or(Sorted::Unreadable, |row| row.sorted(prices, now)) {
                Sorted::Candidate(job) => page.jobs.push(*job),
                Sorted::Foreign => {}
                Sorted::Unreadable => page.unreadable += 1,
            }
        }
        page.newest = page.newest.filter(|_| all_dated);
        page
    }
}

#[cfg(test)]
mod tests;
