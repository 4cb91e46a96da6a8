//! The world of the provider in memory, which is the model of a world.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use st_store::{Marker, ProviderJobId, ProviderSettings};
use st_workers::provider::{Cause, Provider, Submission};

use super::{Brought, Impossible, Situation, Turn, World};
use crate::provider::{FakeProvider, SubmitFault};

/// A [`FakeProvider`] with nothing in it.
#[derive(Debug)]
pub struct FakeWorld(Arc<FakeProvider>);

impl FakeWorld {
    /// The world of a new provider.
    pub fn new() -> Self {
        Self(FakeProvider::new("fake"))
    }

    /// The provider that is in it.
    pub fn fake(&self) -> &Arc<FakeProvider> {
        &self.0
    }
}

impl Default for FakeWorld {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl World for FakeWorld {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.0) as Arc<dyn Provider>
    }

    fn submission(&self, marker: Marker) -> Submission {
        let (input, settings) = (json!({"config": {}}), ProviderSettings::default());
        Submission { marker, account: None, input, hardware_type: None, settings }
    }

    async fn arrived(&self) -> Vec<Marker> {
        self.0.ledger().iter().map(|job| job.marker).collect()
    }

    fn unknown_job(&self) -> ProviderJobId {
        ProviderJobId::new("p999999")
    }

    async fn bring_about(&self, situation: Situation) -> Brought {
        let fake = &self.0;
        match situation {
            Situation::LostReply => fake.plan([SubmitFault::LostReply]),
            Situation::LostRequest => fake.plan([SubmitFault::LostRequest]),
            Situation::Rejection => fake.plan([SubmitFault::Rejected]),
            Situation::Throttling => {
                let wish = Some(Duration::from_secs(1));
                fake.plan([SubmitFault::Unavailable(Cause::Throttled, wish)]);
            }
            Situation::Outage => fake.set_outage(Some(Duration::ZERO)),
            Situation::SilentAnswer => {
                fake.be_silent_about(&fake.ledger()[0].status.provider_job_id);
            }
            Situation::FailingAnswer => fake.forget(&fake.ledger()[0].status.provider_job_id),
            Situation::Recovery => fake.set_outage(None),
        }
        Ok(())
    }

    async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought {
        self.0.change(job, |report| report.status = Some(turn.status()));
        Ok(())
    }

    fn printed(&self) -> Result<&'static str, Impossible> {
        Ok("step 1/1\n")
    }

    fn account_name(&self) -> Result<&'static str, Impossible> {
        Ok("fake")
    }

    async fn with_wrong_credential(&self) -> Result<Arc<dyn Provider>, Impossible> {
        let refused = FakeProvider::new("fake");
        refused.set_refusal(Some((Cause::Credentials, Duration::ZERO)));
        Ok(refused)
    }

    async fn nowhere(&self) -> Result<Arc<dyn Provider>, Impossible> {
        let away = FakeProvider::new("fake");
        away.set_outage(Some(Duration::ZERO));
        Ok(away)
    }
}
