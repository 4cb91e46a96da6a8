//! Settling outcomes and sightings: what became of attempts, and what that means for other jobs.

use rusqlite::{Connection, params};

use super::ended_strays;
use crate::error::{Error, Result};
use crate::model::blame::{WINDOW, near};
use crate::model::{
    Acceptances, AccountId, Actor, JobId, JobRecord, JobType, Marker, OrgId, Outcome, Owner,
    ProviderJobId, ProviderName, QueueEntryId, Settled, Settling, Sighting, SightingOutcome, Stage,
    TeamId, TransitionError, UserId, after,
};
use crate::repo::Settlement;
use crate::sqlite::query::{Columns, change, change_one, millis, readable, value};
use crate::sqlite::records::{find, load, load_entry, save, step_loaded};
use crate::sqlite::strays::schedule;
use crate::sqlite::writer::Tx;

pub(super) fn settle(
    tx: &Tx<'_>,
    actor: &Actor,
    settlements: &[Settlement],
) -> Result<Vec<Result<(Settled, JobRecord)>>> {
    let mut results = Vec::with_capacity(settlements.len());
    for settlement in settlements {
        let changes = tx.connection.total_changes();
        let result = settle_one(tx, actor, settlement);
        // Only what concerns this one job is its own result, and is found before anything is written.
        let is_own = matches!(
            &result,
            Ok(_) | Err(Error::NotFound { .. } | Error::Refused(_) | Error::Damaged(_))
        );
        if !is_own {
            return result.map(|_settled| results);
        }
        if result.is_err() && tx.connection.total_changes() != changes {
            let source = "what was refused had been written in part".into();
            return Err(Error::Database { operation: "settle outcomes", source });
        }
        results.push(result);
    }
    Ok(results)
}

fn settle_one(tx: &Tx<'_>, actor: &Actor, settlement: &Settlement) -> Result<(Settled, JobRecord)> {
    let Settlement { job, attempt, token, outcome, provider_time } = settlement;
    let mut record = load(tx.connection, *job)?;
    let provider = record.job().provider.clone();
    // A report, of which most say nothing new, says nothing about a submission.
    let acceptances = match outcome {
        Outcome::Reported(_) | Outcome::Held(_) | Outcome::Unresolved { .. } => {
            Acceptances::default()
        }
        Outcome::Submitted(_) | Outcome::Found(_) | Outcome::NotArrived(_) => {
            acceptances(tx.connection, &provider)?
        }
    };
    let suspect = acceptances.makes_suspect(*job, tx.now);
    let settling = Settling { actor, now: tx.now, epoch: tx.epoch, suspect };
    let before = record.clone();
    if *token == record.token() && before.stage().claimed().is_some() {
        refuse_taken(tx.connection, &record, outcome)?;
    }
    let recheck = record.recheck_after(outcome, (tx.now, tx.epoch), *provider_time);
    let settled = match (record.settle(*token, outcome, settling), outcome) {
        (Ok(settled), _) => settled,
        (Err(refusal), Outcome::Submitted(status) | Outcome::Found(status))
            if refusal.leaves_provider_job() =>
        {
            let id = &status.provider_job_id;
            refuse_of_other_job(tx.connection, &provider, id, *job)?;
            let marker = Marker { job: *job, attempt: *attempt };
            let account = record.account_of(*attempt).cloned();
            let sighting = Sighting { marker, provider, account, status: status.clone() };
            let sighted = sight(tx, &mut record, &sighting, settling)?;
            return Ok((Settled::Sighted(sighted), record));
        }
        (Err(error), _) => return Err(error.into()),
    };
    if settled == Settled::Unchanged {
        return Ok((settled, record));
    }
    save(tx.connection, &before, &mut record)?;
    match (outcome, before.stage()) {
        (Outcome::Submitted(_) | Outcome::Found(_), Stage::Claimed(_) | Stage::Held(_)) => {
            accepted(tx, &record, acceptances)?;
        }
        (Outcome::Held(id), _) => remove_stray(tx.connection, &provider, id).map(drop)?,
        (_, _) => {}
    }
    schedule(tx.connection, recheck.as_ref())?;
    Ok((settled, record))
}

