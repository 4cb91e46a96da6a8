//! Who the caller is, and the sessions of browsers.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, SET_COOKIE};
use http::request::Parts;
use serde_json::{Value, json};
use st_log::{Logger, get_logger};
use st_store::{NewAudit, Role};

use super::keys::scope_words;
use super::{Api, Caller};
use crate::auth::{self, LIFETIME, Via};
use crate::http::extract::Body;
use crate::http::peer::Peer;
use crate::http::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.auth");
/// Longer than any key.
const MAX_KEY: usize = 200;
const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

/// The other end of the connection, where it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From(Option<Peer>);

impl From {
    fn secure(self) -> bool {
        self.0.is_some_and(|peer| peer.secure)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get().copied()))
    }
}

/// A caller as clients see it.
fn user_view(caller: &Caller) -> Value {
    json!({
        "id": caller.user.as_str(),
        "username": caller.user.as_str(),
        "role": caller.role.as_str(),
        "is_admin": caller.role == Role::Admin,
        "levels": [caller.role.as_str()],
        "scopes": scope_words(&caller.scopes),
        "team_id": caller.team.as_ref().map(ToString::to_string),
        "org_id": caller.org.as_ref().map(ToString::to_string),
        "key_id": caller.key().map(ToString::to_string),
    })
}

pub(crate) async fn me(caller: Caller) -> Json<Value> {
    Json(user_view(&caller))
}

/// Whether the request shows a valid key or session. Only a wrong key is an error: a person who is not signed in is about to.
pub(crate) async fn check(
    State(api): State<Api>,
    From(peer): From,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = api.auth.caller(&headers, peer).await?;
    let csrf = caller.as_ref().and_then(|caller| match &caller.via {
        Via::Session { csrf, .. } => Some(csrf.clone()),
        Via::Local | Via::Key(_) => None,
    });
    let single_user = caller.as_ref().is_some_and(|caller| matches!(caller.via, Via::Local));
    let answer = json!({
        "authenticated": caller.is_some(),
        "single_user": single_user,
        "user": caller.as_ref().map(user_view),
        "csrf_token": csrf,
    });
    Ok(([NO_STORE], Json(answer)).into_response())
}

/// Opens a session for a browser whose user has a key.
pub(crate) async fn sign_in(
    State(api): State<Api>,
    from: From,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = body.fields();
    let key = fields.non_empty_string("api_key", MAX_KEY);
    let key = fields.require(key, "api_key");
    fields.finish().map_err(Problem::invalid)?;
    if api.auth.is_single_user().await {
        let detail = "there is no key yet, and every request is the local administrator's";
        return Err(Problem::conflict("single_user", detail));
    }
    let key = key.ok_or_else(Problem::internal)?;
    let (caller, opened) = api.auth.open_session(&key, from.0).await?;
    st_log::info!(
        logger: LOG, key_id = caller.key().map(st_store::KeyId::as_str),
        user_id = caller.user.as_str(),
        "Session opened"
    );
    let entry = NewAudit {
        actor: Some(caller.actor()),
        key: caller.key().cloned(),
        peer: from.0.map(|peer| peer.address),
        correlation_id: Some(st_log::get_correlation_id()),
        ..NewAudit::new("session.open", 200)
    };
    api.auth.record(entry).await;
    let cookie = auth::session_cookie(&opened, from.secure()).ok_or_else(Problem::internal)?;
    let answer = json!({
        "success": true,
        "user": user_view(&caller),
        "csrf_token": opened.csrf,
        "expires_in_seconds": LIFETIME.as_secs(),
    });
    let mut response = ([NO_STORE], Json(answer)).into_response();
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the session of the request.
pub(crate) async fn sign_out(
    State(api): State<Api>,
    from: From,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.auth.end_session(&headers, from.0);
    let cookie = auth::ended_cookie(from.secure()).ok_or_else(Problem::internal)?;
    let mut response = Json(json!({"success": true})).into_response();
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}
