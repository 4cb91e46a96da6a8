//! `replicate` against the made-up Replicate.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use st_store::{Marker, ProviderJobId, ProviderSettings};
use st_testkit::provider_suite::{Brought, ClosedPort, Impossible, Situation, Turn, World};
use st_testkit::replicate::{Call, FakeReplicate, Fault};
use st_workers::provider::replicate::Replicate;
use st_workers::provider::{Provider, Submission};

use crate::replicate::{TOKEN, provider_at, provider_with, submission};

const CALLS: [Call; 6] =
    [Call::Create, Call::Get, Call::List, Call::Cancel, Call::Account, Call::Versions];

struct ReplicateWorld {
    fake: FakeReplicate,
    /// The same with another token, which it does not accept.
    closed: FakeReplicate,
    provider: Arc<Replicate>,
    closed_port: ClosedPort,
}

impl ReplicateWorld {
    async fn start() -> Self {
        let (fake, closed) = (FakeReplicate::start().await, FakeReplicate::start().await);
        fake.world().hold("starting");
        for call in CALLS {
            closed.world().always(call, Fault::Refused { status: 401, detail: "no such token" });
        }
        let provider = Arc::new(provider_at(&fake.base_url()));
        Self { fake, closed, provider, closed_port: ClosedPort::take().unwrap() }
    }
}

#[async_trait]
impl World for ReplicateWorld {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider) as Arc<dyn Provider>
    }

    fn submission(&self, marker: Marker) -> Submission {
        Submission { marker, ..submission() }
    }

    async fn arrived(&self) -> Vec<Marker> {
        let jobs = self.fake.world().jobs().into_iter();
        jobs.map(|job| job.input["st_marker"].as_str().unwrap().parse().unwrap()).collect()
    }

    fn unknown_job(&self) -> ProviderJobId {
        ProviderJobId::new("0123456789abcdefghjkmnpqrs")
    }

    async fn bring_about(&self, situation: Situation) -> Brought {
        let world = self.fake.world();
        match situation {
            Situation::LostReply => world.fault_on(Call::Create, Fault::DropAfter),
            Situation::LostRequest => world.fault_on(Call::Create, Fault::DropBefore),
            Situation::Rejection => {
                let detail = "the input is not legal";
                world.fault_on(Call::Create, Fault::Refused { status: 422, detail });
            }
            Situation::Throttling => {
                world.fault_on(Call::Create, Fault::TooMany { retry_after: Some("1") });
            }
            Situation::Outage => {
                for call in CALLS {
                    world.always(call, Fault::gateway(503));
                }
            }
            Situation::SilentAnswer | Situation::FailingAnswer => {
                // So that each job is asked about by itself.
                world.always(Call::List, Fault::ServerError);
                let is_silent = situation == Situation::SilentAnswer;
                let fault = if is_silent { Fault::Silence } else { Fault::ServerError };
                world.fault_on(Call::Get, fault);
            }
            Situation::Recovery => world.recover(),
        }
        Ok(())
    }

    async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought {
        let word = match turn {
            Turn::Runs => {
                // What runs from now on does not go on by itself.
                self.fake.world().hold("processing");
                "processing"
            }
            Turn::Completes => "succeeded",
            Turn::Fails => "failed",
            Turn::IsCancelled => "aborted",
        };
        self.fake.world().change(job.as_str(), |job| word.clone_into(&mut job.status));
        Ok(())
    }

    fn printed(&self) -> Result<&'static str, Impossible> {
        Ok("step 1/10\n")
    }

    fn incomplete_settings(&self) -> Result<ProviderSettings, Impossible> {
        let version_override = Some("no version at all".to_owned());
        Ok(ProviderSettings { version_override, ..ProviderSettings::default() })
    }

    fn account_name(&self) -> Result<&'static str, Impossible> {
        Ok("tester")
    }

    fn secret(&self) -> Result<&'static str, Impossible> {
        Ok(TOKEN)
    }

    async fn with_wrong_credential(&self) -> Result<Arc<dyn Provider>, Impossible> {
        let base_url = self.closed.base_url();
        Ok(Arc::new(provider_with(&base_url, "r8_another", Duration::from_mins(1))))
    }

    async fn nowhere(&self) -> Result<Arc<dyn Provider>, Impossible> {
        let address = self.closed_port.address().unwrap();
        Ok(Arc::new(provider_at(&format!("http://{address}"))))
    }
}

st_testkit::provider_conformance!(ReplicateWorld::start());
