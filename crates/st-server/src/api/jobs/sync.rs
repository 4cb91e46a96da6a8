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
    Ok(JobsSynced { synced: synced.found, updated: synced.updated, message: message(synced) })
}

fn message(synced: Synced) -> String {
    let Synced { found, polled, updated, failed, unfinished } = synced;
    let parts = [
        (found, "were found that had not been known to have arrived"),
        (failed, "could not be read and keep their status"),
        (unfinished, "providers have not answered yet"),
    ];
    let first = format!("{polled} active jobs were asked for, {updated} had changed");
    let others = parts.into_iter().filter(|(count, _)| *count > 0);
    let others = others.map(|(count, what)| format!("{count} {what}"));
    std::iter::once(first).chain(others).collect::<Vec<_>>().join("; ")
}

fn problem(error: SyncError) -> Problem {
    match error {
        SyncError::NoProvider(_) => Problem::invalid_field("/provider", error.to_string()),
        SyncError::Running => Problem::new(Code::Conflict, error.to_string()),
        SyncError::Store(error) => error.into(),
    }
}
