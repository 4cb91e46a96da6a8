//! Words and times that the answer about a wait shares with the answer to a cancellation.

use jiff::{SignedDuration, Timestamp};
use st_store::{AtMostOnce, Claimed, JobRecord};

use super::Reach;

/// When it is certain whether a submission arrived, if its provider can be asked; `None` when that
/// time is over or cannot be given. Before the outcome is recorded as unknown, the call ends within
/// its lease, and the submission may still arrive for a known time after that.
pub(in crate::api) fn certain_at(claimed: &Claimed, now: Timestamp) -> Option<Timestamp> {
    let may_arrive_for = match claimed.attempt.guarantee {
        AtMostOnce::ListedMarker => claimed.attempt.may_arrive_for,
        AtMostOnce::IdempotencyKey | AtMostOnce::ChosenName | AtMostOnce::HeldSubmission => {
            SignedDuration::ZERO
        }
    };
    let ended = claimed.unresolved_since.unwrap_or_else(|| claimed.lease.until.max(now));
    let certain_at = ended.saturating_add(may_arrive_for).unwrap_or(Timestamp::MAX);
    Some(certain_at).filter(|&at| at > now)
}

/// Why a job's provider cannot be asked about it; `None` when it can.
pub(in crate::api) fn obstacle(record: &JobRecord, reach: &Reach) -> Option<String> {
    let provider = &record.job().provider;
    match reach {
        Reach::Served => None,
        Reach::NotConfigured => Some(format!("provider {provider} is not configured")),
        Reach::OtherAccount(account) => {
            // Never the credential, not even its hash.
            let account = account.name().unwrap_or_else(|| account.base_url());
            Some(format!("the job belongs to another account of {provider} ({account})"))
        }
    }
}

/// What an operator does so that a job's provider can be asked about it, behind "until".
pub(in crate::api) fn until_reached(record: &JobRecord, reach: &Reach) -> String {
    let provider = &record.job().provider;
    match reach {
        Reach::Served | Reach::NotConfigured => {
            format!("the server is started with {provider} configured")
        }
        Reach::OtherAccount(_) => {
            format!("the server is started with that account of {provider}")
        }
    }
}

/// The way out that a person has where nothing can be found out.
pub(in crate::api) fn may_resolve(record: &JobRecord) -> String {
    format!("an administrator can resolve it with POST /api/cloud/jobs/{}/resolve", record.id())
}
