//! Keys of the interface over HTTP.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use st_api::input::Fields;
use st_log::{Logger, get_logger};
use st_store::{ApiKey, KeyId, KeyScope, KeyScopes, NewApiKey, OrgId, Role, TeamId, UserId};

use super::{Api, Caller, Time};
use crate::auth::key::Minted;
use crate::http::extract::{Body, Name, Query};
use crate::http::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.auth");
/// The longest name of a key, a user, a team or an organization, in bytes.
const MAX_NAME: usize = 200;

/// A key as clients see it.
#[derive(Debug, Serialize)]
struct KeyView {
    id: String,
    name: String,
    user: String,
    role: &'static str,
    /// `null` where the key may do all that its role allows.
    scopes: Option<Vec<&'static str>>,
    team_id: Option<String>,
    org_id: Option<String>,
    created_at: Time,
    created_by: String,
    expires_at: Option<Time>,
    last_used_at: Option<Time>,
    revoked_at: Option<Time>,
    is_active: bool,
}

impl KeyView {
    fn of(stored: &ApiKey, now: Timestamp) -> Self {
        let key = &stored.key;
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            user: key.user.to_string(),
            role: key.role.as_str(),
            scopes: scope_words(&key.scopes),
            team_id: key.team.as_ref().map(ToString::to_string),
            org_id: key.org.as_ref().map(ToString::to_string),
            created_at: Time(stored.created_at),
            created_by: stored.created_by.to_string(),
            expires_at: key.expires_at.map(Time),
            last_used_at: stored.last_used_at.map(Time),
            revoked_at: stored.revoked.as_ref().map(|(at, _)| Time(*at)),
            is_active: stored.is_valid_at(now),
        }
    }
}

/// The words of scopes; `None` for all.
pub(super) fn scope_words(scopes: &KeyScopes) -> Option<Vec<&'static str>> {
    match scopes {
        KeyScopes::All => None,
        KeyScopes::Only(scopes) => Some(scopes.iter().map(|scope| scope.as_str()).collect()),
    }
}

pub(crate) async fn list(State(api): State<Api>, mut query: Query) -> Result<Response, Problem> {
    let page = query.page();
    let cursor = query.0.non_empty_string("cursor", MAX_NAME).map(KeyId::new);
    query.finish()?;
    let keys = api.store.list_keys(cursor.as_ref(), page.limit).await?;
    let full = keys.len() >= page.limit as usize;
    let next = keys.last().filter(|_| full).map(|key| key.key.id.to_string());
    let now = api.store.now();
    let keys: Vec<KeyView> = keys.iter().map(|key| KeyView::of(key, now)).collect();
    Ok(Json(json!({"keys": keys, "next": next})).into_response())
}

pub(crate) async fn create(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Response, Problem> {
    let minted = Minted::new().map_err(|error| Problem::internal().caused_by(error))?;
    let new = read(body.fields(), minted.id.clone(), api.store.now())?;
    if api.auth.is_single_user().await && new.role != Role::Admin {
        let detail =
            "the first key must have the role admin: from then on every request needs a key";
        return Err(Problem::conflict("first_key_must_be_admin", detail));
    }
    let key = api.store.add_key(new, minted.hash, &caller.actor()).await?;
    api.auth.note_key_made();
    st_log::info!(
        logger: LOG, key_id = key.key.id.as_str(), user_id = key.key.user.as_str(),
        role = key.key.role.as_str(), by = caller.user.as_str(),
        "Key created"
    );
    let view = KeyView::of(&key, api.store.now());
    let answer = json!({"success": true, "key": view, "secret": minted.expose()});
    Ok(([(CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

fn read(mut fields: Fields, id: KeyId, now: Timestamp) -> Result<NewApiKey, Problem> {
    let name = fields.non_empty_string("name", MAX_NAME);
    let name = fields.require(name, "name");
    let user = fields.non_empty_string("user", MAX_NAME);
    let user = fields.require(user, "user");
    let role = fields.word::<Role>("role");
    let role = fields.require(role, "role");
    let scopes = match fields.strings("scopes") {
        None => KeyScopes::All,
        Some(words) if words.is_empty() => {
            fields.fault("scopes", "names no scope; leave it out for all that the role allows");
            KeyScopes::All
        }
        Some(words) => KeyScopes::Only(
            words
                .iter()
                .filter_map(|word| {
                    let scope = word.parse::<KeyScope>();
                    scope.map_err(|unknown| fields.fault("scopes", unknown.to_string())).ok()
                })
                .collect(),
        ),
    };
    let expires_at = fields.word::<Timestamp>("expires_at");
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        fields.fault("expires_at", "is not in the future");
    }
    let team = fields.optional_string("team_id", MAX_NAME).map(TeamId::new);
    let org = fields.optional_string("org_id", MAX_NAME).map(OrgId::new);
    fields.finish().map_err(Problem::invalid)?;
    // `finish` has refused every request in which one of them is missing.
    let (Some(name), Some(user), Some(role)) = (name, user, role) else {
        return Err(Problem::internal());
    };
    Ok(NewApiKey { id, name, user: UserId::new(user), role, team, org, scopes, expires_at })
}

pub(crate) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Name(id): Name,
) -> Result<Response, Problem> {
    let id = KeyId::new(id);
    let key = api.store.revoke_key(&id, &caller.actor()).await?;
    api.auth.note_revoked(&id);
    st_log::info!(
        logger: LOG, key_id = id.as_str(), user_id = key.key.user.as_str(),
        by = caller.user.as_str(),
        "Key revoked"
    );
    let view = KeyView::of(&key, api.store.now());
    Ok(Json(json!({"success": true, "key": view})).into_response())
}
