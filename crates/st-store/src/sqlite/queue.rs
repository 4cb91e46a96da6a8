//! The queue in SQLite.
//!
//! A claim walks from group to group (owner and kind of job) in one index, one seek for each, and
//! keeps the groups' heads in a heap: a group at its limit costs one look, however much waits in
//! it. Counting and granting happen in one transaction of the only writer, so a limit cannot be
//! passed in between.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, params};
use serde_json::Value;

use super::SqliteStore;
use super::rows::{Columns, all, change, load, save, select_work, step, value, work};
use super::settings::limits;
use super::writer::Lane;
use crate::error::{Error, Result};
use crate::model::step::{Failure, Retried};
use crate::model::{
    Admission, AttemptToken, JobId, JobType, OrgId, Owner, Page, PageRequest, ProviderJobId,
    QueueFilter, QueueStats, QueueStatus, Refusal, Report, TeamId, Usage, UserId, Work,
};
use crate::repo::{Claim, Claiming, QueueRepo};

#[async_trait]
impl QueueRepo for SqliteStore {
    async fn claim(&self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
        self.writer
            .write(Lane::Interactive, "claim jobs", move |connection| claim(connection, how, now))
            .await
    }

    async fn rescue(&self, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
        self.writer
            .write(Lane::Interactive, "rescue jobs", move |connection| {
                let jobs: Vec<JobId> = all(
                    connection,
                    "SELECT job_id FROM queue_entries WHERE status = 'ready' AND lease_until <= ?1 \
                     ORDER BY lease_until, entry_id LIMIT ?2",
                    params![now.as_millisecond(), how.max],
                    job_id,
                )?;
                let until = after(now, how.lease);
                let take = |job| {
                    let ((), work) = step(connection, job, |work| Ok(work.rescue(until)?))?;
                    claimed(connection, work)
                };
                jobs.into_iter().map(take).collect()
            })
            .await
    }

    async fn release_leases(&self, now: Timestamp) -> Result<u64> {
        self.writer
            .write(Lane::Interactive, "release leases", move |connection| {
                let sql = "UPDATE queue_entries SET lease_until = ?1 WHERE status = 'ready'";
                let rows = change(connection, "release leases", sql, [now.as_millisecond()])?;
                Ok(rows as u64)
            })
            .await
    }

    async fn hold(
        &self,
        job: JobId,
        token: AttemptToken,
        until: Timestamp,
        resubmit_after: Timestamp,
    ) -> Result<()> {
        self.writer
            .write(Lane::Interactive, "hold a claimed job", move |connection| {
                let hold = |work: &mut Work| Ok(work.hold(token, until, resubmit_after)?);
                step(connection, job, hold).map(|((), _work)| ())
            })
            .await
    }

    async fn record_submitted(
        &self,
        job: JobId,
        token: AttemptToken,
        report: &Report,
        now: Timestamp,
    ) -> Result<Work> {
        let report = report.clone();
        self.writer
            .write(Lane::Interactive, "record a submission", move |connection| {
                let take = |work: &mut Work| {
                    work.submitted(token, &report, now)?;
                    refuse_adopted(connection, work, &report.provider_job_id)
                };
                step(connection, job, take).map(|((), work)| work)
            })
            .await
    }

    async fn give_back(
        &self,
        job: JobId,
        token: AttemptToken,
        failure: Failure,
        now: Timestamp,
    ) -> Result<Retried> {
        self.writer
            .write(Lane::Interactive, "give a claimed job back", move |connection| {
                let take = |work: &mut Work| Ok(work.give_back(token, &failure, now)?);
                step(connection, job, take).map(|(retried, _work)| retried)
            })
            .await
    }

    async fn list_entries(&self, filter: QueueFilter, page: PageRequest) -> Result<Page<Work>> {
        self.readers
            .read("list queue entries", move |connection| list(connection, filter, page))
            .await
    }

    async fn position(&self, job: JobId) -> Result<Option<u64>> {
        self.readers
            .read("read a job's position", move |connection| {
                let rank: Option<i64> = value(
                    connection,
                    "SELECT (SELECT COUNT(*) FROM queue_entries p WHERE p.status = 'pending' \
                     AND (p.deadline, p.entry_id) <= (q.deadline, q.entry_id)) \
                     FROM queue_entries q WHERE q.job_id = ?1 AND q.status = 'pending'",
                    [job.to_string()],
                )?;
                Ok(rank.map(i64::unsigned_abs))
            })
            .await
    }

    async fn queue_stats(&self) -> Result<QueueStats> {
        self.readers.read("count the queue", stats).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.readers
            .read("read when the queue is due", |connection| {
                let sql = "SELECT MIN(due) FROM ( \
                     SELECT MIN(not_before) AS due FROM queue_entries \
                     WHERE status = 'pending' AND not_before IS NOT NULL \
                     UNION ALL \
                     SELECT MIN(lease_until) FROM queue_entries WHERE status = 'ready')";
                time_of(connection, sql)
            })
            .await
    }
}

