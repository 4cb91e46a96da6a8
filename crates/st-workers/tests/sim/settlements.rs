//! What the store says became of attempts: noted for the judge, and judged where it depends on the
//! moment.

use st_store::{
    JobId, JobRecord, JobStatus, Marker, Outcome, ProviderJobId, Settled, Settlement, Sighting,
    SightingOutcome, StrayOutcome,
};

use crate::ledger::Known;
use crate::world::World;

impl World {
    /// What became of an attempt, or of a job at a provider, was stored.
    pub(crate) fn note_settled(&self, what: &Settlement, settled: Settled, record: &JobRecord) {
        let marker = Marker { job: what.job, attempt: what.attempt };
        self.note_step(marker, &format!("{settled:?}"), record);
        let now = self.now();
        if let Settled::Sighted(outcome) = settled {
            if let Outcome::Submitted(status) | Outcome::Found(status) = &what.outcome {
                self.note_sighted(marker, &status.provider_job_id, outcome);
            }
            return;
        }
        {
            let state = &mut *self.state();
            let provider = state.jobs.get(&what.job).map(|job| job.provider);
            match &what.outcome {
                Outcome::Submitted(status) | Outcome::Found(status) => {
                    if let Some(run) = state.ledger.find(&status.provider_job_id) {
                        run.learn(now, Known::Adopted);
                    }
                    if let Some(provider) = provider {
                        state.evidence.accepted(marker, now, provider);
                    }
                    if matches!(what.outcome, Outcome::Found(_)) {
                        state.evidence.search_from(marker, now);
                    }
                }
                Outcome::NotArrived(_) => state.evidence.not_arrived(marker, now),
                Outcome::Held(_) | Outcome::Unresolved { .. } | Outcome::Reported(_) => {}
            }
        }
        self.note_end(record);
        if record.status() == JobStatus::Failed {
            self.judge_failure(marker, record);
        }
    }

    /// A job is over, if it is.
    pub(crate) fn note_end(&self, record: &JobRecord) {
        let now = self.now();
        if record.status().is_terminal()
            && let Some(job) = self.state().jobs.get_mut(&record.id())
        {
            job.ended_at = job.ended_at.or(Some(now));
        }
    }

    /// A person's decision about a job was stored.
    pub(crate) fn note_resolved(&self, job: JobId, record: &JobRecord) {
        let marker = Marker { job, attempt: record.entry().attempt };
        self.note_step(marker, "resolved by a person", record);
        self.note_end(record);
        self.count("job resolved by a person");
        let now = self.now();
        let state = &mut *self.state();
        state.evidence.search_from(marker, now);
        if let Some(job) = state.jobs.get_mut(&job) {
            job.kept = record.provider_job_id().cloned();
        }
        if let Some(run) = record.provider_job_id().and_then(|id| state.ledger.find(id)) {
            run.learn(now, Known::Adopted);
        }
    }

    fn note_step(&self, marker: Marker, what: &str, record: &JobRecord) {
        let name = self.name(record.id());
        let at = record.provider_job_id().map(ToString::to_string).unwrap_or_default();
        self.journal.note(format!(
            "{name} attempt {}, {what}: {} {} {at} {}",
            marker.attempt,
            record.status(),
            record.queue_status(),
            record.job().error_message.as_deref().unwrap_or_default(),
        ));
    }

    /// A job at a provider that carries our marker was seen, and the store decided what it is.
    pub(crate) fn note_sighting(&self, sighting: &Sighting, outcome: SightingOutcome) {
        let id = &sighting.status.provider_job_id;
        let name = self.name(sighting.marker.job);
        let attempt = sighting.marker.attempt;
        self.journal.note(format!("{id} of {name} attempt {attempt} is seen: {outcome:?}"));
        self.note_sighted(sighting.marker, id, outcome);
    }

    fn note_sighted(&self, marker: Marker, id: &ProviderJobId, outcome: SightingOutcome) {
        let now = self.now();
        let state = &mut *self.state();
        let known = match outcome {
            SightingOutcome::Stray => Some(Known::Stray),
            SightingOutcome::Adopted => Some(Known::Adopted),
            SightingOutcome::AlreadyAdopted | SightingOutcome::Over | SightingOutcome::Expected => {
                None
            }
        };
        if let (Some(known), Some(run)) = (known, state.ledger.find(id)) {
            run.learn(now, known);
        }
        if outcome == SightingOutcome::Adopted
            && let Some(provider) = state.jobs.get(&marker.job).map(|job| job.provider)
        {
            state.evidence.accepted(marker, now, provider);
            state.evidence.search_from(marker, now);
        }
    }

    /// A stray was cancelled, or not. It ends only when it does not run any more.
    pub(crate) fn judge_stray(&self, id: &ProviderJobId, outcome: StrayOutcome) {
        self.journal.note(format!("stray {id}: {outcome:?}"));
        let now = self.now();
        let live = self.state().ledger.find(id).is_some_and(|run| run.is_live(now));
        if matches!(outcome, StrayOutcome::Ended { .. }) && live {
            self.violate(None, format!("the stray {id} counts as over and still runs"));
        }
    }
}
