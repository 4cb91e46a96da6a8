//! Finding our jobs at the provider: by its list, by its list filtered by a marker, or by their name.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{JobId, Marker, ProviderJobId};

use super::answers::Operation;
use super::described::HttpProvider;
use super::json;
use super::list::{Covers, Cursor, List, NotKnown};
use super::once::Once;
use super::values::{Values, parse_marker};
use crate::provider::rate::Purpose;
use crate::provider::{
    FoundJob, JobList, JobLookup, ListPage, ListQuery, ListedJob, QueryError, RemoteJob, Trace,
};

/// A list of more pages is not read to its end for one job.
const MOST_PAGES: usize = 1000;

/// A page of a list.
#[derive(Debug)]
pub(super) struct ReadPage {
    /// The rows that could be read.
    pub(super) rows: Vec<Value>,
    pub(super) unreadable: usize,
    pub(super) next: Result<Option<Cursor>, NotKnown>,
}

/// What the pages of a walk showed so far.
#[derive(Debug, Default)]
struct Shown {
    found: Vec<(Option<Timestamp>, FoundJob)>,
    /// Rows that could not be read.
    unreadable: usize,
    /// Rows without a marker that can be read.
    unmarked: usize,
    /// Rows of other attempts.
    foreign: usize,
}

impl Shown {
    /// Why what was not found may be there all the same.
    fn may_hide(&self, operation: Operation, list: &List) -> Option<&'static str> {
        let is_filtered = operation == Operation::Find;
        if self.unreadable > 0 {
            Some("a row that may be the job is not readable")
        } else if is_filtered && self.unmarked > 0 {
            Some("a row that was filtered by the marker shows none")
        } else if is_filtered && self.foreign > 0 && list.next.is_none() {
            Some("it is not filtered by the marker, and no paging is described")
        } else {
            None
        }
    }
}

impl HttpProvider {
    /// Reads a page.
    pub(super) async fn read_page(
        &self,
        (operation, purpose): (Operation, Purpose),
        list: &List,
        values: &Values<'_>,
        cursor: Option<&Cursor>,
    ) -> Result<ReadPage, QueryError> {
        let judge = self.judge();
        let answer = match cursor {
            None => self.send((operation, purpose), &list.call, values, &[]).await,
            Some(Cursor::Query { name, value }) => {
                self.send((operation, purpose), &list.call, values, &[(name, value)]).await
            }
            Some(Cursor::Path(path)) => {
                let outgoing = self.description.render(&list.call, values, &[]);
                let below =
                    self.description.base.below(path).ok_or_else(|| {
                        judge.unreadable("its next page is not below the base url")
                    })?;
                match outgoing {
                    Ok(outgoing) => {
                        let outgoing = super::call::Outgoing { path: below, ..outgoing };
                        self.connection.ask(&self.description, operation, purpose, outgoing).await
                    }
                    Err(error) => Err(error.into()),
                }
            }
        };
        let answer = answer.map_err(|why| judge.unanswered(why))?;
        let page = json::page(&answer.body, &list.rows);
        let rest = page.as_ref().map(|page| &page.rest);
        judge.answered(operation, &answer, rest)?;
        let page = page.ok_or_else(|| judge.unreadable("it is not JSON"))?;
        let raw = page.rows.ok_or_else(|| judge.unreadable("it has no list of rows"))?;
        let rows: Vec<Value> = raw.iter().filter_map(|row| json::value(row.get())).collect();
        let next = list.next.as_ref().map_or(Ok(None), |next| {
            let position = (cursor, raw.len());
            next.after(&answer.headers, &page.rest, rows.last(), position)
        });
        Ok(ReadPage { unreadable: raw.len() - rows.len(), rows, next })
    }

    /// The marker in a row of this list.
    fn marker_in(list: &List, row: &Value) -> Option<Marker> {
        parse_marker(&list.marker.as_ref()?.text(row)?)
    }

    /// Every job of a list that `is_wanted`; an error where it cannot be read to its end.
    async fn walk(
        &self,
        operation: Operation,
        list: &List,
        values: &Values<'_>,
        is_wanted: impl Fn(Marker) -> bool,
    ) -> Result<Vec<FoundJob>, QueryError> {
        let judge = self.judge();
        let (mut cursor, mut seen) = (None, std::collections::BTreeSet::new());
        let mut shown = Shown::default();
        for _ in 0..MOST_PAGES {
            let page =
                self.read_page((operation, Purpose::Other), list, values, cursor.as_ref()).await?;
            self.add(&page, list, &is_wanted, &mut shown)?;
            match page.next {
                Ok(Some(next)) if seen.insert(next.to_text()) => cursor = Some(next),
                Ok(Some(_)) => return Err(judge.unreadable("its next page was read already")),
                Ok(None) => return self.found(operation, list, shown),
                // Whatever the other pages show, this is there.
                Err(_) if !shown.found.is_empty() => return self.found(operation, list, shown),
                Err(why) => return Err(judge.unreadable(&why.to_string())),
            }
        }
        Err(judge.unreadable("the list does not end"))
    }

