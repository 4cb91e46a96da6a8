//! Claiming and reclaiming.
//!
//! A claim grants from the heads that the writer keeps. Only while a provider is probed it walks from
//! group to group, one seek for each, and up to four more where the provider refused jobs of a group.
//! Counting and granting happen in one transaction of the only writer, so a limit cannot be exceeded
//! in between.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::admission::admission;
use super::grants::{drop_old_grants, record_grant};
use super::heads::{GroupKey, first_behind, first_of, first_of_next};
use super::lease_duration;
use crate::error::{Error, Result};
use crate::model::{
    AccountId, Caution, ClaimOrder, DamagedRow, Grant, Head, JobId, JobRecord, Lease, Opening,
    ProviderName, QueueEntryId, after,
};
use crate::repo::{Claim, ClaimOptions, Claims, Serving};
use crate::sqlite::damage::Damage;
use crate::sqlite::query::{Columns, all, change, readable, value};
use crate::sqlite::records::{load_entry, save};
use crate::sqlite::shares::{self, drop_old_usage};
use crate::sqlite::writer::Tx;

/// How many delayed jobs one claim wakes, so that no other write waits for long.
const WAKES: u32 = 500;

pub(super) fn claim(tx: &Tx<'_>, options: &ClaimOptions) -> Result<Claims> {
    let woken = wake_due(tx)?;
    let (mut claims, mut damage) = (Claims::default(), Damage::default());
    let is_probed = options.serving.iter().any(|serving| {
        matches!(serving.opening, Opening::Limited { submissions, .. } if submissions > 0)
    });
    let half_life = if is_probed {
        let half_life = claim_probing(tx, options, &mut claims, &mut damage)?;
        // It grants without the index, which orders users by their latest grant.
        if !claims.claims.is_empty() {
            tx.heads.forget();
        }
        half_life
    } else {
        claim_open(tx, options, &mut claims, &mut damage)?
    };
    drop_old_grants(tx, claims.claims.len())?;
    if let Some(half_life) = half_life {
        drop_old_usage(tx, claims.claims.len(), half_life)?;
    }
    claims.more |= options.max > 0 && woken == WAKES as usize;
    claims.damaged = damage.into_rows();
    Ok(claims)
}

/// From the heads that are kept, where each provider is open or closed. Returns the half-life of usage
/// under fair share.
fn claim_open(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    claims: &mut Claims,
    damage: &mut Damage,
) -> Result<Option<SignedDuration>> {
    let serves = |provider: &ProviderName| {
        serving(options, provider).is_some_and(|serving| serving.opening == Opening::Open)
    };
    let mut index = tx.heads.take(tx, damage)?;
    let half_life = index.half_life();
    while claims.claims.len() < options.max as usize
        && let Some(head) = index.next(tx.now, serves)
    {
        if grant_to(tx, options, &head, claims, damage)? {
            charge(tx, &head, half_life)?;
            index.grant(&head, tx.now);
            tx.heads.shares_are_known(&head.group.owner);
        }
        index.set_head(&head.group, first_of(tx, &head.group, damage)?);
        tx.heads.is_known(&head.group);
    }
    claims.more = options.max > 0
        && claims.claims.len() >= options.max as usize
        && index.next(tx.now, serves).is_some();
    tx.heads.give_back(index);
    Ok(half_life)
}

/// Charges a slot to its owners; without fair share nothing is written.
fn charge(tx: &Tx<'_>, head: &Head, half_life: Option<SignedDuration>) -> Result<()> {
    half_life
        .map_or(Ok(()), |half_life| shares::charge(tx, head.entry, &head.group.owner, half_life))
}

/// From all heads, where which of them probes a provider depends on what it refused. Returns the same.
fn claim_probing(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    claims: &mut Claims,
    damage: &mut Damage,
) -> Result<Option<SignedDuration>> {
    let admission = admission(tx.connection, tx.now)?;
    let half_life = admission.half_life();
    let mut order = ClaimOrder::new(admission, tx.now);
    if let Some(half_life) = half_life {
        order = order.with_shares(shares::shares(tx.connection, half_life)?);
    }
    if order.is_full() {
        return Ok(half_life);
    }
    for serving in &options.serving {
        order.limit(&serving.provider, &serving.opening);
    }
    offer_heads(tx, options, &mut order, damage)?;
    while claims.claims.len() < options.max as usize
        && let Some(head) = order.grant()
    {
        if grant_to(tx, options, &head, claims, damage)? {
            charge(tx, &head, half_life)?;
        } else {
            order.release(&head);
        }
        if let Some(first) = first_of(tx, &head.group, damage)? {
            let next = head_of_group(tx, &order, first, damage)?;
            order.offer(next);
        }
    }
    claims.more =
        options.max > 0 && claims.claims.len() >= options.max as usize && order.has_next();
    Ok(half_life)
}

