//! Synchronizing jobs with their providers, on a person's word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use st_store::{ProviderName, Role};

use crate::input::Fields;
use crate::operation::{Group, Input, Lane, Method, Operation};
use crate::problem::Code;

/// The longest name of a provider, in bytes.
const LONGEST: usize = 200;

/// What is to be synchronized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncJobs {
    /// The jobs of this provider alone; those of all where it is left out.
    pub provider: Option<ProviderName>,
}

impl Input for SyncJobs {
    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = fields.optional_string("provider", LONGEST);
        Some(Self { provider: provider.map(ProviderName::new) })
    }
}

/// What was found at the providers, and what changed here because of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobsSynced {
    /// How many jobs were found at their provider of which it was not known whether they had arrived.
    pub synced: u64,
    /// How many jobs had changed there.
    pub updated: u64,
    /// The same for a person, with what could not be read.
    pub message: String,
}

/// Asks for every active job now.
pub const SYNC: Operation<(), (), SyncJobs, JobsSynced> = Operation::new(
    Group::Jobs,
    Method::Post,
    "/api/cloud/jobs/sync",
    "sync_jobs",
)
.lane(Lane::Bulk)
.summary("Ask the providers about all active jobs now, and adopt submissions that are missing here")
.description(
    "Of the provider's list the newest thousand jobs of a day are read. Jobs that this server \
             did not submit are left alone.",
)
.role(Role::Lead)
.problems(&[Code::Conflict, Code::ProviderNotConfigured, Code::ProviderError])
.example_body(r#"{"provider": "replicate"}"#);
