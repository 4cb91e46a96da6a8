//! Sending a described request: the credential, the rate, the limits of what goes out and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, Uri};
use st_http::{Client, Request, Sent, StreamingResponse};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::answers::Operation;
use super::base::BaseUrl;
use super::call::{Call, Outgoing};
use super::client::SharedClient;
use super::description::{Description, MOST_IN_FLIGHT};
use super::secret::{Credential, MASK, NoCredential};
use super::template::RenderError;
use super::values::Values;
use crate::provider::OwnAccess;
use crate::provider::rate::{CallBudget, Purpose};
use crate::provider::server_time::ServerTime;

/// The largest answer about one job, in bytes.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// The largest page of a list, in bytes.
const LARGEST_PAGE: usize = 32 * 1024 * 1024;

/// A call that would wait for longer until its rate allows it, or until others have ended, is not made.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// When such a call may be tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A whole answer, of whatever status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("the request cannot be made")]
    Render(#[from] RenderError),
    #[error("the request has {found} bytes, {limit} are allowed")]
    TooLarge { found: usize, limit: usize },
    #[error("no credential")]
    Credential(#[from] NoCredential),
    #[error("its rate is used up, or as many calls are under way as it allows")]
    Budget(Duration),
    #[error(transparent)]
    Http(#[from] st_http::Error),
}

impl Unanswered {
    /// Whether it is certain that nothing was written.
    pub(super) fn is_unsent(&self) -> bool {
        match self {
            Self::Http(error) => error.was_sent() == Sent::No,
            Self::Render(_) | Self::TooLarge { .. } | Self::Credential(_) | Self::Budget(_) => true,
        }
    }
}

/// The way to the provider.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: SharedClient,
    credential: Option<Arc<Credential>>,
    /// What else no error may show: a provider may repeat what it got.
    pub(super) hidden: Vec<String>,
    /// What of it is a secret for certain, and so is in no log and no address either.
    pub(super) secrets: Vec<String>,
    /// Calls at the same time; never closed.
    in_flight: Semaphore,
    budgets: BTreeMap<&'static str, CallBudget>,
    pub(super) clock: ServerTime,
}

impl Connection {
    pub(super) fn new(
        description: &Description,
        credential: Option<Arc<Credential>>,
        client: Client,
    ) -> Self {
        let limits = &description.limits;
        let rates = [
            (Operation::Submit, limits.submit),
            (Operation::Status, limits.status),
            (Operation::List, limits.list),
            (Operation::Cancel, limits.cancel),
            (Operation::Logs, limits.logs),
        ];
        let budget = |(operation, rate): (Operation, Option<_>)| {
            // What polls has a part of these two, and whatever else asks has the other.
            let is_shared = matches!(operation, Operation::Status | Operation::List);
            let budget = if is_shared { CallBudget::shared } else { CallBudget::new };
            Some((operation.as_str(), budget(rate?)))
        };
        let most = usize::try_from(MOST_IN_FLIGHT).unwrap_or(usize::MAX);
        Self {
            client: SharedClient::new(client),
            credential,
            hidden: Vec::new(),
            secrets: Vec::new(),
            in_flight: Semaphore::new(limits.in_flight.unwrap_or(most)),
            budgets: rates.into_iter().filter_map(budget).collect(),
            clock: ServerTime::default(),
        }
    }

    pub(super) fn fingerprint(&self) -> Option<String> {
        self.credential.as_ref().map(|credential| credential.fingerprint())
    }

    /// A provider's words about a call, without the credential and what else is hidden.
    pub(super) fn mask(&self, text: &str) -> String {
        self.without(&self.hidden, text)
    }

    /// What a job made or printed, without secrets. What is only hidden may be an ordinary word there.
    pub(super) fn mask_result(&self, text: &str) -> String {
        self.without(&self.secrets, text)
    }

    fn without(&self, hidden: &[String], text: &str) -> String {
        let masked = self.credential.as_ref().map_or_else(|| text.to_owned(), |it| it.mask(text));
        hidden.iter().fold(masked, |text, hidden| text.replace(hidden, MASK))
    }

    /// The budget of these calls, where the description limits them.
    pub(super) fn budget(&self, operation: Operation) -> Option<&CallBudget> {
        let counted_as = if operation == Operation::Find { Operation::List } else { operation };
        self.budgets.get(counted_as.as_str())
    }

    /// How the URL of an output is called, where it is at the origin of the base: without the credential,
    /// because no description says which places there are for files.
    pub(super) fn own_access(&self, base: &BaseUrl, url: &Uri) -> Option<OwnAccess> {
        base.is_own(url).then(|| OwnAccess { client: self.client.get(), credential: None })
    }

    /// Sends a call and reads its whole answer.
    pub(super) async fn ask(
        &self,
        description: &Description,
        operation: Operation,
        purpose: Purpose,
        outgoing: Outgoing,
    ) -> Result<Answer, Unanswered> {
        let (mut response, _permit) = self.open(description, operation, purpose, outgoing).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8(body)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Ok(Answer { status: response.status(), headers: response.headers().clone(), body })
    }

    /// Sends a call and waits for the head of its answer. The permit ends with the reading.
    pub(super) async fn open(
        &self,
        description: &Description,
        operation: Operation,
        purpose: Purpose,
        outgoing: Outgoing,
    ) -> Result<(StreamingResponse, Option<SemaphorePermit<'_>>), Unanswered> {
        let budget = self.budget(operation);
        // Who submits has waited for the turn before.
        if let Some(budget) = budget.filter(|_| operation != Operation::Submit) {
            budget.turn_within(purpose, LONGEST_WAIT).await.map_err(Unanswered::Budget)?;
        }
        // The wait is no part of the call: what times out here was certainly not sent.
        let permit = timeout(LONGEST_WAIT, self.in_flight.acquire()).await;
        let permit = permit.map_err(|_elapsed| Unanswered::Budget(AGAIN))?.ok();
        let is_page = matches!(operation, Operation::List | Operation::Find);
        let largest = if is_page { LARGEST_PAGE } else { LARGEST_ANSWER };
        let request = self.request(description, outgoing).await?.body_limit(largest);
        let response = request.open().await?;
        self.clock.observe(response.headers());
        if let Some(budget) = budget.filter(|_| response.status() == StatusCode::TOO_MANY_REQUESTS)
        {
            budget.note_refusal();
        }
        Ok((response, permit))
    }

    async fn request(
        &self,
        description: &Description,
        outgoing: Outgoing,
    ) -> Result<Request, Unanswered> {
        let url = description.base.url(&outgoing.path);
        let mut request = self.client.get().request(outgoing.method, &url);
        for (name, value) in outgoing.headers {
            request = request.header(name, value);
        }
        if let Some((body, content_type)) = outgoing.body {
            let bytes = body.to_string().into_bytes();
            if let Some(limit) = description.limits.body.filter(|limit| bytes.len() > *limit) {
                return Err(Unanswered::TooLarge { found: bytes.len(), limit });
            }
            request = request.header(http::header::CONTENT_TYPE, content_type).body(bytes.into());
        }
        if let Some(credential) = &self.credential {
            let (name, value) = credential.header().await?;
            request = request.secret_header(name, value);
        }
        Ok(request)
    }
}

impl Description {
    /// A call with its values, and the headers that every call has.
    pub(super) fn render(
        &self,
        call: &Call,
        values: &Values<'_>,
        more: &[(&str, &str)],
    ) -> Result<Outgoing, RenderError> {
        let mut outgoing = call.render(values, more)?;
        self.add_common_headers(&mut outgoing)?;
        Ok(outgoing)
    }

    /// The headers that every call has; one of the call's own stays.
    pub(super) fn add_common_headers(&self, outgoing: &mut Outgoing) -> Result<(), RenderError> {
        let values = Values::new(&self.vars);
        for (name, template) in &self.headers {
            let Some(text) = template.plain(&values)? else { continue };
            let value = text.parse().map_err(|_not_legal| {
                RenderError::Place(format!("the header {name} cannot hold its value"))
            })?;
            if !outgoing.headers.iter().any(|(known, _)| known == name) {
                outgoing.headers.push((name.clone(), value));
            }
        }
        Ok(())
    }
}