/// Grants a slot to a job. `false`: it cannot be decoded and is set aside.
fn grant_to(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    head: &Head,
    claims: &mut Claims,
    damage: &mut Damage,
) -> Result<bool> {
    let serving = serving(options, &head.group.provider);
    match grant(tx, options, serving, head.entry) {
        Ok(record) => {
            record_grant(tx, &record.job().owner.user)?;
            claims.claims.push(claimed(record, options));
            Ok(true)
        }
        Err(error) => {
            let row = damaged_row(error, head.job.to_string())?;
            damage.set_aside(tx.connection, head.entry, row)?;
            Ok(false)
        }
    }
}

/// Delayed jobs whose time has come may be claimed like any other. Returns how many were woken.
fn wake_due(tx: &Tx<'_>) -> Result<usize> {
    // Mostly there are none, and to read that costs less than to change nothing.
    let next: Option<Option<i64>> = value(
        tx.connection,
        "SELECT MIN(not_before) FROM queue_entries \
         WHERE status = 'pending' AND not_before IS NOT NULL AND held IS NULL",
        [],
    )?;
    if next.flatten().is_none_or(|next| next > tx.now.as_millisecond()) {
        return Ok(0);
    }
    change(
        tx.connection,
        "wake delayed jobs",
        "UPDATE queue_entries SET not_before = NULL, not_before_kind = NULL \
         WHERE entry_id IN (SELECT entry_id FROM queue_entries \
         WHERE status = 'pending' AND not_before IS NOT NULL AND held IS NULL \
         AND not_before <= ?1 ORDER BY not_before LIMIT ?2)",
        (tx.now.as_millisecond(), WAKES),
    )
}

fn serving<'a>(options: &'a ClaimOptions, provider: &ProviderName) -> Option<&'a Serving> {
    options.serving.iter().find(|serving| serving.provider == *provider)
}

fn grant(
    tx: &Tx<'_>,
    options: &ClaimOptions,
    serving: Option<&Serving>,
    entry: QueueEntryId,
) -> Result<JobRecord> {
    let mut record = load_entry(tx.connection, entry)?;
    let Some(serving) = serving else { return Err(not_served(&record)) };
    let until = after(tx.now, lease_duration(options.lease));
    let is_of_lost_life = record.entry().epoch < tx.epoch;
    let last_account = if is_of_lost_life { last_account(tx, &serving.provider)? } else { None };
    let grant = Grant {
        lease: Lease { holder: options.holder, until },
        account: serving.account.clone(),
        last_account,
        provider_time: serving.provider_time,
        guarantee: serving.guarantee,
        may_arrive_for: serving.may_arrive_for,
        epoch: tx.epoch,
    };
    let before = record.clone();
    record.claim(&grant, tx.now)?;
    save(tx.connection, &before, &mut record)?;
    Ok(record)
}

/// The account of the provider's latest acceptance. One that cannot be decoded is not known.
fn last_account(tx: &Tx<'_>, provider: &ProviderName) -> Result<Option<AccountId>> {
    let (found, _damaged) = readable(
        tx.connection,
        "SELECT provider_account FROM provider_acceptances \
         JOIN jobs ON job_id = latest_job WHERE provider_acceptances.provider = ?1",
        [provider.as_str()],
        |row| Columns::new(row, "jobs").word_or_null("provider_account"),
    )?;
    Ok(found.into_iter().next().flatten())
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
    while let Some((key, first)) = first_of_next(tx, &behind, damage)? {
        order.note(&first);
        if serving(options, &first.group.provider).is_some() {
            let head = head_of_group(tx, order, first, damage)?;
            order.offer(head);
        }
        behind = key;
    }
    Ok(())
}

/// The head of the group whose first waiting job is `first`.
fn head_of_group(
    tx: &Tx<'_>,
    order: &ClaimOrder,
    first: Head,
    damage: &mut Damage,
) -> Result<Head> {
    for cursor in order.cursors(&first) {
        if let Some(head) = first_behind(tx, &first.group, cursor, damage)? {
            return Ok(head);
        }
    }
    Ok(first)
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
        match job.and_then(|_job| load_entry(tx.connection, entry)) {
            Ok(record) if serving(options, &record.job().provider).is_none() => {}
            Ok(mut record) => {
                let before = record.clone();
                record.reclaim(lease, tx.epoch, tx.now)?;
                save(tx.connection, &before, &mut record)?;
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
        "SELECT q.entry_id, j.job_id FROM queue_entries q LEFT JOIN jobs j \
         ON j.entry_id = q.entry_id WHERE q.in_slot AND q.status = 'ready' \
         AND q.lease_until <= ?1 ORDER BY q.lease_until, q.entry_id",
        [tx.now.as_millisecond()],
        |row| {
            let mut columns = Columns::new(row, "queue_entries");
            let entry = QueueEntryId(columns.plain("entry_id")?);
            Ok((entry, columns.word("job_id")))
        },
    )
}
