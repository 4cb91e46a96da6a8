//! The queue in SQLite.

mod admission;
mod changed;
mod claim;
pub(super) mod ended_strays;
mod figures;
mod grants;
mod heads;
mod kept;
mod of_user;
mod read;
mod resolve;
mod settle;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::SqliteStore;
use super::adjust::cut_dates;
use super::lists;
use super::query::{change, value};
use super::records::step;
use super::writer::Lane;
use crate::error::{Error, Result};
use crate::model::{
    Actor, DamagedRow, Group, Holder, JobId, JobRecord, LimitUse, MAX_LEASE, Page, PageRequest,
    Priority, PriorityChange, ProviderName, QueueEntryId, QueueFilter, QueueStats, Resolution,
    Settled, Standings, UserId, UserQueue, after,
};
use crate::repo::{ClaimOptions, Claims, QueueRepo, Settlement};

pub(super) use admission::shown_admission;
pub(super) use figures::{figures, waiting_groups};
pub(super) use kept::KeptHeads;
pub(super) use read::{counted, position};
pub(super) use settle::{record_sighting, remove_stray};

#[async_trait]
impl QueueRepo for SqliteStore {
    async fn claim(&self, options: &ClaimOptions) -> Result<Claims> {
        let options = options.clone();
        let (clock, cut_for) = (Arc::clone(&self.clock), Arc::clone(&self.dates_cut_for));
        let (claims, cut) = self
            .writer
            .write(Lane::Worker, "claim jobs", move |tx| {
                let generation = clock.generation();
                let cut = tx.clock_confirmed && cut_for.load(Ordering::Relaxed) != generation;
                if cut {
                    cut_dates(tx)?;
                }
                Ok((claim::claim(tx, &options)?, cut.then_some(generation)))
            })
            .await?;
        if let Some(generation) = cut {
            self.dates_cut_for.store(generation, Ordering::Relaxed);
        }
        Ok(claims)
    }

    async fn reclaim(&self, options: &ClaimOptions, in_flight: &BTreeSet<JobId>) -> Result<Claims> {
        let (options, in_flight) = (options.clone(), in_flight.clone());
        self.writer
            .write(Lane::Worker, "reclaim jobs", move |tx| claim::reclaim(tx, &options, &in_flight))
            .await
    }

