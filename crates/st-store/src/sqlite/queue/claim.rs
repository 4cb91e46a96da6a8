//! Claiming and reclaiming.
//!
//! A claim walks from group to group in one index, one seek for each, and offers the groups' heads
//! to the claim order. Counting and granting happen in one transaction of the only writer, so a
//! limit cannot be exceeded in between.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::grants::{drop_old_grants, record_grant};
use super::{id_list, lease_duration};
use crate::error::{Error, Result};
use crate::model::{
    Admission, Caution, ClaimOrder, DamagedRow, Grant, Group, Head, JobId, JobRecord, JobType,
    Lease, OrgId, Owner, ProviderName, QueueEntryId, TeamId, Usage, UserId, after,
};
use crate::repo::{Claim, ClaimOptions, Claims, Serving};
use crate::sqlite::damage::Damage;
use crate::sqlite::query::{Columns, all, change};
use crate::sqlite::records::{load, save};
use crate::sqlite::settings::limits;
use crate::sqlite::writer::Tx;

pub(super) fn claim(tx: &Tx<'_>, options: &ClaimOptions) -> Result<Claims> {
    wake_due(tx)?;
    let usage = usage(tx.connection)?;
    let mut order = ClaimOrder::new(Admission::new(limits(tx.connection)?, usage), tx.now);
    let mut claims = Claims::default();
    if order.is_full() {
        return Ok(claims);
    }
    for serving in &options.serving {
        order.limit(&serving.provider, &serving.opening);
    }
    let mut damage = Damage::default();
    offer_heads(tx, options, &mut order, &mut damage)?;
    while claims.claims.len() < options.max as usize
        && let Some(head) = order.grant()
    {
        let serving = serving(options, &head.group.provider);
        match grant(tx, options, serving, head.job) {
            Ok(record) => {
                record_grant(tx, &record.job().owner.user)?;
                claims.claims.push(claimed(record, options));
            }
            Err(error) => {
                damage.set_aside(
                    tx.connection,
                    head.entry,
                    damaged_row(error, head.job.to_string())?,
                )?;
                order.release(&head);
            }
        }
        if let Some(next) = head_of(tx, &head.group, serving, &mut damage)? {
            order.offer(next);
        }
    }
    drop_old_grants(tx, claims.claims.len())?;
    claims.more =
        options.max > 0 && claims.claims.len() >= options.max as usize && order.has_next();
    claims.damaged = damage.into_rows();
    Ok(claims)
}

/// Delayed jobs whose time has come may be claimed like any other.
fn wake_due(tx: &Tx<'_>) -> Result<()> {
    change(
        tx.connection,
        "wake delayed jobs",
        "UPDATE queue_entries SET not_before = NULL, not_before_kind = NULL \
         WHERE status = 'pending' AND not_before IS NOT NULL AND held IS NULL \
         AND not_before <= ?1",
        [tx.now.as_millisecond()],
    )
    .map(drop)
}

fn serving<'a>(options: &'a ClaimOptions, provider: &ProviderName) -> Option<&'a Serving> {
    options.serving.iter().find(|serving| serving.provider == *provider)
}

fn grant(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    serving: Option<&Serving>,
    job: JobId,
) -> Result<JobRecord> {
    let mut record = load(tx.connection, job)?;
    let Some(serving) = serving else { return Err(not_served(&record)) };
    let until = after(tx.now, lease_duration(options.lease));
    let grant = Grant {
        lease: Lease { holder: options.holder, until },
        account: serving.account.clone(),
        provider_time: serving.provider_time,
        guarantee: serving.guarantee,
        may_arrive_for: serving.may_arrive_for,
        epoch: tx.epoch,
    };
    record.claim(&grant, tx.now)?;
    save(tx.connection, &mut record)?;
    Ok(record)
}

/// The copy of the provider in the queue entry is not the job's own.
fn not_served(record: &JobRecord) -> Error {
    let provider = &record.job().provider;
    let problem = format!("provider: the job's is {provider}, the queue entry has another");
    Error::Damaged(DamagedRow { table: "queue_entries", key: record.id().to_string(), problem })
}

fn claimed(record: JobRecord, options: &ClaimOptions) -> Claim {
    let (reclaims, panics) = (record.entry().reclaims, record.entry().panics);
    let usable_for = lease_duration(options.lease).try_into().unwrap_or_default();
    Claim { record, usable_for, caution: Caution::after(reclaims, panics) }
}

