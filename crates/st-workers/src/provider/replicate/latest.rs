//! The latest version of a model, asked for before a job that needs it is submitted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::value::RawValue;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};

use super::Replicate;
use super::classify::{Subject, unreadable};
use super::fields::{pick, read};
use super::row::WORD;
use super::version::{ModelName, is_version};
use crate::provider::excerpt::Shape;
use crate::provider::{Cause, QueryError, SubmitError, Unavailable};

/// How long an answer counts.
const KEEP: Duration = Duration::from_mins(5);
/// How long the question may take, with the wait for others who ask the same. The call that submits
/// comes after it.
const DEADLINE: Duration = Duration::from_secs(15);

/// What is kept of an answer: only the first version is needed, and its schema may be large.
const VERSIONS: Shape = WORD.or_members(&[("results", WORD.or_items(&VERSION, 1))]);
const VERSION: Shape = WORD.or_members(&[("id", WORD)]);

/// What was answered about each model.
#[derive(Debug, Default)]
pub(super) struct Latest {
    /// Guards which models were asked about; never held during a call.
    models: Mutex<BTreeMap<ModelName, Arc<Model>>>,
}

/// What was answered about one model.
#[derive(Debug, Default)]
struct Model {
    /// Guards the answer; never held during a call.
    known: Mutex<Option<Known>>,
    /// Held during a call, so that all who wait for the same answer share it.
    asking: AsyncMutex<()>,
}

#[derive(Debug)]
struct Known {
    answer: Answered,
    at: Instant,
}

/// What is known of a model, or why nothing is.
#[derive(Debug)]
enum Answered {
    /// Its latest version's identifier.
    Version(String),
    /// It has no versions to show.
    NoVersion,
    /// It can be used neither now nor when it is asked about again soon. In words.
    Unusable(String),
    /// It could not be asked about.
    Failed(Unavailable),
}

impl Known {
    /// What counts for a call that began then.
    fn for_call(&self, began: Instant) -> Option<Answered> {
        let is_final = !matches!(self.answer, Answered::Failed(_));
        // A failure is shared only with those who waited for it.
        let counts = if is_final { self.at.elapsed() < KEEP } else { self.at > began };
        counts.then(|| self.answer.copy())
    }
}

impl Answered {
    /// Without the source of a failure, which cannot be copied.
    fn copy(&self) -> Self {
        match self {
            Self::Version(id) => Self::Version(id.clone()),
            Self::NoVersion => Self::NoVersion,
            Self::Unusable(reason) => Self::Unusable(reason.clone()),
            Self::Failed(failure) => {
                let Unavailable { cause, reason: _, retry_after, source: _ } = failure;
                let copied = Unavailable::new(*cause, failure.chain());
                Self::Failed(Unavailable { retry_after: *retry_after, ..copied })
            }
        }
    }
}

impl Latest {
    /// The latest version of this model; `None` where it shows no versions. When it cannot be found
    /// out, nothing is to be submitted.
    pub(super) async fn of(
        &self,
        provider: &Replicate,
        model: &ModelName,
    ) -> Result<Option<String>, SubmitError> {
        let known = self.model(model);
        let answer = timeout(DEADLINE, known.ask(provider, model)).await;
        match answer {
            Ok(Answered::Version(id)) => Ok(Some(id)),
            Ok(Answered::NoVersion) => Ok(None),
            Ok(Answered::Unusable(reason)) => Err(SubmitError::MissingSetting { reason }),
            Ok(Answered::Failed(failure)) => Err(failure.into()),
            Err(_elapsed) => {
                let late =
                    format!("replicate did not say within {DEADLINE:?} which versions there are");
                Err(Unavailable::new(Cause::Trouble, late).into())
            }
        }
    }

    fn model(&self, model: &ModelName) -> Arc<Model> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(models.entry(model.clone()).or_default())
    }
}

impl Model {
    async fn ask(&self, provider: &Replicate, model: &ModelName) -> Answered {
        let began = Instant::now();
        if let Some(answer) = self.known(began) {
            return answer;
        }
        let _asking = self.asking.lock().await;
        // Another call may have ended while this one waited for it.
        if let Some(answer) = self.known(began) {
            return answer;
        }
        let answer = versions(provider, model).await.unwrap_or_else(|error| refused(model, error));
        let kept = Known { answer: answer.copy(), at: Instant::now() };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        answer
    }

    fn known(&self, began: Instant) -> Option<Answered> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref()?.for_call(began)
    }
}

/// What follows from a question that was not answered.
fn refused(model: &ModelName, error: QueryError) -> Answered {
    match error {
        QueryError::NotFound => Answered::Unusable(format!(
            "replicate has no model {model}; set version_override to another"
        )),
        // The account may ask about other models.
        QueryError::Unavailable(failure) if failure.cause == Cause::Account => {
            let reason = failure.chain();
            Answered::Unusable(format!(
                "the account may not use {model}: {reason}; set version_override to another model"
            ))
        }
        QueryError::Unavailable(failure) => Answered::Failed(failure),
    }
}

/// The first of the model's versions; the newest comes first.
async fn versions(provider: &Replicate, model: &ModelName) -> Result<Answered, QueryError> {
    let url = provider.address.url(&format!("/models/{model}/versions"));
    // It waits for no turn, because it is made within the time of a submission; there are few.
    let answer = provider.ask(Method::GET, &url, Subject::Model, &VERSIONS).await?;
    let [results] = pick(answer.text(), ["results"]).map_err(unreadable)?;
    let rows: Vec<&RawValue> = results
        .and_then(|results| serde_json::from_str(results.get()).ok())
        .ok_or_else(|| unreadable("its results are not a list"))?;
    let Some(row) = rows.first() else { return Ok(Answered::NoVersion) };
    let [id] = pick(row.get(), ["id"]).map_err(unreadable)?;
    let id = read::<String>(id).filter(|id| is_version(id));
    Ok(id.map_or_else(
        || {
            Answered::Unusable(format!(
                "the latest version of {model} has no id that can be used; \
             set version_override to a version"
            ))
        },
        Answered::Version,
    ))
}