/// Jobs that may compete with each other only by their deadline: one owner's, of one kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    user: String,
    team: String,
    org: String,
    job_type: JobType,
}

impl Group {
    fn owner(&self) -> Owner {
        let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Owner {
            user: UserId::new(self.user.clone()),
            team: named(&self.team).map(TeamId::new),
            org: named(&self.org).map(OrgId::new),
        }
    }
}

/// The entry of a group that is next: by share, then deadline, then age.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    share: u32,
    deadline: i64,
    entry: i64,
    job: JobId,
    group: Group,
}

fn claim(connection: &Connection, how: Claiming, now: Timestamp) -> Result<Vec<Claim>> {
    change(
        connection,
        "wake delayed jobs",
        "UPDATE queue_entries SET not_before = NULL \
         WHERE status = 'pending' AND not_before IS NOT NULL AND not_before <= ?1",
        [now.as_millisecond()],
    )?;
    let mut admission = Admission::new(limits(connection)?, usage(connection)?);
    let mut claims = Vec::new();
    if admission.is_full() {
        return Ok(claims);
    }
    let mut heads = heads(connection, &admission)?;
    while claims.len() < how.max as usize
        && let Some(Reverse(mut head)) = heads.pop()
    {
        let owner = head.group.owner();
        if admission.holds_back(&owner, head.group.job_type).is_some() {
            continue;
        }
        let share = admission.share(&owner);
        if share != head.share {
            head.share = share;
            heads.push(Reverse(head));
            continue;
        }
        let mut work = load(connection, head.job)?;
        work.claim(after(now, how.lease), after(now, how.settle), now)?;
        save(connection, &mut work)?;
        admission.take(&owner, head.group.job_type);
        claims.push(claimed(connection, work)?);
        heads.extend(head_of(connection, &admission, &head.group)?.map(Reverse));
    }
    Ok(claims)
}

/// The head of every group that has something to claim.
fn heads(connection: &Connection, admission: &Admission) -> Result<BinaryHeap<Reverse<Head>>> {
    let mut heads = BinaryHeap::new();
    let mut next = first_head(connection, admission, None)?;
    while let Some(head) = next {
        next = first_head(connection, admission, Some(&head.group))?;
        heads.push(Reverse(head));
    }
    Ok(heads)
}

/// The head of the first group behind `behind`: one seek in `queue_claimable`.
fn first_head(
    connection: &Connection,
    admission: &Admission,
    behind: Option<&Group>,
) -> Result<Option<Head>> {
    let read = |row: &Row<'_>| read_head(row, admission);
    let found = match behind {
        None => all(
            connection,
            "SELECT job_id, user_id, team_id, org_id, job_type, deadline, entry_id \
             FROM queue_entries WHERE status = 'pending' AND not_before IS NULL \
             ORDER BY user_id, team_id, org_id, job_type, deadline, entry_id LIMIT 1",
            [],
            read,
        ),
        Some(group) => all(
            connection,
            "SELECT job_id, user_id, team_id, org_id, job_type, deadline, entry_id \
             FROM queue_entries WHERE status = 'pending' AND not_before IS NULL \
             AND (user_id, team_id, org_id, job_type) > (?1, ?2, ?3, ?4) \
             ORDER BY user_id, team_id, org_id, job_type, deadline, entry_id LIMIT 1",
            params![group.user, group.team, group.org, group.job_type.as_str()],
            read,
        ),
    };
    Ok(found?.pop())
}

/// The head of one group.
fn head_of(connection: &Connection, admission: &Admission, group: &Group) -> Result<Option<Head>> {
    let found = all(
        connection,
        "SELECT job_id, user_id, team_id, org_id, job_type, deadline, entry_id \
         FROM queue_entries WHERE status = 'pending' AND not_before IS NULL \
         AND user_id = ?1 AND team_id = ?2 AND org_id = ?3 AND job_type = ?4 \
         ORDER BY deadline, entry_id LIMIT 1",
        params![group.user, group.team, group.org, group.job_type.as_str()],
        |row| read_head(row, admission),
    );
    Ok(found?.pop())
}

fn read_head(row: &Row<'_>, admission: &Admission) -> Result<Head> {
    let mut columns = Columns::new(row, "queue_entries");
    let job = columns.word("job_id")?;
    let group = group(&mut columns)?;
    Ok(Head {
        share: admission.share(&group.owner()),
        deadline: columns.plain("deadline")?,
        entry: columns.plain("entry_id")?,
        job,
        group,
    })
}

