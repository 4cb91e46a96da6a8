//! Fetching the results of one job: its log, then its outputs, and recording the outcome of both.

use std::path::Path;

use st_log::{Chain, InScope};
use st_store::{
    DueResults, JobRecord, JobRef, JobStatus, ProviderName, ResultsOutcome, ResultsState,
};

use super::outputs::{self, Kept, NotKept, Outputs};
use super::place::Place;
use super::{DownloadConfig, LOG, Lanes, Work};
use crate::provider::RemoteJob;
use crate::served::{CallKind, ServedProvider};

/// How the store settled an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// They are not due any more.
    Settled,
    /// They are due again later.
    Again,
}

/// What is here of a job, and why something is not.
#[derive(Debug, Default)]
struct Attempt {
    log: Option<u64>,
    kept: Kept,
    missing: Option<Missing>,
}

#[derive(Debug)]
struct Missing {
    /// The one that allows more attempts: what is lost for good is then tried again with the rest.
    kind: NotKept,
    /// All that is missing, and why.
    reason: String,
}

impl Attempt {
    fn failed(not_kept: NotKept) -> Self {
        let missing = Some(Missing { reason: not_kept.to_string(), kind: not_kept });
        Self { missing, ..Self::default() }
    }

    fn of(log: Result<u64, NotKept>, Outputs { kept, missing }: Outputs) -> Self {
        let (log, no_log) = match log {
            Ok(bytes) => (Some(bytes), None),
            Err(not_kept) => (None, Some(not_kept)),
        };
        let missing = match (no_log, missing) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                Some(Missing { reason: one.to_string(), kind: one })
            }
            (Some(log), Some(outputs)) => {
                Some(Missing { reason: format!("{log}; {outputs}"), kind: log.rather(outputs) })
            }
        };
        Self { log, kept, missing }
    }

    fn bytes(&self) -> u64 {
        self.kept.bytes.saturating_add(self.log.unwrap_or_default())
    }

    fn outcome(&self) -> ResultsOutcome {
        let output_path = self.kept.path.as_ref().map(|path| path.display().to_string());
        let Some(Missing { kind, reason }) = &self.missing else {
            return ResultsOutcome::Kept { output_path };
        };
        let reason = reason.clone();
        match kind {
            NotKept::Failed(_) | NotKept::Storage(_) => {
                ResultsOutcome::Failed { reason, output_path }
            }
            NotKept::Gone(_) => ResultsOutcome::Gone { reason, output_path },
            NotKept::Lost(_) => ResultsOutcome::Lost { reason, output_path },
        }
    }
}

/// How outputs are downloaded, and which setting says whether they are.
struct Downloads {
    config: DownloadConfig,
    setting: &'static str,
}

impl Work {
    /// Fetches the results of one job. An error says why the store does not know what came of it.
    pub(super) async fn fetch(&self, due: &DueResults) -> Result<Fetched, String> {
        let lanes = self.lanes.get(&due.provider);
        // Before the job is read: of thousands that end at once, only a few are read at a time.
        let turn = match lanes {
            Some(lanes) => lanes.logs.acquire().await.ok(),
            None => None,
        };
        let record = self.store.find_job(&JobRef::Id(due.job)).await;
        let Some(record) = record.map_err(|error| Chain(&error).to_string())? else {
            return Ok(Fetched::Settled);
        };
        let correlation_id = record.job().correlation_id.clone();
        let context = record.log_context();
        let fetch = async {
            let attempt = match self.find_remote(&record, due).await {
                Ok((served, lanes, remote)) => {
                    // Each is tried whatever becomes of the other: they may be in different places.
                    let log = self.keep_log(served, &remote).await;
                    let downloads = self.downloads_from(&due.provider).await;
                    if let Ok(Downloads { config, setting }) = &downloads
                        && !config.download
                    {
                        let of = (&remote, &record, due);
                        self.warn_of_deletion(served, of, log.is_ok(), setting).await;
                    }
                    // What waits for a download keeps no log from being read.
                    drop(turn);
                    let wanted = downloads.map(|it| it.config.download);
                    let outputs = self.keep_outputs(served, lanes, (&remote, &record), wanted);
                    Attempt::of(log, outputs.await)
                }
                Err(not_kept) => Attempt::failed(not_kept),
            };
            if let Some(missing) = &attempt.missing {
                self.log_failure(missing, due);
            }
            let settled = self.store.settle_results(due.job, &attempt.outcome()).await;
            let settled = settled.map_err(|error| Chain(&error).to_string())?;
            log_settled(&settled, &attempt);
            self.discard_parts(&settled).await;
            Ok(if settled.job().has_due_results() { Fetched::Again } else { Fetched::Settled })
        };
        fetch.in_context(context).with_correlation_id(correlation_id).await
    }

