//! One request, sent as often as its policies say: the breaker before each attempt, the pause after it.

use http::{HeaderMap, StatusCode};

use crate::breaker::{Breakers, CallEnd};
use crate::request::Prepared;
use crate::retry::Retries;
use crate::{Client, Error, Response, StreamingResponse};

/// What repeats and holds back one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    pub(crate) retries: Option<Retries>,
    pub(crate) idempotent: bool,
    pub(crate) breakers: Option<Breakers>,
}

/// The result of one attempt: a whole response, or one whose body is still to be read.
pub(crate) trait Answer: Sized + Send {
    fn fetch(
        client: &Client,
        request: Box<Prepared>,
    ) -> impl Future<Output = Result<Self, Error>> + Send;

    fn head(&self) -> (StatusCode, &HeaderMap);
}

impl Answer for Response {
    async fn fetch(client: &Client, request: Box<Prepared>) -> Result<Self, Error> {
        client.send(request).await
    }

    fn head(&self) -> (StatusCode, &HeaderMap) {
        (self.status(), self.headers())
    }
}

impl Answer for StreamingResponse {
    async fn fetch(client: &Client, request: Box<Prepared>) -> Result<Self, Error> {
        client.open(request).await
    }

    fn head(&self) -> (StatusCode, &HeaderMap) {
        (self.status(), self.headers())
    }
}

/// Sends `request` until its policies want no further attempt, or its time is over.
pub(crate) async fn send<A: Answer>(
    client: &Client,
    mut request: Box<Prepared>,
    policies: Policies,
) -> Result<A, Error> {
    let Policies { retries, idempotent, breakers } = policies;
    let Some(retries) = retries else { return attempt(client, request, breakers.as_ref()).await };
    let overall = request.limits.overall.unwrap_or_else(|| client.overall_timeout());
    let mut attempts = retries.begin(&request.method, idempotent, Some(overall));
    loop {
        let next = request.again();
        let outcome: Result<A, Error> = attempt(client, request, breakers.as_ref()).await;
        let again = attempts.after(outcome.as_ref().map(Answer::head), next.is_some());
        let (Some(next), Some(again)) = (next, again) else {
            return attempts.result(outcome);
        };
        drop(outcome);
        tokio::time::sleep(again.pause).await;
        request = next;
        request.limits.overall = again.left;
        request.limits.of_all = Some(overall);
    }
}

async fn attempt<A: Answer>(
    client: &Client,
    request: Box<Prepared>,
    breakers: Option<&Breakers>,
) -> Result<A, Error> {
    let Some(breakers) = breakers else { return A::fetch(client, request).await };
    let admitted = breakers.admit(request.target.shown.origin());
    let permit = admitted.map_err(|wait| Error::breaker_open(Some(&request.target.shown), wait))?;
    let outcome = A::fetch(client, request).await;
    permit.end(CallEnd::of(outcome.as_ref().map(|answer| answer.head().0)));
    outcome
}
