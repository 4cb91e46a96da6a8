//! Resolving a job by hand, where nothing can be proven: an administrator says what became of it.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use st_log::{Logger, get_logger};
use st_store::{JobRecord, ProviderJobId, Resolution, UserId};
use st_workers::TaskId;

use super::find;
use crate::api::{Api, Caller};
use crate::http::extract::{Body, Name};
use crate::http::problem::Problem;
use st_api::input::Fields;

const LOG: Logger = get_logger("simpletuner.cloud.jobs");

/// The longest identifier of a provider, in bytes.
const MAX_ID: usize = 200;
/// The longest note, in bytes.
const MAX_NOTE: usize = 2000;

/// The word in the request for a [`Resolution`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    AtProvider,
    Absent,
    Abandon,
}

/// A word that names no resolution.
#[derive(Debug, thiserror::Error)]
#[error("expected at_provider, absent or abandon, found {0:?}")]
struct UnknownWord(String);

impl FromStr for Word {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "at_provider" => Ok(Self::AtProvider),
            "absent" => Ok(Self::Absent),
            "abandon" => Ok(Self::Abandon),
            other => Err(UnknownWord(other.to_owned())),
        }
    }
}

/// The request, read.
#[derive(Debug, PartialEq)]
struct Resolve {
    resolution: Resolution,
    note: Option<String>,
}

impl Resolve {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let word = fields.word::<Word>("outcome");
        let word = fields.require(word, "outcome");
        let id = fields.optional_string("provider_job_id", MAX_ID);
        let note = fields.optional_string("note", MAX_NOTE);
        let resolution = match (word, id) {
            (Some(Word::AtProvider), id) => fields
                .require(id, "provider_job_id")
                .map(|id| Resolution::AtProvider { id: ProviderJobId::new(id), account: None }),
            (Some(Word::Absent | Word::Abandon), Some(_)) => {
                fields.fault("provider_job_id", "is only for the outcome at_provider");
                None
            }
            (Some(Word::Absent), None) => Some(Resolution::Absent),
            (Some(Word::Abandon), None) => Some(Resolution::Abandon),
            (None, _) => None,
        };
        fields.finish().map_err(Problem::invalid)?;
        // `finish` has refused every request that names no resolution.
        let resolution = resolution.ok_or_else(Problem::internal)?;
        Ok(Self { resolution, note })
    }
}

pub(crate) async fn resolve(
    State(api): State<Api>,
    caller: Caller,
    Name(name): Name,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let request = Resolve::read(body.fields())?;
    let Resolve { resolution, note } = &request;
    let job = find(&api, &name).await?.id();
    caller.about(job);
    let resolution = resolution.clone();
    let record = api.background.resolve(job, resolution, note.as_deref(), &caller.actor()).await?;
    log_resolved(&record, &request, &caller.user);
    // It may have freed a slot, or wait for one again.
    api.background.activate(TaskId::QueueProcessing);
    Ok(Json(json!({
        "success": true,
        "job_id": record.id().to_string(),
        "status": record.status().as_str(),
    })))
}

fn log_resolved(record: &JobRecord, Resolve { resolution, note }: &Resolve, by: &UserId) {
    let (outcome, provider_job_id) = match resolution {
        Resolution::AtProvider { id, .. } => ("at_provider", Some(id.as_str())),
        Resolution::Absent => ("absent", None),
        Resolution::Abandon => ("abandon", None),
    };
    record.in_log_scope(|| {
        st_log::warning!(
            logger: LOG, outcome, provider_job_id, user_id = by.as_str(),
            reason = note.as_deref(), status = record.status().as_str(),
            "Job was resolved by an administrator"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<Resolve, Problem> {
        Resolve::read(Fields::new(body.as_object().unwrap().clone()))
    }

    #[test]
    fn each_outcome_is_read_and_an_empty_text_is_none() {
        let at_provider = Resolution::AtProvider { id: ProviderJobId::new("p1"), account: None };
        for (body, resolution, note) in [
            (json!({"outcome": "at_provider", "provider_job_id": "p1"}), at_provider, None),
            (json!({"outcome": "absent", "note": ""}), Resolution::Absent, None),
            (
                json!({"outcome": "abandon", "provider_job_id": "", "note": "asked support"}),
                Resolution::Abandon,
                Some("asked support".to_owned()),
            ),
        ] {
            assert_eq!(read(&body).unwrap(), Resolve { resolution, note }, "{body}");
        }
    }

    #[test]
    fn faults_are_named_with_their_fields() {
        for (body, detail) in [
            (json!({}), "outcome: is required"),
            (json!({"outcome": "gone"}), "outcome: expected at_provider, absent or abandon"),
            (json!({"outcome": "at_provider"}), "provider_job_id: is required"),
            (
                json!({"outcome": "at_provider", "provider_job_id": "x".repeat(MAX_ID + 1)}),
                "provider_job_id: is longer than 200 bytes",
            ),
            (
                json!({"outcome": "absent", "provider_job_id": "p1"}),
                "provider_job_id: is only for the outcome at_provider",
            ),
            (
                json!({"outcome": "absent", "note": "x".repeat(MAX_NOTE + 1)}),
                "note: is longer than 2000 bytes",
            ),
            (json!({"outcome": "absent", "notes": "x"}), "notes: unknown field"),
        ] {
            let problem = read(&body).unwrap_err();
            assert!(problem.detail().starts_with(detail), "{}", problem.detail());
        }
    }
}
