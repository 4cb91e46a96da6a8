//! Five shipped descriptions against the made-up clouds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use st_store::{Marker, ProviderJobId, ProviderSettings};
use st_testkit::http_world::{Cloud, CloudCall, CloudFault, CloudRun, FakeCloud, RunState};
use st_testkit::provider_suite::{
    Brought, ClosedPort, Impossible, RefusedInput, Scale, Situation, Turn, World,
};
use st_workers::provider::{Provider, Submission};

use crate::http::{SECRET, described, provider_with};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const CALLS: [CloudCall; 6] = [
    CloudCall::Submit,
    CloudCall::Release,
    CloudCall::Status,
    CloudCall::List,
    CloudCall::Cancel,
    CloudCall::Other,
];

struct CloudsWorld {
    cloud: Cloud,
    fake: FakeCloud,
    provider: Arc<dyn Provider>,
    closed: ClosedPort,
}

impl CloudsWorld {
    async fn start(cloud: Cloud) -> Self {
        let fake = FakeCloud::start(cloud).await;
        fake.world().stay();
        let description = account_of(described(cloud, &fake.base_url()));
        let sent =
            if cloud == Cloud::Slurm { SECRET.to_owned() } else { format!("Bearer {SECRET}") };
        fake.world().accept_only(&sent);
        let provider = Arc::new(provider_with(&description, SECRET, PATIENCE));
        Self { cloud, fake, provider, closed: ClosedPort::take().unwrap() }
    }

    /// How the cloud names a job that it has, among those that were submitted.
    fn is(&self, run: &CloudRun, id: &ProviderJobId) -> bool {
        let name = run.submitted.pointer("/metadata/name").and_then(Value::as_str);
        let known = if self.cloud == Cloud::Kubernetes { name } else { Some(run.id.as_str()) };
        known == Some(id.as_str())
    }

    /// Where the marker is in a submission.
    fn marker_in(&self, run: &CloudRun) -> Marker {
        let at = match self.cloud {
            Cloud::RunPod => "/input/st_marker",
            Cloud::Kubernetes => "/metadata/labels/st-marker",
            Cloud::HuggingFace => "/labels/st_marker",
            Cloud::Slurm => "/job/comment",
            Cloud::OpenAi => "/metadata/st_marker",
        };
        run.submitted.pointer(at).and_then(Value::as_str).unwrap().parse().unwrap()
    }
}

/// A description that says what its account is called.
fn account_of(mut description: Value) -> Value {
    description["account"] = "team".into();
    description
}