/// A provider job belongs to one job of ours only.
fn refuse_taken(connection: &Connection, record: &JobRecord, outcome: &Outcome) -> Result<()> {
    let id = match outcome {
        Outcome::Submitted(status) | Outcome::Found(status) => &status.provider_job_id,
        Outcome::Held(id) => id,
        Outcome::NotArrived(_) | Outcome::Unresolved { .. } | Outcome::Reported(_) => {
            return Ok(());
        }
    };
    refuse_of_other_job(connection, &record.job().provider, id, record.id())
}

pub(super) fn refuse_of_other_job(
    connection: &Connection,
    provider: &ProviderName,
    id: &ProviderJobId,
    job: JobId,
) -> Result<()> {
    let other: Option<String> = value(
        connection,
        "SELECT job_id FROM jobs WHERE provider_job_id = ?1 AND provider = ?2 AND job_id <> ?3",
        params![id.as_str(), provider.as_str(), job.to_string()],
    )?;
    match other {
        None => Ok(()),
        Some(_) => Err(TransitionError::BelongsToOtherJob(id.clone()).into()),
    }
}

/// The provider accepted a job: what failed shortly before, while others were accepted before it as
/// well, failed through its own fault.
fn accepted(tx: &Tx<'_>, record: &JobRecord, mut acceptances: Acceptances) -> Result<()> {
    let provider = &record.job().provider;
    if let Some(id) = record.provider_job_id() {
        remove_stray(tx.connection, provider, id)?;
    }
    acceptances.accepted(record.id(), tx.now);
    store_acceptances(tx.connection, provider, acceptances)?;
    // One that cannot be decoded is set aside when it is claimed; it must not stop this one.
    let (suspects, _damaged) = readable(
        tx.connection,
        "SELECT entry_id FROM queue_entries WHERE provider = ?1 AND suspect_since IS NOT NULL \
         AND held IS NULL AND suspect_since >= ?2 AND entry_id <> ?3 ORDER BY entry_id",
        params![provider.as_str(), after(tx.now, -WINDOW).as_millisecond(), record.entry().id.0],
        |row| Ok(QueueEntryId(Columns::new(row, "queue_entries").plain("entry_id")?)),
    )?;
    for entry in suspects {
        let Some(mut suspect) = readable_record(tx.connection, entry)? else { continue };
        if suspect.entry().suspect_since.is_some_and(|since| near(since, tx.now)) {
            step_loaded(tx, &mut suspect, |suspect| Ok(suspect.blame(tx.now)))?;
        }
    }
    Ok(())
}

/// The job, unless it cannot be decoded.
fn readable_record(connection: &Connection, entry: QueueEntryId) -> Result<Option<JobRecord>> {
    match load_entry(connection, entry) {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => error.into_damaged().map(|_row| None),
    }
}

/// A row that cannot be decoded counts as none: the next acceptance replaces it.
fn acceptances(connection: &Connection, provider: &ProviderName) -> Result<Acceptances> {
    let (found, _damaged) = readable(
        connection,
        "SELECT provider, latest_job, latest_at, other_job, other_at FROM provider_acceptances \
         WHERE provider = ?1",
        [provider.as_str()],
        |row| {
            let mut columns = Columns::new(row, "provider_acceptances");
            columns.plain::<String>("provider")?;
            let latest = (columns.word("latest_job")?, columns.time("latest_at")?);
            let other = columns.word_or_null("other_job")?.zip(columns.time_or_null("other_at")?);
            Ok(Acceptances { latest: Some(latest), other })
        },
    )?;
    Ok(found.into_iter().next().unwrap_or_default())
}

