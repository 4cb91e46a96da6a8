//! The middleware that lets requests in.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, Method};
use st_api::problem::Code;
use st_store::NewAudit;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::access::{self, Access, Recording, Requirement};
use super::failures::Refusal;
use super::{Auth, Caller, LOG, Via};
use crate::http::lane::Permit;
use crate::http::meter::note_operation;
use crate::http::middleware::DEADLINE;
use crate::http::peer::Peer;
use crate::http::problem::Problem;

/// How often it is checked whether the caller of an open stream may still read it.
const CHECK: Duration = Duration::from_secs(30);
/// The longest name of an object that is recorded, in characters.
const MAX_OBJECT: usize = 200;

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
    if requirement.recording == Recording::Nothing {
        let response = next.run(request).await;
        if was_refused(&caller, Outcome::of(&response)) {
            report(&auth, requirement, &caller, peer);
        }
        return if requirement.is_stream { while_valid(auth, &caller, response) } else { response };
    }
    let change = Change { auth, requirement, caller, peer, object };
    change.carry_out(request, next).await
}

/// A request that may change something.
struct Change {
    auth: Arc<Auth>,
    requirement: &'static Requirement,
    caller: Caller,
    peer: Option<Peer>,
    object: Option<String>,
}

impl Change {
    /// Answers the request in a task of its own: what a handler has begun goes on when its client hangs up,
    /// and is recorded.
    async fn carry_out(self, request: Request, next: Next) -> Response {
        let (answer, answered) = oneshot::channel();
        let tasks = self.auth.under_way.clone();
        drop(st_log::spawn(tasks.track_future(async move {
            // As long as this lives, the request counts as one that is under way.
            let _permit = request.extensions().get::<Arc<Permit>>().cloned();
            let ended = self.run(request, next).await;
            if let Err(unheard) = answer.send(ended) {
                self.log_unheard(&unheard);
            }
        })));
        match answered.await {
            Ok(Ended::Answered(response)) => response,
            Ok(Ended::Panicked(panic)) => resume_unwind(panic),
            Ok(Ended::Cut(cut)) => cut.problem().into_response(),
            // Its task ended without a word, which only the end of the runtime does.
            Err(_) => Cut::Stopping.problem().into_response(),
        }
    }

    async fn run(&self, request: Request, next: Next) -> Ended {
        let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
        let ended = tokio::select! {
            handled = timeout(DEADLINE, handled) => match handled {
                Ok(Ok(response)) => Ended::Answered(response),
                Ok(Err(panic)) => Ended::Panicked(panic),
                Err(_elapsed) => Ended::Cut(Cut::Late),
            },
            () = self.auth.cut.cancelled() => Ended::Cut(Cut::Stopping),
        };
        record(self, ended.outcome()).await;
        ended
    }

    /// Says how a request ended whose client did not wait for that: nothing else does.
    fn log_unheard(&self, ended: &Ended) {
        let (operation, outcome) = (self.requirement.operation, ended.outcome());
        let (status, code) = (outcome.status, outcome.code);
        let source = match ended {
            Ended::Answered(response) => {
                response.extensions().get::<Problem>().and_then(Problem::source)
            }
            Ended::Panicked(_) | Ended::Cut(_) => None,
        };
        if let Some(source) = source {
            st_log::error!(
                logger: LOG, operation, status, code, error = *source,
                "Request failed after its connection ended"
            );
        } else if status >= 500 {
            st_log::error!(
                logger: LOG, operation, status, code, "Request failed after its connection ended"
            );
        } else if status >= 400 {
            st_log::info!(
                logger: LOG, operation, status, code,
                "Request was refused after its connection ended"
            );
        } else {
            st_log::info!(
                logger: LOG, operation, status,
                "Request was carried out after its connection ended"
            );
        }
    }
}

/// How the handler of a change ended.
enum Ended {
    Answered(Response),
    Panicked(Box<dyn Any + Send>),
    /// It was given up. What it did until then is not known.
    Cut(Cut),
}

/// Why a change is not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It took too long.
    Late,
    /// The server stops.
    Stopping,
}

impl Cut {
    const fn code(self) -> Code {
        match self {
            Self::Late => Code::DeadlineExceeded,
            Self::Stopping => Code::OutcomeUnknown,
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Late => Problem::late(DEADLINE),
            Self::Stopping => Problem::new(
                self.code(),
                "the server stopped while it carried this out; read the current state before repeating it",
            ),
        }
    }
}

impl Ended {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Answered(response) => Outcome::of(response),
            Self::Panicked(_) => Outcome { status: Code::InternalError.status(), code: None },
            Self::Cut(cut) => {
                Outcome { status: cut.code().status(), code: Some(cut.code().as_str()) }
            }
        }
    }
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
        let changed = self.code.is_some_and(|code| {
            let open = [Code::OutcomeUnknown, Code::DeadlineExceeded, Code::RuleInUse];
            open.map(Code::as_str).contains(&code)
        });
        self.status < 400 || self.status == 500 || changed
    }
}

/// Whether this caller was refused at least a part of what it asked for.
fn was_refused(caller: &Caller, outcome: Outcome) -> bool {
    outcome.code == Some(Code::Forbidden.as_str()) || caller.notes().refused
}

/// Records what was done. What was refused for its contents changed nothing and is left out.
async fn record(change: &Change, outcome: Outcome) {
    let Change { auth, requirement, caller, peer, object } = change;
    let notes = caller.notes();
    if was_refused(caller, outcome) {
        report(auth, requirement, caller, *peer);
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

/// Ends a stream when its key is no longer valid, and one without a key when a key is needed.
fn while_valid(auth: Arc<Auth>, caller: &Caller, response: Response) -> Response {
    let presented = match &caller.via {
        Via::Nobody => return response,
        Via::Local => None,
        Via::Key(presented) | Via::Session { key: presented, .. } => Some(presented.clone()),
    };
    let invalid = async move {
        let Some(presented) = presented else { return auth.mode.needs_key().await };
        let mut revocations = auth.revocations.subscribe();
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