#[async_trait]
impl World for CloudsWorld {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::clone(&self.provider)
    }

    fn submission(&self, marker: Marker) -> Submission {
        Submission {
            marker,
            account: None,
            input: json!({
                "config": {"model": "m", "training_file": "file-1", "lr": 1e-4},
                "env": {"EPOCHS": 3},
            }),
            hardware_type: Some("a10g-small".to_owned()),
            settings: ProviderSettings::default(),
        }
    }

    async fn arrived(&self) -> Vec<Marker> {
        self.fake.world().runs().iter().map(|run| self.marker_in(run)).collect()
    }

    fn unknown_job(&self) -> ProviderJobId {
        ProviderJobId::new(if self.cloud == Cloud::Kubernetes { "st-no-job" } else { "999999" })
    }

    async fn bring_about(&self, situation: Situation) -> Brought {
        let world = self.fake.world();
        let submit = |fault| world.fault(CloudCall::Submit, fault);
        match situation {
            Situation::LostReply => submit(CloudFault::LoseReply),
            Situation::LostRequest => submit(CloudFault::LoseRequest),
            Situation::Throttling => submit(CloudFault::Throttle),
            Situation::Rejection => {
                let said = match self.cloud {
                    Cloud::RunPod => json!({"error": "not this"}),
                    Cloud::Kubernetes => json!({"kind": "Status", "message": "not this"}),
                    Cloud::OpenAi => json!({"error": {"message": "not this"}}),
                    Cloud::HuggingFace | Cloud::Slurm => {
                        return Err(Impossible("the description has no words of its own for it"));
                    }
                };
                submit(CloudFault::Answer(422, said));
            }
            Situation::Outage => {
                for call in CALLS {
                    world.always(call, CloudFault::Gateway(503));
                }
            }
            Situation::SilentAnswer | Situation::FailingAnswer => {
                // So that each job is asked about by itself.
                world.always(CloudCall::List, CloudFault::Gateway(500));
                let is_silent = situation == Situation::SilentAnswer;
                let fault = if is_silent { CloudFault::Silence } else { CloudFault::Gateway(502) };
                world.fault(CloudCall::Status, fault);
            }
            Situation::Recovery => world.recover(),
        }
        Ok(())
    }

    async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought {
        let to = match turn {
            Turn::Runs => RunState::Running,
            Turn::Completes => RunState::Completed,
            Turn::Fails => RunState::Failed,
            Turn::IsCancelled if self.cloud == Cloud::Kubernetes => {
                return Err(Impossible("a job that others suspend may be resumed"));
            }
            Turn::IsCancelled => RunState::Cancelled,
        };
        self.fake.world().set(|run| self.is(run, job), to);
        Ok(())
    }

    fn denies_what_it_does_not_have(&self) -> Brought {
        match self.cloud {
            Cloud::RunPod | Cloud::Kubernetes => Ok(()),
            Cloud::HuggingFace | Cloud::Slurm | Cloud::OpenAi => {
                Err(Impossible("the description has no answer that means gone"))
            }
        }
    }

    fn printed(&self) -> Result<&'static str, Impossible> {
        match self.cloud {
            Cloud::Kubernetes | Cloud::HuggingFace | Cloud::OpenAi => Ok("step 1/2\n"),
            Cloud::RunPod | Cloud::Slurm => Err(Impossible("no logs are described")),
        }
    }

    fn refused_inputs(&self) -> Result<Vec<RefusedInput>, Impossible> {
        Ok(match self.cloud {
            Cloud::RunPod | Cloud::Kubernetes | Cloud::HuggingFace => {
                vec![RefusedInput { input: json!({"env": {}}), field: "input.config" }]
            }
            Cloud::Slurm => vec![
                RefusedInput { input: json!({"config": {}}), field: "input.env" },
                RefusedInput { input: json!({"env": "EPOCHS=3"}), field: "input.env" },
            ],
            Cloud::OpenAi => vec![
                RefusedInput { input: json!({"config": {}}), field: "input.config.model" },
                RefusedInput {
                    input: json!({"config": {"model": "m"}}),
                    field: "input.config.training_file",
                },
            ],
        })
    }

    fn account_name(&self) -> Result<&'static str, Impossible> {
        Ok("team")
    }

    fn secret(&self) -> Result<&'static str, Impossible> {
        Ok(SECRET)
    }

    async fn with_wrong_credential(&self) -> Result<Arc<dyn Provider>, Impossible> {
        let description = account_of(described(self.cloud, &self.fake.base_url()));
        Ok(Arc::new(provider_with(&description, "another-s3cr3t", PATIENCE)))
    }

    async fn nowhere(&self) -> Result<Arc<dyn Provider>, Impossible> {
        let base_url = format!("http://{}", self.closed.address().unwrap());
        let description = account_of(described(self.cloud, &base_url));
        Ok(Arc::new(provider_with(&description, SECRET, PATIENCE)))
    }

    fn scale(&self) -> Scale {
        // Two rows make a page of these lists.
        let jobs = match self.cloud {
            Cloud::HuggingFace | Cloud::OpenAi => 40,
            Cloud::RunPod | Cloud::Kubernetes | Cloud::Slurm => 150,
        };
        Scale { jobs, at_once: 32 }
    }
}

macro_rules! clouds {
    ($($name:ident: $cloud:expr),+ $(,)?) => {
        $(
            mod $name {
                use super::{Cloud, CloudsWorld};

                st_testkit::provider_conformance!(CloudsWorld::start($cloud));
            }
        )+
    };
}

clouds! {
    runpod: Cloud::RunPod,
    kubernetes: Cloud::Kubernetes,
    hf_jobs: Cloud::HuggingFace,
    slurm: Cloud::Slurm,
    openai_ft: Cloud::OpenAi,
}
