//! Synchronizing jobs with their providers.

use st_api::jobs::{JobsSynced, SyncJobs};
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_workers::tasks::poller::{SyncError, Synced};

use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

pub(crate) async fn sync(api: Api, call: Call<(), (), SyncJobs>) -> Result<JobsSynced, Problem> {
    let synced = api.background.sync(call.body.provider.as_ref()).await.map_err(problem)?;
    st_log::info!(
        logger: LOG, user_id = call.caller.user.as_str(), found = synced.found,
        synced = synced.polled, changed = synced.updated, failed = synced.failed,
        "Jobs were synchronized with their providers"
    );
    Ok(JobsSynced { synced: synced.found, updated: synced.updated, message: message(&synced) })
}

fn message(synced: &Synced) -> String {
    let asked = synced.asked();
    let &Synced { found, updated, failed, skipped, unsettled, lists_unread, unfinished, .. } =
        synced;
    let parts = [
        (found, "were found that had not been known to have arrived"),
        (failed, "could not be read and keep their status"),
        (unsettled, "had changed, which could not be stored"),
        (skipped, "belong to another account of their provider and were not asked for"),
        (lists_unread, "providers did not show their list, so there may be more at them"),
        (unfinished, "providers have not answered yet"),
    ];
    let first = format!("{asked} active jobs were asked for, {updated} had changed");
    let others = parts.into_iter().filter(|(count, _)| *count > 0);
    let others = others.map(|(count, what)| format!("{count} {what}"));
    let reason = synced.reason.as_ref().map(|reason| format!("reason: {reason}"));
    std::iter::once(first).chain(others).chain(reason).collect::<Vec<_>>().join("; ")
}

fn problem(error: SyncError) -> Problem {
    match error {
        SyncError::NoProvider(_) => Problem::invalid_field("/provider", error.to_string()),
        SyncError::NotConfigured(_) => Problem::new(Code::ProviderNotConfigured, error.to_string()),
        SyncError::Unreachable { .. } => Problem::provider(error.to_string()),
        SyncError::Running => Problem::new(Code::Conflict, error.to_string()),
        SyncError::Store(error) => error.into(),
    }
}
