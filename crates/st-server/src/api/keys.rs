//! Keys of the interface over HTTP.

use jiff::Timestamp;
use st_api::accounts::{CreateKey, Key, KeyArg, KeyCreated, KeyRevoked, Keys, ListKeys};
use st_api::problem::Code;
use st_api::schema::Time;
use st_log::{Logger, get_logger};
use st_store::{ApiKey, KeyId, KeyScope, KeyScopes, NewApiKey, Role};

use super::Api;
use crate::auth::key::Minted;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.auth");

/// A key as clients see it.
fn view(stored: &ApiKey, now: Timestamp) -> Key {
    let key = &stored.key;
    Key {
        id: key.id.to_string(),
        name: key.name.clone(),
        user: key.user.to_string(),
        role: key.role,
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

/// The words of scopes; `None` for all.
pub(super) fn scope_words(scopes: &KeyScopes) -> Option<Vec<String>> {
    match scopes {
        KeyScopes::All => None,
        KeyScopes::Only(scopes) => Some(scopes.iter().map(ToString::to_string).collect()),
    }
}

pub(crate) async fn list(api: Api, call: Call<(), ListKeys>) -> Result<Keys, Problem> {
    let ListKeys { after, page } = call.query;
    let keys = api.store.list_keys(after.as_ref(), page.limit).await?;
    let full = keys.len() >= page.limit as usize;
    let next = keys.last().filter(|_| full).map(|key| key.key.id.to_string());
    let now = api.store.now();
    Ok(Keys { keys: keys.iter().map(|key| view(key, now)).collect(), next })
}

pub(crate) async fn create(api: Api, call: Call<(), (), CreateKey>) -> Result<KeyCreated, Problem> {
    let Call { caller, body, .. } = call;
    let minted = Minted::new().map_err(|error| Problem::internal().caused_by(error))?;
    let new = new_key(body, minted.id.clone(), api.store.now())?;
    let rules_all = new.role == Role::Admin && new.scopes.allow(KeyScope::Admin);
    if api.auth.is_single_user() && !(rules_all && new.expires_at.is_none()) {
        let detail = "the first key must have the role admin, the scope admin and no end: from then on \
                      every request needs a key";
        return Err(Problem::new(Code::FirstKeyMustBeAdmin, detail));
    }
    let key = api.store.add_key(new, minted.hash, &caller.actor()).await?;
    api.auth.note_key_made();
    st_log::info!(
        logger: LOG, key_id = key.key.id.as_str(), user_id = key.key.user.as_str(),
        role = key.key.role.as_str(), by = caller.user.as_str(),
        "Key created"
    );
    let secret = minted.expose().to_owned();
    Ok(KeyCreated { success: true, key: view(&key, api.store.now()), secret })
}

fn new_key(body: CreateKey, id: KeyId, now: Timestamp) -> Result<NewApiKey, Problem> {
    let CreateKey { name, user, role, scopes, expires_at, team, org } = body;
    if expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(Problem::invalid_field("/expires_at", "is not in the future"));
    }
    Ok(NewApiKey { id, name, user, role, team, org, scopes, expires_at })
}

pub(crate) async fn revoke(api: Api, call: Call<KeyArg>) -> Result<KeyRevoked, Problem> {
    let KeyArg(id) = call.named;
    let key = api.store.revoke_key(&id, &call.caller.actor()).await?;
    api.auth.note_revoked(&id);
    st_log::info!(
        logger: LOG, key_id = id.as_str(), user_id = key.key.user.as_str(),
        by = call.caller.user.as_str(),
        "Key revoked"
    );
    Ok(KeyRevoked { success: true, key: view(&key, api.store.now()) })
}
