//! Who the caller is, and the sessions of browsers.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use st_api::accounts::{Checked, SignIn, SignedIn, SignedOut, User};
use st_api::input::Fields;
use st_api::operation::Input;
use st_api::problem::Code;
use st_log::{Logger, get_logger};
use st_store::{NewAudit, Role};

use super::keys::scope_words;
use super::{Api, Caller};
use crate::auth::{self, LIFETIME, Via};
use crate::http::extract::body_of;
use crate::http::peer::Peer;
use crate::http::problem::Problem;
use crate::http::route::{Call, json};

const LOG: Logger = get_logger("simpletuner.cloud.auth");

/// A caller as clients see it.
fn user_view(caller: &Caller) -> User {
    User {
        id: caller.user.to_string(),
        username: caller.user.to_string(),
        role: caller.role,
        is_admin: caller.role == Role::Admin,
        levels: vec![caller.role.to_string()],
        scopes: scope_words(&caller.scopes),
        team_id: caller.team.as_ref().map(ToString::to_string),
        org_id: caller.org.as_ref().map(ToString::to_string),
        key_id: caller.key().map(ToString::to_string),
    }
}

pub(crate) async fn me((): (), call: Call) -> Result<User, Problem> {
    Ok(user_view(&call.caller))
}

/// Whether the request shows a valid key or session. Only a wrong key is an error: a person who is
/// not signed in is about to.
pub(crate) async fn check(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let caller = api.auth.caller(request.headers(), peer_of(&request)).await?;
    let csrf_token = caller.as_ref().and_then(|caller| match &caller.via {
        Via::Session { csrf, .. } => Some(csrf.clone()),
        Via::Local | Via::Nobody | Via::Key(_) => None,
    });
    let single_user = caller.as_ref().is_some_and(|caller| matches!(caller.via, Via::Local));
    Ok(unstored(json(&Checked {
        authenticated: caller.is_some(),
        single_user,
        user: caller.as_ref().map(user_view),
        csrf_token,
    })))
}

/// The other end of the connection, where it is known.
fn peer_of(request: &Request) -> Option<Peer> {
    request.extensions().get().copied()
}

/// An answer that no cache may keep.
fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Opens a session for a browser whose user has a key.
pub(crate) async fn sign_in(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let peer = peer_of(&request);
    let (parts, body) = request.into_parts();
    let fields = Fields::new(body_of(&parts, body, None).await?);
    let SignIn { api_key } = SignIn::from_fields(fields).map_err(Problem::invalid)?;
    if api.auth.is_single_user() {
        let detail = "there is no key yet, and every request is the local administrator's";
        return Err(Problem::new(Code::SingleUser, detail));
    }
    let (caller, opened) = api.auth.open_session(&api_key, peer).await?;
    st_log::info!(
        logger: LOG, key_id = caller.key().map(st_store::KeyId::as_str),
        user_id = caller.user.as_str(),
        "Session opened"
    );
    let entry = NewAudit {
        actor: Some(caller.actor()),
        key: caller.key().cloned(),
        peer: peer.map(|peer| peer.address),
        correlation_id: Some(st_log::get_correlation_id()),
        ..NewAudit::new(st_api::accounts::SIGN_IN.about.id, 200)
    };
    api.auth.record(entry).await;
    let cookie = auth::session_cookie(&opened, is_secure(peer)).ok_or_else(Problem::internal)?;
    let mut response = unstored(json(&SignedIn {
        success: true,
        user: user_view(&caller),
        csrf_token: opened.csrf,
        expires_in_seconds: LIFETIME.as_secs(),
    }));
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

fn is_secure(peer: Option<Peer>) -> bool {
    peer.is_some_and(|peer| peer.is_secure)
}

/// Ends the session of the request.
pub(crate) async fn sign_out(
    State(api): State<Api>,
    headers: HeaderMap,
    peer: Option<axum::Extension<Peer>>,
) -> Result<Response, Problem> {
    let peer = peer.map(|axum::Extension(peer)| peer);
    api.auth.end_session(&headers, peer);
    let cookie = auth::ended_cookie(is_secure(peer)).ok_or_else(Problem::internal)?;
    let mut response = json(&SignedOut { success: true });
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}