    async fn find_remote<'w>(
        &'w self,
        record: &JobRecord,
        due: &DueResults,
    ) -> Result<(&'w ServedProvider, &'w Lanes, RemoteJob), NotKept> {
        let name = &due.provider;
        let served = self.dispatcher.providers().get(name).zip(self.lanes.get(name));
        let (served, lanes) =
            served.ok_or_else(|| NotKept::Failed(format!("provider {name} is not configured")))?;
        let remote = RemoteJob::of(record, self.store.now())
            .ok_or_else(|| NotKept::Lost("the job was never at its provider".to_owned()))?;
        match served.not_of_account(remote.account.as_ref()).await {
            Some(reason) => Err(NotKept::Failed(reason)),
            None => Ok((served, lanes, remote)),
        }
    }

    /// Keeps the log, unless it is kept already; its size in bytes.
    async fn keep_log(&self, served: &ServedProvider, remote: &RemoteJob) -> Result<u64, NotKept> {
        let logs = &self.config.logs;
        if let Some(bytes) = logs.size(remote.id).await? {
            return Ok(bytes);
        }
        if !served.provider().has_logs() {
            return Ok(0);
        }
        served.provider().turn_to_fetch().await;
        let log = served.fetch(CallKind::Logs, served.provider().logs(remote)).await;
        let log = log.map_err(|error| NotKept::of_query(served.name(), "log", &error))?;
        let bytes = u64::try_from(log.len()).unwrap_or(u64::MAX);
        logs.keep(remote.id, log).await?;
        Ok(bytes)
    }

    /// How the outputs of a provider's jobs are downloaded now.
    async fn downloads_from(&self, provider: &ProviderName) -> Result<Downloads, NotKept> {
        let unknown = |why: &dyn std::fmt::Display| {
            NotKept::Failed(format!("the settings of provider {provider} cannot be read: {why}"))
        };
        let settings = self.store.provider_settings(provider).await;
        let settings = settings.map_err(|error| unknown(&Chain(&error)))?;
        // What they said may have been the opposite of what the configuration says.
        if settings.is_unreadable("outputs") {
            return Err(unknown(&"outputs is damaged, set it again"));
        }
        let ours = settings.outputs.unwrap_or_default();
        let dir = ours.dir.as_deref().map_or(self.config.downloads.dir.as_path(), Path::new);
        if self.config.logs.owns(dir) {
            let reason = format!("outputs.dir {} is the folder of the kept logs", dir.display());
            return Err(NotKept::Failed(reason));
        }
        let setting =
            if ours.download.is_some() { "outputs of the provider" } else { "outputs.download" };
        Ok(Downloads { config: self.config.downloads.with(ours), setting })
    }

    /// Downloads what a job that completed made, where that is wanted: before it waits for its turn, and
    /// when it has it.
    async fn keep_outputs(
        &self,
        served: &ServedProvider,
        lanes: &Lanes,
        (remote, record): (&RemoteJob, &JobRecord),
        wanted: Result<bool, NotKept>,
    ) -> Outputs {
        if record.status() != JobStatus::Completed {
            return Outputs::default();
        }
        let not_kept = |missing| Outputs { missing: Some(missing), ..Outputs::default() };
        match wanted {
            Ok(true) => {}
            Ok(false) => return Outputs::default(),
            Err(missing) => return not_kept(missing),
        }
        let _turn = lanes.downloads.acquire().await;
        // That may have taken hours.
        let downloads = match self.downloads_from(served.name()).await {
            Ok(Downloads { config, .. }) if config.download => config,
            Ok(_) => return Outputs::default(),
            Err(missing) => return not_kept(missing),
        };
        let now = || self.store.now();
        served.provider().turn_to_fetch().await;
        // On the heap: thousands of jobs may wait for their turn, and few have one.
        Box::pin(outputs::keep(served, (remote, record), &downloads, now)).await
    }

    /// Removes what was received in part, where nothing will go on with it.
    async fn discard_parts(&self, settled: &JobRecord) {
        let results = settled.job().results.as_ref();
        if !results.is_some_and(|it| matches!(it.state, ResultsState::Lost { .. })) {
            return;
        }
        // Where its provider's settings say nothing of it, or not any more, it is the configured folder.
        let downloads = self.downloads_from(&settled.job().provider).await;
        let config = downloads.as_ref().map_or(&self.config.downloads, |it| &it.config);
        if let Err(error) = Place::of(&config.dir, settled.id()).discard_parts().await {
            st_log::debug!(logger: LOG, error, "Parts of lost outputs could not be removed");
        }
    }

    /// The output of a job that completed is deleted soon where nothing downloads it. One whose status names
    /// no address may have made something all the same; the provider is asked once, with the log.
    async fn warn_of_deletion(
        &self,
        served: &ServedProvider,
        (remote, record, due): (&RemoteJob, &JobRecord, &DueResults),
        has_log: bool,
        setting: &'static str,
    ) {
        if record.status() != JobStatus::Completed || due.expires_at <= self.store.now() {
            return;
        }
        let has_output = if record.job().output_url.is_some() {
            due.attempts == 0
        } else if has_log {
            served.provider().turn_to_fetch().await;
            let outputs = served.fetch(CallKind::Outputs, served.provider().outputs(remote)).await;
            matches!(outputs, Ok(list) if !list.files.is_empty() || list.left_out > 0)
        } else {
            false
        };
        if has_output {
            st_log::warning!(
                logger: LOG, output_expires_at = expires_at(record), setting,
                "Output of the job will be deleted by its provider, and downloading it is off"
            );
        }
    }

    fn log_failure(&self, missing: &Missing, due: &DueResults) {
        let (reason, attempts) = (missing.reason.as_str(), due.attempts);
        if matches!(missing.kind, NotKept::Storage(_)) && self.unwritable_is_due() {
            st_log::warning!(
                logger: LOG, reason, "Results of jobs cannot be stored here, trying again"
            );
        } else {
            st_log::debug!(
                logger: LOG, reason, attempts, "Results of the job could not be fetched"
            );
        }
    }
}

fn expires_at(record: &JobRecord) -> Option<String> {
    record.job().results.as_ref().map(|results| format!("{:.3}", results.expires_at))
}

fn log_settled(record: &JobRecord, attempt: &Attempt) {
    let Some(results) = &record.job().results else { return };
    let (bytes, files) = (attempt.bytes(), attempt.kept.files);
    match &results.state {
        ResultsState::Kept { output_path } => st_log::info!(
            logger: LOG, bytes, files, output_path = output_path.as_deref(),
            "Results of the job were kept"
        ),
        ResultsState::Lost { reason, output_path } => st_log::warning!(
            logger: LOG, reason = reason.as_str(), output_expires_at = expires_at(record),
            log_kept = attempt.log.is_some(), bytes, files, output_path = output_path.as_deref(),
            "Results of the job are lost"
        ),
        ResultsState::Due => {}
    }
}