fn store_acceptances(
    connection: &Connection,
    provider: &ProviderName,
    acceptances: Acceptances,
) -> Result<()> {
    let Acceptances { latest: Some((job, at)), other } = acceptances else { return Ok(()) };
    change_one(
        connection,
        "store a provider's acceptances",
        "INSERT INTO provider_acceptances (provider, latest_job, latest_at, other_job, other_at) \
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (provider) DO UPDATE SET \
         latest_job = excluded.latest_job, latest_at = excluded.latest_at, \
         other_job = excluded.other_job, other_at = excluded.other_at",
        params![
            provider.as_str(),
            job.to_string(),
            at.as_millisecond(),
            other.map(|(job, _)| job.to_string()),
            millis(other.map(|(_, at)| at)),
        ],
    )
}

/// Records a provider job that carries one of our markers.
pub(in crate::sqlite) fn record_sighting(
    tx: &Tx<'_>,
    actor: &Actor,
    sighting: &Sighting,
) -> Result<SightingOutcome> {
    let id = &sighting.status.provider_job_id;
    refuse_of_other_job(tx.connection, &sighting.provider, id, sighting.marker.job)?;
    let settling = Settling { actor, now: tx.now, epoch: tx.epoch, suspect: false };
    match find(tx.connection, sighting.marker.job)? {
        Some(mut record) => sight(tx, &mut record, sighting, settling),
        None if sighting.status.status.is_some_and(crate::model::JobStatus::is_terminal) => {
            ended_strays::remember(tx, &sighting.provider, id)?;
            Ok(SightingOutcome::Over)
        }
        None => {
            insert_stray(tx, sighting, None, JobType::Cloud)?;
            Ok(SightingOutcome::Stray)
        }
    }
}

fn sight(
    tx: &Tx<'_>,
    record: &mut JobRecord,
    sighting: &Sighting,
    settling: Settling<'_>,
) -> Result<SightingOutcome> {
    let recheck = record.recheck((tx.now, tx.epoch));
    let before = record.clone();
    let outcome = record.sight(sighting, settling);
    match outcome {
        SightingOutcome::Adopted => {
            save(tx.connection, &before, record)?;
            accepted(tx, record, acceptances(tx.connection, &sighting.provider)?)?;
            schedule(tx.connection, recheck.as_ref())?;
        }
        SightingOutcome::Stray => {
            let job = record.job();
            insert_stray(tx, sighting, Some(&job.owner), job.job_type)?;
        }
        SightingOutcome::Over => {
            ended_strays::remember(tx, &sighting.provider, &sighting.status.provider_job_id)?;
        }
        SightingOutcome::AlreadyAdopted | SightingOutcome::Expected => {}
    }
    debug_assert!(
        outcome != SightingOutcome::Adopted || !matches!(record.stage(), Stage::Claimed(_)),
        "what is adopted is no longer claimed"
    );
    Ok(outcome)
}

fn insert_stray(
    tx: &Tx<'_>,
    sighting: &Sighting,
    owner: Option<&Owner>,
    job_type: JobType,
) -> Result<()> {
    let now = tx.now.as_millisecond();
    change(
        tx.connection,
        "store a stray",
        "INSERT INTO strays (provider, provider_job_id, account, job_id, attempt, user_id, \
         team_id, org_id, job_type, found_at, cancel_attempts, next_cancel_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, ?10) \
         ON CONFLICT (provider, provider_job_id) DO NOTHING",
        params![
            sighting.provider.as_str(),
            sighting.status.provider_job_id.as_str(),
            sighting.account.as_ref().map(AccountId::to_string),
            sighting.marker.job.to_string(),
            sighting.marker.attempt,
            owner.map(|owner| UserId::as_str(&owner.user)),
            owner.and_then(|owner| owner.team.as_ref()).map(TeamId::as_str),
            owner.and_then(|owner| owner.org.as_ref()).map(OrgId::as_str),
            job_type.as_str(),
            now,
        ],
    )
    .map(drop)
}

/// Removes a stray; returns whether there was one.
pub(in crate::sqlite) fn remove_stray(
    connection: &Connection,
    provider: &ProviderName,
    id: &ProviderJobId,
) -> Result<bool> {
    let removed = change(
        connection,
        "remove a stray",
        "DELETE FROM strays WHERE provider = ?1 AND provider_job_id = ?2",
        [provider.as_str(), id.as_str()],
    )?;
    Ok(removed > 0)
}
