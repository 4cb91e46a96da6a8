//! Webhooks of the account: in the provider's own words, and as trainers that know nothing of those send
//! them.

use st_store::{JobId, ProviderJobId};

use super::Replicate;
use super::fields::{Field, pick, read};
use super::row::{Row, is_safe_id};
use super::secret::Wish;
use crate::provider::signature::{Signed, webhook_id};
use crate::provider::{BadSignature, Delivery, ReceiveError, Report, Reported};

/// Whether a webhook is signed by the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Signed,
    None,
}

impl Replicate {
    pub(super) async fn read_webhook(
        &self,
        delivery: &Delivery<'_>,
    ) -> Result<Report, ReceiveError> {
        let proof = self.prove(delivery).await?;
        let not_json = |reason: String| ReceiveError::NotJson { reason };
        let text =
            std::str::from_utf8(delivery.body).map_err(|error| not_json(error.to_string()))?;
        let reported = self.reported(text, proof)?;
        let id = (proof == Proof::Signed).then(|| webhook_id(delivery.headers)).flatten();
        Ok(Report { id, reported })
    }

    /// Checks the signature, which may be missing only where none is required.
    async fn prove(&self, delivery: &Delivery<'_>) -> Result<Proof, ReceiveError> {
        let signed = Signed::read(delivery.headers, delivery.body, delivery.received_at);
        let checked = match signed {
            Ok(signed) => self.check_signature(&signed).await,
            Err(bad) => Err(bad.into()),
        };
        match checked {
            Ok(()) => Ok(Proof::Signed),
            Err(_bad) if !delivery.requires_signature => Ok(Proof::None),
            Err(bad) => Err(bad),
        }
    }

    /// With the configured secrets; where there are none, with that of the account, which is asked for once
    /// more when it does not match.
    async fn check_signature(&self, signed: &Signed<'_>) -> Result<(), ReceiveError> {
        if !self.webhook_secrets.is_empty() {
            return Ok(signed.check(&self.webhook_secrets)?);
        }
        let held = self.access.current();
        let fetched = async |wish| {
            let secret = held.secret.get(self, &held, wish).await;
            secret.map_err(|reason| ReceiveError::NoSecret { reason })
        };
        let secret = fetched(Wish::Any).await?;
        match signed.check([&secret]) {
            Ok(()) => Ok(()),
            Err(_no_match) => {
                let newer = fetched(Wish::Newer).await?;
                Ok(if newer == secret {
                    Err(BadSignature::NoMatch)
                } else {
                    signed.check([&newer])
                }?)
            }
        }
    }

    fn reported(&self, text: &str, proof: Proof) -> Result<Reported, ReceiveError> {
        let [id, prediction_id, job_id] = pick(text, ["id", "prediction_id", "job_id"])
            .map_err(|error| ReceiveError::NotJson { reason: error.to_string() })?;
        if !is_given(prediction_id) && is_given(id) {
            return self.of_provider(text, proof);
        }
        let prediction = read::<String>(prediction_id).filter(|id| is_safe_id(id));
        if prediction.is_none() && is_given(prediction_id) {
            return Err(no_job("prediction_id", "expected the id of a prediction"));
        }
        let named: Option<String> = read(job_id);
        let job: Option<JobId> = named.as_deref().and_then(|name| name.parse().ok());
        // Some trainers know no other identifier than the provider's.
        let provider_job_id =
            prediction.or_else(|| named.filter(|name| job.is_none() && is_safe_id(name)));
        let provider_job_id = provider_job_id.map(ProviderJobId::new);
        if provider_job_id.is_none() && job.is_none() {
            return Err(no_job("id", "expected a prediction with its id, or a prediction_id"));
        }
        Ok(Reported::Hint { provider_job_id, job })
    }

    /// A prediction, as the provider shows it everywhere.
    fn of_provider(&self, text: &str, proof: Proof) -> Result<Reported, ReceiveError> {
        let row = Row::read(text).ok_or_else(|| no_job("id", "cannot be read"))?;
        if row.word().is_none() {
            return Err(no_job("status", "expected a word such as succeeded"));
        }
        let marker = row.own_marker();
        let status = row.to_status(&self.prices, self.time.now());
        let status = status.ok_or_else(|| no_job("id", "expected the id of a prediction"))?;
        Ok(match proof {
            Proof::Signed => Reported::Status { status: Box::new(status), marker },
            Proof::None => {
                Reported::Hint { provider_job_id: Some(status.provider_job_id), job: None }
            }
        })
    }
}

/// Whether a field is there and not null.
fn is_given(field: Field<'_>) -> bool {
    field.is_some_and(|field| field.get() != "null")
}

fn no_job(field: &'static str, reason: &str) -> ReceiveError {
    ReceiveError::NoJob { field, reason: reason.to_owned() }
}
