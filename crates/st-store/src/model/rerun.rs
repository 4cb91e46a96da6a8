//! Running a job once more: a new job of the same owner with the same input.
//!
//! It is a job of its own, because the status of a job never moves backwards. What it may cost and
//! whether it needs an approval is decided anew when it is submitted.

use serde_json::Value;
use st_log::CorrelationId;

use super::{Cost, Idempotency, JobId, JobRecord, NewJob, Owner, Predecessor, Role};

/// In the metadata of a job that runs again: the job before it.
const RETRY_OF: &str = "retry_of";
/// In the metadata of a job that runs again: which run it is, from 2.
const RUN: &str = "run";

impl JobRecord {
    /// Which run it is: 1 for a job that was submitted by a person.
    pub fn run(&self) -> u32 {
        let run = self.job().metadata.get(RUN).and_then(Value::as_u64);
        run.and_then(|run| u32::try_from(run).ok()).unwrap_or(1)
    }

    /// The job `id` that a person runs with the `input` of this one: a job of theirs, as `role` and
    /// under the correlation ID of their request.
    pub fn retry(
        &self,
        input: Value,
        id: JobId,
        (owner, role): (Owner, Role),
        correlation_id: CorrelationId,
    ) -> NewJob {
        let (job, entry) = (self.job(), self.entry());
        let place = (job.job_type, job.provider.clone());
        let mut metadata = job.metadata.clone();
        metadata.insert(RETRY_OF.to_owned(), job.id.to_string().into());
        metadata.remove(RUN);
        NewJob {
            config_name: job.config_name.clone(),
            estimated_cost: entry.estimated_cost,
            max_attempts: entry.max_attempts,
            hardware_type: job.hardware_type.clone(),
            metadata,
            input,
            ..NewJob::new(id, place, owner, role, correlation_id)
        }
    }

    /// The job `id` that runs this one, which cost this, once more, with its `input`; `None` when it has
    /// run as often as it may be attempted. Submitting it twice makes one job.
    pub fn rerun(&self, input: Value, id: JobId, cost: Cost) -> Option<NewJob> {
        let (job, entry) = (self.job(), self.entry());
        let run = self.run().checked_add(1).filter(|&run| run <= entry.max_attempts)?;
        let place = (job.job_type, job.provider.clone());
        let (role, owner) = (entry.priority.role(), job.owner.clone());
        let mut new = NewJob::new(id, place, owner, role, job.correlation_id.clone());
        new.metadata.clone_from(&job.metadata);
        new.metadata.insert(RETRY_OF.to_owned(), job.id.to_string().into());
        new.metadata.insert(RUN.to_owned(), run.into());
        let again = format!("rerun of {}", job.id);
        Some(NewJob {
            config_name: job.config_name.clone(),
            priority_override: entry.priority_override,
            estimated_cost: entry.estimated_cost,
            max_attempts: entry.max_attempts,
            hardware_type: job.hardware_type.clone(),
            input,
            idempotency: Some(Idempotency { key: again.clone(), digest: again }),
            follows: Some(Predecessor { job: job.id, cost }),
            ..new
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;
    use st_log::CorrelationId;

    use crate::model::{
        ApprovalId, Cost, Epoch, JobId, JobRecord, JobType, NewJob, Owner, Predecessor, Priority,
        ProviderName, QueueEntryId, Role,
    };

    fn id(number: u8) -> JobId {
        JobId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn record(new: &NewJob) -> JobRecord {
        let ids = (QueueEntryId(1), ApprovalId(1));
        JobRecord::submit(new, None, ids, (Timestamp::UNIX_EPOCH, Epoch::FIRST))
    }

    fn job() -> NewJob {
        let place = (JobType::Cloud, ProviderName::new("replicate"));
        let correlation = CorrelationId::parse("abc").unwrap();
        NewJob {
            config_name: Some("flux".to_owned()),
            priority_override: Some(Priority::MAX),
            estimated_cost: 2.5,
            max_attempts: 3,
            hardware_type: Some("h100".to_owned()),
            ..NewJob::new(id(1), place, Owner::user("ann"), Role::Lead, correlation)
        }
    }

    #[test]
    fn it_is_the_same_job_under_another_id_and_names_the_one_before() {
        let new =
            NewJob { metadata: json!({"run_name": "x"}).as_object().unwrap().clone(), ..job() };
        let again = record(&new).rerun(json!({"config": {}}), id(2), Cost::from_usd(2.0)).unwrap();
        assert_eq!(
            serde_json::Value::Object(again.metadata.clone()),
            json!({"run_name": "x", "retry_of": id(1).to_string(), "run": 2})
        );
        assert_eq!(again.input, json!({"config": {}}));
        let same = NewJob {
            metadata: again.metadata.clone(),
            input: again.input.clone(),
            idempotency: again.idempotency.clone(),
            follows: Some(Predecessor { job: id(1), cost: Cost::from_usd(2.0) }),
            id: id(2),
            ..job()
        };
        assert_eq!(again, same);
        let once_more = record(&new).rerun(json!({}), id(3), Cost::ZERO).unwrap();
        assert_eq!(once_more.idempotency, again.idempotency, "two of it would be one job");
    }

    #[test]
    fn it_runs_as_often_as_it_may_be_attempted() {
        let (mut new, mut runs) = (job(), 1);
        while let Some(again) = record(&new).rerun(json!({}), id(2), Cost::ZERO) {
            (new, runs) = (again, runs + 1);
        }
        assert_eq!(runs, 3);
        assert_eq!(record(&new).run(), 3);
    }

    #[test]
    fn every_role_is_found_again_in_its_priority() {
        for &role in Role::ALL {
            assert_eq!(Priority::of_role(role).role(), role);
        }
    }
}
