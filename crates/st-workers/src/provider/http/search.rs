//! Finding our jobs at the provider: by its list, by its list filtered by a marker, or by their name.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use st_store::{JobId, Marker, ProviderJobId};

use super::answers::Operation;
use super::described::HttpProvider;
use super::json;
use super::list::{Covers, Cursor, List};
use super::once::Once;
use super::values::{Values, parse_marker};
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
    pub(super) next: Option<Cursor>,
}

impl HttpProvider {
    /// Reads a page.
    pub(super) async fn read_page(
        &self,
        operation: Operation,
        list: &List,
        values: &Values<'_>,
        cursor: Option<&Cursor>,
    ) -> Result<ReadPage, QueryError> {
        let judge = self.judge();
        let answer = match cursor {
            None => self.send(operation, &list.call, values, &[]).await,
            Some(Cursor::Query { name, value }) => {
                self.send(operation, &list.call, values, &[(name, value)]).await
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
                        self.connection.ask(&self.description, operation, outgoing).await
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
        let next = list.next.as_ref().and_then(|next| {
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
        let mut found: Vec<(Option<Timestamp>, FoundJob)> = Vec::new();
        let (mut cursor, mut seen) = (None, std::collections::BTreeSet::new());
        let mut unreadable = 0;
        for _ in 0..MOST_PAGES {
            let page = self.read_page(operation, list, values, cursor.as_ref()).await?;
            unreadable += page.unreadable;
            for row in &page.rows {
                let Some(marker) = Self::marker_in(list, row).filter(|it| is_wanted(*it)) else {
                    continue;
                };
                let id = self.shape().id(row);
                let id = id.ok_or_else(|| judge.unreadable("the job in it has no usable id"))?;
                let status = self.shape().report(row, &id, &self.description.prices, None);
                let is_new =
                    found.iter().all(|(_, it)| it.status.provider_job_id != status.provider_job_id);
                if is_new {
                    found.push((self.shape().created_at(row), FoundJob { marker, status }));
                }
            }
            match page.next {
                Some(next) if seen.insert(next.to_text()) => cursor = Some(next),
                Some(_) => return Err(judge.unreadable("its next page was read already")),
                None => return self.found(operation, list, found, unreadable),
            }
        }
        Err(judge.unreadable("the list does not end"))
    }

    /// What a list that was read to its end shows, oldest first, or whether that proves anything.
    fn found(
        &self,
        operation: Operation,
        list: &List,
        mut found: Vec<(Option<Timestamp>, FoundJob)>,
        unreadable: usize,
    ) -> Result<Vec<FoundJob>, QueryError> {
        // What was filtered by our marker and cannot be read may be ours.
        let hidden = operation == Operation::Find && unreadable > 0;
        if found.is_empty() && hidden {
            return Err(self.judge().unreadable("a row that may be the job is not readable"));
        }
        if found.is_empty() && list.covers == Covers::Unknown {
            let reason =
                format!("it is not known whether the list of {} shows every job", self.name);
            return Err(QueryError::trouble(reason));
        }
        if list.newest_first {
            found.reverse();
        }
        found.sort_by_key(|(created_at, _)| *created_at);
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
        match self.job_status(&job).await {
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
        let page = self.read_page(Operation::List, list, &values, cursor.as_ref()).await?;
        let mut read = ListPage {
            rows: page.rows.len() + page.unreadable,
            unreadable: page.unreadable,
            next: page.next.map(|next| next.to_text()),
            ..ListPage::default()
        };
        let mut all_dated = page.unreadable == 0;
        for row in &page.rows {
            let created_at = self.shape().created_at(row);
            all_dated &= created_at.is_some();
            read.newest = read.newest.max(created_at);
            let Some(marker) = Self::marker_in(list, row) else { continue };
            let Some(id) = self.shape().id(row) else {
                read.unreadable += 1;
                continue;
            };
            let status = self.shape().report(row, &id, &self.description.prices, None);
            let trace = Trace::Marker { marker, by_hand: false };
            read.jobs.push(ListedJob { status, created_at, trace });
        }
        read.newest = read.newest.filter(|_| all_dated);
        Ok(read)
    }
}
