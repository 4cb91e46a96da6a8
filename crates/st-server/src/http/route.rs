//! How a request reaches its handler: one table of operations, each with who may ask, and each request
//! read by the types of its operation before the handler runs.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use st_api::input::Fields;
use st_api::operation::{Access, Answer, Described, Input, Method, Named, Operation};
use st_log::CorrelationId;
use st_store::{JobId, JobRecord};

use super::extract::{body_of, name_of};
use super::paths::Paths;
use super::problem::Problem;
use crate::api::{Api, Caller};

/// A request, read.
#[derive(Debug)]
pub(crate) struct Call<P = (), Q = (), B = ()> {
    pub(crate) caller: Caller,
    /// What the path names.
    pub(crate) named: P,
    pub(crate) query: Q,
    pub(crate) body: B,
    pub(crate) headers: HeaderMap,
}

/// The job that a request turned out to be about, where its path does not name it; an extension of the
/// answer, for the request's line in the log.
#[derive(Debug, Clone)]
pub(crate) struct OfJob {
    pub(crate) job: JobId,
    pub(crate) correlation_id: CorrelationId,
}

impl OfJob {
    pub(crate) fn of(record: &JobRecord) -> Self {
        Self { job: record.id(), correlation_id: record.job().correlation_id.clone() }
    }
}

/// A part of what the handlers share. A handler receives the one that it uses.
pub(crate) trait Part: Send + 'static {
    /// The part.
    fn of(api: &Api) -> Self;
}

impl Part for Api {
    fn of(api: &Api) -> Self {
        api.clone()
    }
}

impl Part for () {
    fn of(_api: &Api) -> Self {}
}

/// The operations that are served, and the router that serves them.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    router: Router<Api>,
    operations: Vec<Described>,
}

impl Routes {
    /// Serves an operation that answers JSON.
    pub(crate) fn on<P, Q, B, A, S, F, Fut>(
        self,
        operation: &Operation<P, Q, B, A>,
        handler: F,
    ) -> Self
    where
        P: Named + Send + 'static,
        Q: Input + Send + 'static,
        B: Input + Send + 'static,
        A: Answer,
        S: Part,
        F: Fn(S, Call<P, Q, B>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<A, Problem>> + Send + 'static,
    {
        let described = operation.describe();
        let access = described.about.access;
        let has_body = described.has_body();
        let codes = Arc::new(described.codes());
        let serve = move |State(api): State<Api>, request: Request| async move {
            let call = read(&api, access, has_body, request).await?;
            match handler(S::of(&api), call).await {
                Ok(answer) => Ok(json(&answer)),
                Err(problem) => {
                    let code = problem.kind();
                    debug_assert!(codes.contains(&code), "{code} is not among its problems");
                    Err(problem)
                }
            }
        };
        self.with(described, on(filter(operation.about.method), serve))
    }

    /// Serves an operation whose handler reads the request and writes the answer itself.
    pub(crate) fn raw<P, Q, B, A, H, T>(self, operation: &Operation<P, Q, B, A>, handler: H) -> Self
    where
        P: Named,
        Q: Input,
        B: Input,
        A: Answer,
        H: Handler<T, Api>,
        T: 'static,
    {
        self.with(operation.describe(), on(filter(operation.about.method), handler))
    }

    fn with(mut self, described: Described, route: MethodRouter<Api>) -> Self {
        self.router = self.router.route(described.about.path, route);
        self.operations.push(described);
        self
    }

    /// The operations, in the order in which they were added.
    pub(crate) fn operations(&self) -> &[Described] {
        &self.operations
    }

    /// The router that serves them, and its paths.
    pub(crate) fn finish(self) -> (Router<Api>, Paths) {
        let paths = self.operations.iter().map(|operation| operation.about.path);
        (self.router, paths.collect())
    }
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Patch => MethodFilter::PATCH,
        Method::Delete => MethodFilter::DELETE,
    }
}

/// The caller. The guard in front of the handlers has found it, and has asked whether it may do this.
fn caller_of(access: Access, parts: &Parts) -> Result<Caller, Problem> {
    match (parts.extensions.get::<Caller>(), access) {
        (Some(caller), _) => Ok(caller.clone()),
        (None, Access::Public) => Ok(Caller::nobody()),
        (None, Access::SignedIn | Access::Role(_)) => Err(Problem::unauthenticated()),
    }
}

async fn read<P: Named, Q: Input, B: Input>(
    api: &Api,
    access: Access,
    has_body: bool,
    request: Request,
) -> Result<Call<P, Q, B>, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = caller_of(access, &parts)?;
    let named = match P::PARAMETER {
        Some(parameter) => {
            let name = name_of(&mut parts, api).await?;
            P::parse(&name).ok_or_else(|| {
                Problem::not_found(format!("there is no {} {name:?}", parameter.what))
            })?
        }
        // What names nothing can be read from nothing.
        None => P::parse("").ok_or_else(Problem::internal)?,
    };
    let query = Fields::from_query(parts.uri.query().unwrap_or_default());
    let query = query.and_then(Q::from_fields).map_err(Problem::invalid_query)?;
    let fields =
        if has_body { body_of(&parts, body, B::LIST).await? } else { serde_json::Map::new() };
    let body = B::from_fields(Fields::new(fields)).map_err(Problem::invalid)?;
    Ok(Call { caller, named, query, body, headers: parts.headers })
}

/// A JSON answer. It ends with a newline, for those who read it in a terminal.
pub(crate) fn json(answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(mut text) => {
            text.push(b'\n');
            let mut response = text.into_response();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(error) => Problem::internal().caused_by(error).into_response(),
    }
}

macro_rules! parts {
    ($($part:ty: $of:expr;)+) => { $(
        impl Part for $part {
            fn of(api: &Api) -> Self {
                let of: fn(&Api) -> Self = $of;
                of(api)
            }
        }
    )+ };
}

parts! {
    Arc<dyn st_store::Store>: |api| Arc::clone(&api.store);
    st_log::LogHandle: Api::log;
    Arc<crate::auth::Auth>: |api| Arc::clone(&api.auth);
}
