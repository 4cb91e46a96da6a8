//! What the author of a provider brings: the provider, the place where its jobs run, and what can
//! happen there.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use st_store::{JobStatus, Marker, ProviderJobId, ProviderSettings};
use st_workers::provider::{Provider, Submission};

/// Why something cannot come about at a provider, or cannot be asked of it: the declaration of what
/// the suite does not check there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Impossible(pub &'static str);

/// Whether a situation came about.
pub type Brought = Result<(), Impossible>;

/// A situation of the whole provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// The next submission arrives, and its caller does not learn it.
    LostReply,
    /// The next submission is lost on its way, and its caller does not learn it.
    LostRequest,
    /// The provider refuses what the next submission asks for.
    Rejection,
    /// The provider refuses the next submission because there are too many.
    Throttling,
    /// The provider, or what is on the way to it, answers nothing that can be used.
    Outage,
    /// One of the next questions about the status of a job is never answered. Several jobs are there.
    SilentAnswer,
    /// One of the next questions about the status of a job fails, in whatever way. Several jobs are
    /// there.
    FailingAnswer,
    /// All of this is over. What was lost stays lost, and what is still to arrive has arrived.
    Recovery,
}

/// What becomes of a job at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It runs.
    Runs,
    /// It ends well.
    Completes,
    /// It fails.
    Fails,
    /// The provider, or one of its administrators, cancels it.
    IsCancelled,
}

impl Turn {
    /// The status after it.
    pub const fn status(self) -> JobStatus {
        match self {
            Self::Runs => JobStatus::Running,
            Self::Completes => JobStatus::Completed,
            Self::Fails => JobStatus::Failed,
            Self::IsCancelled => JobStatus::Cancelled,
        }
    }
}

/// An input that a provider does not accept.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedInput {
    /// As it was submitted.
    pub input: Value,
    /// What is wrong in it: the refusal names it.
    pub field: &'static str,
}

/// How much is asked of a provider at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// How many jobs it has when many are polled. Jobs that it does not know and repetitions are
    /// added, up to 300.
    pub jobs: usize,
    /// How many are submitted at the same time.
    pub at_once: usize,
}

/// A provider, the place where its jobs run, and what can happen there. Each case gets a new one, in
/// which nothing has happened yet and jobs change only as [`World::turn`] says.
///
/// What a provider can do without is left as it is: it is then declared as impossible.
#[async_trait]
pub trait World: Send + Sync {
    /// The provider; the same one each time.
    fn provider(&self) -> Arc<dyn Provider>;

    /// A submission that is accepted, of a job that runs until [`World::turn`] ends it.
    fn submission(&self, marker: Marker) -> Submission;

    /// The ledger: the attempt of every submission that arrived, each as often as it did.
    async fn arrived(&self) -> Vec<Marker>;

    /// An identifier as the provider gives them, of no job.
    fn unknown_job(&self) -> ProviderJobId;

    /// Brings a situation about.
    async fn bring_about(&self, situation: Situation) -> Brought;

    /// Changes a job, and returns when the provider shows it.
    async fn turn(&self, job: &ProviderJobId, turn: Turn) -> Brought;

    /// Whether the provider says of [`World::unknown_job`] that it has no such job; some answer with
    /// an error that can mean anything.
    fn denies_what_it_does_not_have(&self) -> Brought {
        Ok(())
    }

    /// A part of what every job prints, also while it runs.
    fn printed(&self) -> Result<&'static str, Impossible> {
        Err(Impossible("it shows no logs"))
    }

    /// Inputs that [`Provider::check`] refuses.
    fn refused_inputs(&self) -> Result<Vec<RefusedInput>, Impossible> {
        Err(Impossible("it accepts every input"))
    }

    /// Settings with which [`Provider::missing`] misses something.
    fn incomplete_settings(&self) -> Result<ProviderSettings, Impossible> {
        Err(Impossible("it needs no settings"))
    }

    /// What [`Provider::validate`] calls the account.
    fn account_name(&self) -> Result<&'static str, Impossible> {
        Err(Impossible("its accounts have no names"))
    }

    /// The credential, or another secret of its configuration.
    fn secret(&self) -> Result<&'static str, Impossible> {
        Err(Impossible("it has no credential"))
    }

    /// A provider of the same kind with a credential that is not accepted.
    async fn with_wrong_credential(&self) -> Result<Arc<dyn Provider>, Impossible> {
        Err(Impossible("it has no credential"))
    }

    /// A provider of the same kind, where nobody is to be reached.
    async fn nowhere(&self) -> Result<Arc<dyn Provider>, Impossible> {
        Err(Impossible("it is not reached through a network"))
    }

    /// How much is asked of it at the same time.
    fn scale(&self) -> Scale {
        Scale { jobs: 150, at_once: 32 }
    }
}
