//! What a provider reports by itself, by a webhook.

use http::HeaderMap;
use jiff::Timestamp;
use st_store::{JobId, Marker, MessageId, ProviderJobId, ProviderStatus};

use super::signature::BadSignature;

/// A webhook as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The headers of the request.
    pub headers: &'a HeaderMap,
    /// Its body, byte for byte: that is what is signed.
    pub body: &'a [u8],
    /// When it arrived, by the store's clock.
    pub received_at: Timestamp,
    /// Whether one without a good signature is refused.
    pub requires_signature: bool,
}

/// What a webhook says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its identifier; `None` where it is not signed: then anyone may have made it up.
    pub id: Option<MessageId>,
    /// What it reports.
    pub reported: Reported,
}

/// What is reported.
#[derive(Debug, Clone, PartialEq)]
pub enum Reported {
    /// The provider's own words about a job, with its signature.
    Status {
        /// What it says.
        status: Box<ProviderStatus>,
        /// The attempt that the job came from, where its input shows that and no person copied it.
        marker: Option<Marker>,
    },
    /// Something happened to a job. What that is must be asked of the provider: the report is not signed, or
    /// not in the provider's own words.
    Hint {
        /// The provider's identifier of the job, where it is named.
        provider_job_id: Option<ProviderJobId>,
        /// Our identifier of the job, where it is named.
        job: Option<JobId>,
    },
}

/// Why a webhook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// The provider sends none.
    #[error("the provider sends no webhooks that this server understands")]
    Unsupported,
    /// It cannot be verified, because the secret of the signatures is not known.
    #[error("webhooks cannot be verified: {reason}")]
    NoSecret {
        /// Why it is not known, and how to set it.
        reason: String,
    },
    /// It is not signed as it must be.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// It is not JSON.
    #[error("the body is not a JSON object: {reason}")]
    NotJson {
        /// What is wrong.
        reason: String,
    },
    /// It does not say which job it is about.
    #[error("{reason}")]
    NoJob {
        /// The field that is missing or cannot be used.
        field: &'static str,
        /// What is wrong with it, and what is legal.
        reason: String,
    },
}