    async fn renew(
        &self,
        holder: Holder,
        lease: Duration,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<u64> {
        let jobs = id_list(in_flight);
        self.writer
            .write(Lane::Worker, "renew leases", move |tx| {
                let until = after(tx.now, lease_duration(lease));
                let renewed = change(
                    tx.connection,
                    "renew leases",
                    "UPDATE queue_entries SET lease_until = ?2 \
                     WHERE in_slot AND status = 'ready' AND lease_holder = ?1 AND entry_id IN \
                     (SELECT entry_id FROM json_each(?3) JOIN jobs ON job_id = value)",
                    params![holder.to_string(), until.as_millisecond(), jobs],
                )?;
                Ok(renewed as u64)
            })
            .await
    }

    /// The lock on the file proves that no other holder lives.
    async fn expire_dead_holders(&self, holder: Holder) -> Result<u64> {
        self.writer
            .write(Lane::Worker, "end the leases of dead holders", move |tx| {
                let ended = change(
                    tx.connection,
                    "end the leases of dead holders",
                    "UPDATE queue_entries SET lease_until = ?2, \
                     unresolved_since = COALESCE(unresolved_since, ?2) \
                     WHERE in_slot AND status = 'ready' AND lease_holder <> ?1",
                    params![holder.to_string(), tx.now.as_millisecond()],
                )?;
                Ok(ended as u64)
            })
            .await
    }

    async fn settle(
        &self,
        actor: &Actor,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(Settled, JobRecord)>>> {
        let actor = actor.clone();
        self.writer
            .write(Lane::Worker, "settle outcomes", move |tx| {
                settle::settle(tx, &actor, &settlements)
            })
            .await
    }

    async fn resolve(
        &self,
        job: JobId,
        resolution: &Resolution,
        note: Option<&str>,
        by: &Actor,
    ) -> Result<JobRecord> {
        let (resolution, by) = (resolution.clone(), by.clone());
        let note = note.map(str::to_owned);
        self.writer
            .write(Lane::Interactive, "resolve a job", move |tx| {
                resolve::resolve(tx, job, &resolution, note.as_deref(), &by)
            })
            .await
    }

    async fn set_priority(
        &self,
        job: JobId,
        priority: Option<Priority>,
        by: &Actor,
    ) -> Result<(PriorityChange, JobRecord)> {
        let by = by.clone();
        self.writer
            .write(Lane::Interactive, "store a priority", move |tx| {
                step(tx, job, |record| Ok(record.set_priority(priority, &by, tx.now)?))
            })
            .await
    }

    async fn input(&self, job: JobId) -> Result<Value> {
        self.readers.point("read a job's input", move |connection| input_of(connection, job)).await
    }

    async fn list_entries(
        &self,
        filter: QueueFilter,
        page: PageRequest,
    ) -> Result<Page<JobRecord, QueueEntryId>> {
        let (page, fresh) = self
            .readers
            .list("list queue entries", move |connection| lists::entries(connection, filter, page))
            .await?;
        self.set_aside(&fresh).await;
        Ok(page)
    }

    async fn standings(&self, jobs: &[JobId]) -> Result<Standings> {
        let (jobs, now) = (jobs.to_vec(), self.clock.now());
        self.readers
            .list("read positions", move |connection| read::standings(connection, &jobs, now))
            .await
    }

    async fn limit_uses(&self, group: &Group) -> Result<Vec<LimitUse>> {
        let group = group.clone();
        self.readers
            .point("read the limits", move |connection| admission::limit_uses(connection, &group))
            .await
    }

    async fn providers_in_use(&self) -> Result<BTreeSet<ProviderName>> {
        self.readers.point("list the providers in use", read::providers_in_use).await
    }

    async fn queue_stats(&self) -> Result<QueueStats> {
        self.readers.list("count the queue", read::stats).await
    }

    async fn user_queue(&self, user: &UserId, max: u32) -> Result<UserQueue> {
        let user = user.clone();
        let (queue, fresh) = self
            .readers
            .list("read the queue of a user", move |connection| {
                of_user::user_queue(connection, &user, max)
            })
            .await?;
        self.set_aside(&fresh).await;
        Ok(queue)
    }

    async fn next_due(
        &self,
        options: &ClaimOptions,
        in_flight: &BTreeSet<JobId>,
    ) -> Result<Option<Duration>> {
        let served: Vec<Value> =
            options.serving.iter().map(|serving| Value::from(serving.provider.as_str())).collect();
        let (served, in_flight) = (Value::Array(served).to_string(), id_list(in_flight));
        let due = self
            .readers
            .point("read when the queue is due", move |connection| {
                read::next_due(connection, &served, &in_flight)
            })
            .await?;
        Ok(due.map(|due| self.until(due)))
    }
}

/// What the provider gets for a job.
pub(super) fn input_of(connection: &Connection, job: JobId) -> Result<Value> {
    let sql = "SELECT i.input FROM jobs j JOIN job_inputs i ON i.entry_id = j.entry_id \
               WHERE j.job_id = ?1";
    let text: Option<String> = value(connection, sql, [job.to_string()])?;
    let missing = || Error::NotFound { what: "job", id: job.to_string() };
    serde_json::from_str(&text.ok_or_else(missing)?).map_err(|syntax| {
        let (table, key) = ("job_inputs", job.to_string());
        Error::Damaged(DamagedRow { table, key, problem: format!("input: {syntax}") })
    })
}

/// Jobs as a JSON array, for `json_each`.
pub(super) fn id_list<'j>(jobs: impl IntoIterator<Item = &'j JobId>) -> String {
    Value::Array(jobs.into_iter().map(|job| Value::from(job.to_string())).collect()).to_string()
}

/// A lease's length, at most the longest that is legal.
fn lease_duration(lease: Duration) -> SignedDuration {
    SignedDuration::try_from(lease).unwrap_or(MAX_LEASE).min(MAX_LEASE)
}
