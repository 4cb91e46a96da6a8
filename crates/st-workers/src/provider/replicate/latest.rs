//! The latest version of a model, asked for before a job that needs it is submitted.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Replicate;
use super::classify::{Subject, repeated, unreadable};
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
    /// Guards the answers. Held during the call, so that all who wait for the same answer share it.
    answers: Mutex<BTreeMap<ModelName, Known>>,
}

#[derive(Debug)]
struct Known {
    answer: Result<Option<String>, Unavailable>,
    at: Instant,
}

impl Latest {
    /// The latest version of this model; `None` where it has no versions. When it cannot be found
    /// out, nothing is to be submitted.
    pub(super) async fn of(
        &self,
        provider: &Replicate,
        model: &ModelName,
    ) -> Result<Option<String>, SubmitError> {
        let answer = timeout(DEADLINE, self.ask(provider, model)).await;
        let answer = answer.unwrap_or_else(|_elapsed| {
            let late =
                format!("replicate did not say within {DEADLINE:?} which versions there are");
            Err(QueryError::trouble(late))
        });
        answer.map_err(|error| match error {
            QueryError::Unavailable(unavailable) => {
                // What the account may not ask is no reason to give up a job that was not sent.
                let is_account = unavailable.cause == Cause::Account;
                let cause = if is_account { Cause::Trouble } else { unavailable.cause };
                SubmitError::Unavailable(Unavailable { cause, ..unavailable })
            }
            QueryError::NotFound => SubmitError::MissingSetting {
                reason: format!("replicate has no model {model}; set version_override to another"),
            },
        })
    }

    async fn ask(
        &self,
        provider: &Replicate,
        model: &ModelName,
    ) -> Result<Option<String>, QueryError> {
        let began = Instant::now();
        let mut answers = self.answers.lock().await;
        match answers.get(model) {
            Some(Known { answer: Ok(version), at }) if at.elapsed() < KEEP => {
                return Ok(version.clone());
            }
            // It ended while this call waited for it.
            Some(Known { answer: Err(failure), at }) if *at > began => {
                return Err(repeated(failure));
            }
            Some(_) | None => {}
        }
        let answer = versions(provider, model).await;
        let kept = match &answer {
            Ok(version) => Ok(version.clone()),
            Err(QueryError::Unavailable(failure)) => Err(copy(failure)),
            Err(QueryError::NotFound) => return answer,
        };
        answers.insert(model.clone(), Known { answer: kept, at: Instant::now() });
        answer
    }
}

/// Without the source, which cannot be copied.
fn copy(failure: &Unavailable) -> Unavailable {
    let Unavailable { cause, reason: _, retry_after, source: _ } = failure;
    Unavailable { retry_after: *retry_after, ..Unavailable::new(*cause, failure.chain()) }
}

/// The first of the model's versions; the newest comes first.
async fn versions(provider: &Replicate, model: &ModelName) -> Result<Option<String>, QueryError> {
    let url = provider.address.url(&format!("/models/{model}/versions"));
    // It waits for no turn, because it is made within the time of a submission; there are few.
    let answer = provider.ask(Method::GET, &url, Subject::Model, &VERSIONS).await?;
    let [results] = pick(answer.text(), ["results"]).map_err(unreadable)?;
    let rows: Vec<&RawValue> = results
        .and_then(|results| serde_json::from_str(results.get()).ok())
        .ok_or_else(|| unreadable("its results are not a list"))?;
    let Some(row) = rows.first() else { return Ok(None) };
    let [id] = pick(row.get(), ["id"]).map_err(unreadable)?;
    let id = read::<String>(id).filter(|id| is_version(id));
    id.map(Some).ok_or_else(|| unreadable("its first version has no id that can be used"))
}
