//! The middleware that lets requests in.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderMap, Method};
use st_store::NewAudit;
use subtle::ConstantTimeEq;
use tokio::time::sleep;

use super::access::{self, Access, Recording, Requirement};
use super::failures::Refusal;
use super::{Auth, Caller, Via};
use crate::http::meter::note_operation;
use crate::http::peer::Peer;
use crate::http::problem::Problem;

/// How often it is checked whether the caller of an open stream may still read it.
const CHECK: Duration = Duration::from_secs(30);
/// The longest name of an object that is recorded, in characters.
const MAX_OBJECT: usize = 200;

/// Operations that do something outside of the server which cannot be undone: they are recorded also where
/// the caller hangs up before the answer.
const GOES_ON: [&str; 1] = ["test_webhook"];

/// Finds the caller, asks whether it may do this, and records what was done.
pub(crate) async fn guard(
    State(auth): State<Arc<Auth>>,
    mut request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    // What does not exist is no secret; nor is what a path takes.
    let Some(matched) = matched.filter(|_| request.method() != Method::OPTIONS) else {
        return next.run(request).await;
    };
    let Some(requirement) = access::of(request.method(), matched.as_str()) else {
        return next.run(request).await;
    };
    note_operation(requirement.operation);
    if matches!(requirement.access, Access::Public) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<Peer>().copied();
    let caller = match auth.caller(request.headers(), peer).await {
        Ok(Some(caller)) => caller,
        Ok(None) => return Problem::unauthenticated().into_response(),
        Err(problem) => return problem.into_response(),
    };
    let admitted = check_session(&caller, request.method(), request.headers());
    if let Err(problem) = admitted.and_then(|()| requirement.check(&caller)) {
        report(&auth, requirement, &caller, peer);
        return problem.into_response();
    }
    let object = object(matched.as_str(), request.uri().path());
    request.extensions_mut().insert(caller.clone());
    let done = {
        let (auth, caller) = (Arc::clone(&auth), caller.clone());
        async move {
            let response = next.run(request).await;
            let outcome = Outcome::of(&response);
            record(&auth, requirement, (&caller, peer), (object, outcome)).await;
            response
        }
    };
    let response = if GOES_ON.contains(&requirement.operation) {
        match st_log::spawn(done).await {
            Ok(response) => response,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    } else {
        done.await
    };
    if requirement.is_stream { while_valid(auth, &caller, response) } else { response }
}

/// A request that changes something and comes with a session's cookie must show that it was made by a page
/// of ours: a browser sends the cookie with those of other pages too.
fn check_session(caller: &Caller, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let Via::Session { csrf, .. } = &caller.via else { return Ok(()) };
    let shown = headers.get("x-csrf-token").map(http::HeaderValue::as_bytes).unwrap_or_default();
    if method.is_safe() || bool::from(shown.ct_eq(csrf.as_bytes())) {
        return Ok(());
    }
    Err(Problem::bad_csrf_token())
}

fn report(auth: &Auth, requirement: &Requirement, caller: &Caller, peer: Option<Peer>) {
    auth.failures.report(&Refusal {
        operation: requirement.operation,
        status: 403,
        peer: peer.map(|peer| peer.address),
        actor: Some(caller.actor()),
        key: caller.key().cloned(),
    });
}

/// What the request names in the place of the pattern's parameter.
fn object(pattern: &str, path: &str) -> Option<String> {
    let mut segments = pattern.split('/').zip(path.split('/'));
    let (_, named) = segments.find(|(pattern, _)| pattern.starts_with('{'))?;
    Some(named.chars().take(MAX_OBJECT).collect())
}

/// What a handler answered.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    status: u16,
    /// Of the problem, where it is one.
    code: Option<&'static str>,
}

impl Outcome {
    fn of(response: &Response) -> Self {
        let problem = response.extensions().get::<Problem>();
        Self { status: response.status().as_u16(), code: problem.map(Problem::code) }
    }

    /// After a fault of ours it may have been done, and a rule that cannot be deleted is deactivated.
    fn may_have_changed(self) -> bool {
        let changed =
            self.code.is_some_and(|code| ["outcome_unknown", "rule_in_use"].contains(&code));
        self.status < 400 || self.status == 500 || changed
    }
}

/// Records what was done. What was refused for its contents changed nothing and is left out.
async fn record(
    auth: &Auth,
    requirement: &Requirement,
    (caller, peer): (&Caller, Option<Peer>),
    (object, outcome): (Option<String>, Outcome),
) {
    let notes = caller.notes();
    if outcome.code == Some("forbidden") || notes.refused {
        report(auth, requirement, caller, peer);
    }
    if !outcome.may_have_changed() || notes.unchanged {
        return;
    }
    let entry = |job| NewAudit {
        actor: Some(caller.actor()),
        key: caller.key().cloned(),
        object: object.clone().or_else(|| notes.made.clone()),
        job,
        peer: peer.map(|peer| peer.address),
        correlation_id: Some(st_log::get_correlation_id()),
        ..NewAudit::new(requirement.operation, outcome.status)
    };
    // What is about several jobs is one entry for each.
    let mut jobs: Vec<_> = notes.jobs.iter().copied().map(Some).collect();
    if jobs.is_empty() {
        jobs.push(None);
    }
    for job in jobs {
        match requirement.recording {
            Recording::Nothing => {}
            Recording::Batched => auth.recorder.note(entry(job)),
            Recording::BeforeAnswer => auth.recorder.record(entry(job)).await,
        }
    }
}

/// Ends a stream when its key is no longer valid.
fn while_valid(auth: Arc<Auth>, caller: &Caller, response: Response) -> Response {
    let Some(presented) = caller.presented().cloned() else { return response };
    let mut revocations = auth.revocations.subscribe();
    let invalid = async move {
        loop {
            tokio::select! {
                // The sender is in `auth`.
                _ = revocations.changed() => {}
                () = sleep(CHECK) => {}
            }
            // While the store cannot say it, the stream goes on.
            if let Ok(None) = auth.verify(&presented).await {
                return;
            }
        }
    };
    let (parts, body) = response.into_parts();
    let frames = body.into_data_stream().take_until(Box::pin(invalid));
    Response::from_parts(parts, Body::from_stream(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_what_stands_for_the_parameter() {
        assert_eq!(object("/api/keys/{id}", "/api/keys/k1").as_deref(), Some("k1"));
        assert_eq!(object("/a/{job}/cancel", "/a/x/cancel").as_deref(), Some("x"));
        assert_eq!(object("/api/keys", "/api/keys"), None);
        let long = "x".repeat(MAX_OBJECT + 1);
        assert_eq!(object("/a/{b}", &format!("/a/{long}")).unwrap().len(), MAX_OBJECT);
    }
}
