//! How far a running job has come, by what it prints.

use st_api::jobs::InlineProgress;
use st_api::names::JobName;
use st_log::{Logger, get_logger};
use st_store::{JobRecord, JobStatus};
use st_workers::CallKind;
use st_workers::provider::{Progress, QueryError, RemoteJob};

use super::{find, provider_of};
use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// Characters of the last line that are shown.
const LONGEST_LINE: usize = 80;

/// Asks the provider, which may remember what it said a moment ago; nothing is stored. Of a job that is
/// over it is that of the log that was kept; any other that does not run has none.
pub(crate) async fn progress(api: Api, call: Call<JobName>) -> Result<InlineProgress, Problem> {
    let record = find(&api, &call.caller, &call.named.0).await?;
    let running = record.status() == JobStatus::Running;
    let progress = match RemoteJob::of(&record, api.store.now()).filter(|_| running) {
        None => kept(&api, &record).await,
        Some(remote) => at_provider(&api, &record, &remote).await?,
    };
    Ok(view(&record.id().to_string(), progress.as_ref()))
}

async fn at_provider(
    api: &Api,
    record: &JobRecord,
    remote: &RemoteJob,
) -> Result<Option<Progress>, Problem> {
    let provider = provider_of(api, record)?;
    let asked = provider.progress(remote);
    match api.background.measure(provider.name(), CallKind::Progress, asked).await {
        Ok(progress) => Ok(progress),
        // A client that polls gets no error for a job that has just ended.
        Err(QueryError::NotFound) => Ok(None),
        Err(error) => Err(Problem::provider(st_log::Chain(&error).to_string())),
    }
}

/// The progress at the end of the kept log. A client that polls gets no error for a log that cannot be
/// read; a request for the log itself does.
async fn kept(api: &Api, record: &JobRecord) -> Option<Progress> {
    record.job().results.as_ref()?;
    match api.kept_logs().read_end(record.id()).await {
        Ok(log) => Progress::in_log(&log?),
        Err(error) => {
            st_log::debug!(
                logger: LOG, job_id = record.id().to_string(), error,
                "Kept log of the job cannot be read"
            );
            None
        }
    }
}

fn view(job_id: &str, progress: Option<&Progress>) -> InlineProgress {
    let counts = progress.filter(|it| it.step.is_some() || it.epoch.is_some());
    InlineProgress {
        job_id: job_id.to_owned(),
        stage: counts.map(|_| "Training".to_owned()),
        last_log: progress.map(|it| it.last_line.chars().take(LONGEST_LINE).collect()),
        progress: progress.and_then(Progress::percent),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_log_does_not_say_is_null() {
        let view = |log: &str| json!(view("j", Progress::in_log(log).as_ref()));
        let all = json!({
            "job_id": "j", "stage": "Training", "last_log": "step 3/10 - loss: 0.1", "progress": 30.0
        });
        assert_eq!(view("step 3/10 - loss: 0.1\n"), all);
        let line = json!({"job_id": "j", "stage": null, "last_log": "loading", "progress": null});
        assert_eq!(view("loading\n"), line);
        let none = json!({"job_id": "j", "stage": null, "last_log": null, "progress": null});
        assert_eq!(view(""), none);
        let long = view(&"ä".repeat(200));
        assert_eq!(long["last_log"].as_str().unwrap().chars().count(), 80);
    }
}