    fn add(
        &self,
        page: &ReadPage,
        list: &List,
        is_wanted: impl Fn(Marker) -> bool,
        shown: &mut Shown,
    ) -> Result<(), QueryError> {
        shown.unreadable += page.unreadable;
        for row in &page.rows {
            let Some(marker) = Self::marker_in(list, row) else {
                shown.unmarked += 1;
                continue;
            };
            if !is_wanted(marker) {
                shown.foreign += 1;
                continue;
            }
            let id = self.shape().id(row);
            let id = id.ok_or_else(|| self.judge().unreadable("the job in it has no usable id"))?;
            let status = self.report(row, &id, None);
            let is_known =
                |(_, it): &(_, FoundJob)| it.status.provider_job_id == status.provider_job_id;
            if !shown.found.iter().any(is_known) {
                shown.found.push((self.shape().created_at(row), FoundJob { marker, status }));
            }
        }
        Ok(())
    }

    /// What a list that was read to its end shows, oldest first, or whether that proves anything.
    fn found(
        &self,
        operation: Operation,
        list: &List,
        shown: Shown,
    ) -> Result<Vec<FoundJob>, QueryError> {
        if shown.found.is_empty() {
            if let Some(why) = shown.may_hide(operation, list) {
                return Err(self.judge().unreadable(why));
            }
            if list.covers != Covers::All {
                let reason = format!("the list of {} need not show every job", self.name);
                return Err(QueryError::trouble(reason));
            }
        }
        let mut found = shown.found;
        if list.newest_first {
            found.reverse();
        }
        // Where nothing shows when they were created: attempts follow one another.
        found.sort_by_key(|(created_at, it)| (*created_at, it.marker.attempt));
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }

    /// The job under the name that this attempt gave it.
    async fn find_by_name(
        &self,
        marker: Marker,
        name: String,
    ) -> Result<Vec<FoundJob>, QueryError> {
        let job = RemoteJob {
            id: marker.job,
            provider_job_id: ProviderJobId::new(name),
            account: None,
            correlation_id: st_log::get_correlation_id(),
            age: std::time::Duration::ZERO,
            hardware_type: None,
        };
        match self.job_status(&job, Purpose::Other).await {
            Ok(status) => Ok(vec![FoundJob { marker, status }]),
            Err(QueryError::NotFound) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl JobLookup for HttpProvider {
    async fn find(&self, job: JobId, attempt: Option<u32>) -> Result<Vec<FoundJob>, QueryError> {
        let vars = &self.description.vars;
        if let Some(attempt) = attempt {
            let marker = Marker { job, attempt };
            let values = Values::of_attempt(vars, marker);
            if let Once::Name { name, .. } = &self.description.once {
                let name =
                    name.plain(&values).map_err(|why| self.judge().unanswered(why.into()))?;
                return self.find_by_name(marker, name.unwrap_or_default()).await;
            }
            if let Some(find) = &self.description.find {
                return self.walk(Operation::Find, find, &values, |it| it == marker).await;
            }
        }
        let is_wanted =
            |it: Marker| it.job == job && attempt.is_none_or(|attempt| it.attempt == attempt);
        match &self.description.list {
            Some(list) if list.marker.is_some() => {
                let values = Values::new(vars).with_window(&ListQuery::default());
                self.walk(Operation::List, list, &values, is_wanted).await
            }
            Some(_) | None => Err(QueryError::trouble(format!(
                "no list with markers is described for {}, so the job cannot be found there",
                self.name
            ))),
        }
    }
}

#[async_trait]
impl JobList for HttpProvider {
    async fn page(&self, query: &ListQuery) -> Result<ListPage, QueryError> {
        let judge = self.judge();
        let list = self.description.list.as_ref();
        let list = list.ok_or_else(|| judge.unreadable("no list is described"))?;
        let cursor = match (&query.cursor, &list.next) {
            (Some(text), Some(next)) => Cursor::parse(text, next),
            (Some(_), None) | (None, _) => None,
        };
        let values = Values::new(&self.description.vars).with_window(query);
        let page = self
            .read_page((Operation::List, Purpose::Other), list, &values, cursor.as_ref())
            .await?;
        let next = page.next.map_err(|why| judge.unreadable(&why.to_string()))?;
        // It may be a job of ours, whose absence would be concluded.
        if page.unreadable > 0 {
            return Err(judge.unreadable("a row that may be the job is not readable"));
        }
        let mut read = ListPage {
            rows: page.rows.len(),
            next: next.map(|next| next.to_text()),
            ..ListPage::default()
        };
        let mut all_dated = true;
        for row in &page.rows {
            let created_at = self.shape().created_at(row);
            all_dated &= created_at.is_some();
            read.newest = read.newest.max(created_at);
            let Some(marker) = Self::marker_in(list, row) else { continue };
            let id = self.shape().id(row);
            let id = id.ok_or_else(|| judge.unreadable("the job in it has no usable id"))?;
            let status = self.report(row, &id, None);
            let trace = Trace::Marker { marker, by_hand: false };
            read.jobs.push(ListedJob { status, created_at, trace });
        }
        read.newest = read.newest.filter(|_| all_dated);
        Ok(read)
    }
}