/// What makes a job undecodable; every other error is passed on.
fn damaged_row(error: Error, key: String) -> Result<DamagedRow> {
    if let Error::NotFound { .. } = error {
        let problem = "the row is missing".to_owned();
        return Ok(DamagedRow { table: "jobs", key, problem });
    }
    error.into_damaged().map(|row| DamagedRow { key, ..row })
}

/// Offers the head of every group of the providers that are served.
fn offer_heads(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    order: &mut ClaimOrder,
    damage: &mut Damage,
) -> Result<()> {
    let mut behind = GroupKey::default();
    while let Some((key, head)) = first_behind(tx, &behind, damage)? {
        let serving = serving(options, &head.group.provider);
        let head = match serving {
            None => None,
            Some(serving) if serving.opening.excepts(head.job) => {
                head_of(tx, &head.group, Some(serving), damage)?
            }
            Some(_) => Some(head),
        };
        if let Some(head) = head {
            order.offer(head);
        }
        behind = key;
    }
    Ok(())
}

/// A group's columns as they are in the index.
#[derive(Debug, Clone, Default)]
struct GroupKey {
    user: String,
    team: String,
    org: String,
    job_type: String,
    provider: String,
}

impl GroupKey {
    fn of(group: &Group) -> Self {
        Self {
            user: group.owner.user.as_str().to_owned(),
            team: group.owner.team.as_ref().map_or("", TeamId::as_str).to_owned(),
            org: group.owner.org.as_ref().map_or("", OrgId::as_str).to_owned(),
            job_type: group.job_type.as_str().to_owned(),
            provider: group.provider.as_str().to_owned(),
        }
    }

    fn read(columns: &mut Columns<'_>) -> Result<Self> {
        Ok(Self {
            user: columns.plain("user_id")?,
            team: columns.plain("team_id")?,
            org: columns.plain("org_id")?,
            job_type: columns.plain("job_type")?,
            provider: columns.plain("provider")?,
        })
    }

    fn owner(&self) -> Owner {
        let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Owner {
            user: UserId::new(self.user.as_str()),
            team: named(&self.team).map(TeamId::new),
            org: named(&self.org).map(OrgId::new),
        }
    }
}

/// The head of the first group behind `behind`: one seek in `queue_claimable`.
fn first_behind(
    tx: &Tx<'_>,
    behind: &GroupKey,
    damage: &mut Damage,
) -> Result<Option<(GroupKey, Head)>> {
    readable_head(tx, damage, || {
        let found = all(
            tx.connection,
            "SELECT entry_id, job_id, user_id, team_id, org_id, job_type, provider, deadline, \
             waits_since, (SELECT granted_at FROM user_grants g \
             WHERE g.user_id = queue_entries.user_id) FROM queue_entries WHERE status = 'pending' AND not_before IS NULL \
             AND held IS NULL \
             AND (user_id, team_id, org_id, job_type, provider) > (?1, ?2, ?3, ?4, ?5) \
             ORDER BY user_id, team_id, org_id, job_type, provider, deadline, entry_id LIMIT 1",
            params![behind.user, behind.team, behind.org, behind.job_type, behind.provider],
            read_head,
        )?;
        Ok(found.into_iter().next())
    })
}

/// The head of one group: its first job that the opening of its provider does not except.
fn head_of(
    tx: &Tx<'_>,
    group: &Group,
    serving: Option<&Serving>,
    damage: &mut Damage,
) -> Result<Option<Head>> {
    let key = GroupKey::of(group);
    let excepted = id_list(serving.into_iter().flat_map(|serving| serving.opening.excepted()));
    let found = readable_head(tx, damage, || {
        let found = all(
            tx.connection,
            "SELECT entry_id, job_id, user_id, team_id, org_id, job_type, provider, deadline, \
             waits_since, (SELECT granted_at FROM user_grants g \
             WHERE g.user_id = queue_entries.user_id) FROM queue_entries WHERE status = 'pending' AND not_before IS NULL \
             AND held IS NULL AND user_id = ?1 AND team_id = ?2 AND org_id = ?3 \
             AND job_type = ?4 AND provider = ?5 \
             AND job_id NOT IN (SELECT value FROM json_each(?6)) \
             ORDER BY deadline, entry_id LIMIT 1",
            params![key.user, key.team, key.org, key.job_type, key.provider, excepted],
            read_head,
        )?;
        Ok(found.into_iter().next())
    })?;
    Ok(found.map(|(_, head)| head))
}