fn group(columns: &mut Columns<'_>) -> Result<Group> {
    Ok(Group {
        user: columns.plain("user_id")?,
        team: columns.plain("team_id")?,
        org: columns.plain("org_id")?,
        job_type: columns.word("job_type")?,
    })
}

/// What takes a slot now, counted from the rows themselves.
fn usage(connection: &Connection) -> Result<Usage> {
    let counted = all(
        connection,
        "SELECT user_id, team_id, org_id, job_type, COUNT(*) FROM queue_entries \
         WHERE status IN ('ready', 'running') GROUP BY user_id, team_id, org_id, job_type",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            Ok((group(&mut columns)?, columns.number::<u32>("count")?))
        },
    )?;
    let mut usage = Usage::default();
    for (group, entries) in counted {
        usage.add(&group.owner(), group.job_type, entries);
    }
    Ok(usage)
}

/// What is handed out with a claim, besides the job: what the provider gets.
fn claimed(connection: &Connection, work: Work) -> Result<Claim> {
    let id = work.job.id.to_string();
    let sql = "SELECT input FROM job_inputs WHERE job_id = ?1";
    let text: Option<String> = value(connection, sql, [&id])?;
    let input: Option<Value> = text.and_then(|text| serde_json::from_str(&text).ok());
    let corrupt = Error::Corrupt { table: "job_inputs", column: "input", row: id };
    Ok(Claim { work, input: input.ok_or(corrupt)? })
}

fn refuse_adopted(
    connection: &Connection,
    work: &Work,
    provider_job: &ProviderJobId,
) -> Result<()> {
    let other: Option<String> = value(
        connection,
        "SELECT job_id FROM jobs WHERE provider_job_id = ?1 AND provider = ?2 AND job_id <> ?3",
        params![provider_job.as_str(), work.job.provider.as_str(), work.job.id.to_string()],
    )?;
    match other {
        None => Ok(()),
        Some(_) => Err(Refusal::AlreadyAdopted(provider_job.clone()).into()),
    }
}

fn list(connection: &Connection, filter: QueueFilter, page: PageRequest) -> Result<Page<Work>> {
    let wanted: Vec<Value> =
        filter.statuses().into_iter().map(|status| Value::from(status.as_str())).collect();
    let wanted = Value::Array(wanted).to_string();
    let items = all(
        connection,
        select_work!(
            "WHERE q.status IN (SELECT value FROM json_each(?1)) \
             ORDER BY q.entry_id LIMIT ?2 OFFSET ?3"
        ),
        params![wanted, page.limit, page.offset],
        work,
    )?;
    let total: Option<i64> = value(
        connection,
        "SELECT COALESCE(SUM(entries), 0) FROM queue_counts WHERE status IN (SELECT value FROM json_each(?1))",
        [wanted],
    )?;
    Ok(Page { items, total: total.unwrap_or(0).unsigned_abs() })
}

fn stats(connection: &Connection) -> Result<QueueStats> {
    let counted: Vec<(QueueStatus, u64)> =
        all(connection, "SELECT status, entries FROM queue_counts WHERE entries > 0", [], |row| {
            let mut columns = Columns::new(row, "queue_counts");
            Ok((columns.word("status")?, columns.number("entries")?))
        })?;
    let users: Vec<(UserId, u64)> = all(
        connection,
        "SELECT user_id, COUNT(*) FROM queue_entries \
         WHERE status IN ('blocked', 'pending', 'ready', 'running') GROUP BY user_id",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            Ok((UserId::new(columns.plain::<String>("user_id")?), columns.number("count")?))
        },
    )?;
    let waited = all(
        connection,
        "SELECT COALESCE(SUM(waited), 0), COUNT(*) FROM ( \
         SELECT started_at - queued_at AS waited FROM queue_entries \
         WHERE started_at IS NOT NULL ORDER BY started_at DESC, entry_id DESC LIMIT 100)",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let total = SignedDuration::from_millis(columns.plain("waited")?);
            Ok(QueueStats::mean_wait(total, columns.number("claims")?))
        },
    )?;
    let oldest = "SELECT MIN(queued_at) FROM queue_entries \
                  WHERE status = 'pending' AND not_before IS NULL";
    Ok(QueueStats {
        by_status: counted.into_iter().collect(),
        by_user: users.into_iter().collect::<BTreeMap<_, _>>(),
        avg_wait_seconds: waited.into_iter().next().flatten(),
        oldest_claimable_at: time_of(connection, oldest)?,
        limits: limits(connection)?,
    })
}

fn time_of(connection: &Connection, sql: &str) -> Result<Option<Timestamp>> {
    let read = |row: &Row<'_>| Columns::new(row, "queue_entries").time_or_null("time");
    Ok(all(connection, sql, [], read)?.pop().flatten())
}

fn job_id(row: &Row<'_>) -> Result<JobId> {
    Columns::new(row, "queue_entries").word("job_id")
}

fn after(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}