/// Runs a query for a head until it finds one that can be decoded; the others are set aside.
fn readable_head<T>(
    tx: &Tx<'_>,
    damage: &mut Damage,
    query: impl Fn() -> Result<Option<(QueueEntryId, Result<T>)>>,
) -> Result<Option<T>> {
    while let Some((entry, head)) = query()? {
        match head {
            Ok(head) => return Ok(Some(head)),
            Err(error) => damage.set_aside(tx.connection, entry, error.into_damaged()?)?,
        }
    }
    Ok(None)
}

/// An entry, and what can be decoded of it.
fn read_head(row: &Row<'_>) -> Result<(QueueEntryId, Result<(GroupKey, Head)>)> {
    let mut columns = Columns::new(row, "queue_entries");
    let entry = QueueEntryId(columns.plain("entry_id")?);
    Ok((entry, head(&mut columns, entry)))
}

fn head(columns: &mut Columns<'_>, entry: QueueEntryId) -> Result<(GroupKey, Head)> {
    let job = columns.word("job_id")?;
    let key = GroupKey::read(columns)?;
    let group = Group {
        owner: key.owner(),
        job_type: parse_type(columns, &key)?,
        provider: ProviderName::new(key.provider.as_str()),
    };
    let (deadline, waits_since) = (columns.time("deadline")?, columns.time("waits_since")?);
    // A time that cannot be decoded is not the job's fault: the next grant replaces it.
    let last_grant = columns.time_or_null("granted_at").unwrap_or_default();
    Ok((key, Head { deadline, entry, job, group, waits_since, last_grant }))
}

fn parse_type(columns: &Columns<'_>, key: &GroupKey) -> Result<JobType> {
    key.job_type.parse().map_err(|unknown| columns.damaged(format!("job_type: {unknown}")))
}

/// The slots that are taken now, counted from the rows themselves: entries and strays.
pub(super) fn usage(connection: &Connection) -> Result<Usage> {
    let counted = all(
        connection,
        "SELECT COUNT(*), user_id, team_id, org_id, job_type, '' FROM queue_entries \
         WHERE status IN ('ready', 'running') AND held IS NULL \
         GROUP BY user_id, team_id, org_id, job_type \
         UNION ALL \
         SELECT COUNT(*), user_id, COALESCE(team_id, ''), COALESCE(org_id, ''), job_type, '' \
         FROM strays WHERE user_id IS NOT NULL GROUP BY 2, 3, 4, 5",
        [],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let count = columns.number::<u32>("count")?;
            // A damaged row must not stop every claim. Its slot counts against the limits of all.
            let key = GroupKey::read(&mut columns).unwrap_or_default();
            let job_type = parse_type(&columns, &key).unwrap_or(JobType::Local);
            Ok((key.owner(), job_type, count))
        },
    )?;
    let mut usage = Usage::default();
    for (owner, job_type, entries) in counted {
        usage.add(&owner, job_type, entries);
    }
    Ok(usage)
}

pub(super) fn reclaim(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    in_flight: &BTreeSet<JobId>,
) -> Result<Claims> {
    let mut damage = Damage::default();
    let mut claims = Claims::default();
    let until = after(tx.now, lease_duration(options.lease));
    let lease = Lease { holder: options.holder, until };
    for (entry, job) in expired(tx)? {
        if claims.claims.len() >= options.max as usize {
            break;
        }
        if job.as_ref().is_ok_and(|job| in_flight.contains(job)) {
            continue;
        }
        let key = job.as_ref().map_or_else(|_damaged| entry.to_string(), ToString::to_string);
        match job.and_then(|job| load(tx.connection, job)) {
            Ok(record) if serving(options, &record.job().provider).is_none() => {}
            Ok(mut record) => {
                record.reclaim(lease, tx.epoch, tx.now)?;
                save(tx.connection, &mut record)?;
                claims.claims.push(claimed(record, options));
            }
            Err(error) => damage.set_aside(tx.connection, entry, damaged_row(error, key)?)?,
        }
    }
    claims.more = options.max > 0 && claims.claims.len() >= options.max as usize;
    claims.damaged = damage.into_rows();
    Ok(claims)
}

/// Claims whose lease expired, the oldest first. As many as there are slots at most.
fn expired(tx: &Tx<'_>) -> Result<Vec<(QueueEntryId, Result<JobId>)>> {
    all(
        tx.connection,
        "SELECT entry_id, job_id FROM queue_entries WHERE status = 'ready' AND held IS NULL \
         AND lease_until <= ?1 ORDER BY lease_until, entry_id",
        [tx.now.as_millisecond()],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let entry = QueueEntryId(columns.plain("entry_id")?);
            Ok((entry, columns.word("job_id")))
        },
    )
}
