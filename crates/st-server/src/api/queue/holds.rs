//! Pausing and resuming the queue, an owner or a provider.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use st_log::{Logger, get_logger};
use st_store::{Hold, Scope, ScopeLevel};
use st_workers::TaskId;

use crate::api::{Api, Caller, Time};
use crate::http::extract::Body;
use crate::http::problem::Problem;
use st_api::input::Fields;

const LOG: Logger = get_logger("simpletuner.cloud.queue");
/// The longest name of an owner or a provider, and the longest reason, in bytes.
const MAX_TEXT: usize = 1024;

/// A hold as clients see it.
#[derive(Debug, PartialEq, Serialize)]
struct HoldView {
    scope: &'static str,
    id: Option<String>,
    reason: Option<String>,
    by: String,
    since: Time,
}

impl HoldView {
    fn of(hold: &Hold) -> Self {
        Self {
            scope: hold.scope.level().as_str(),
            id: hold.scope.id().map(str::to_owned),
            reason: hold.reason.clone(),
            by: hold.by.to_string(),
            since: Time(hold.since),
        }
    }
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let holds = api.store.holds().await?;
    let holds: Vec<_> = holds.iter().map(HoldView::of).collect();
    Ok(Json(json!({"holds": holds})))
}

pub(crate) async fn pause(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let scope = read_scope(&mut fields);
    let reason = fields.optional_string("reason", MAX_TEXT);
    fields.finish().map_err(Problem::invalid)?;
    let Some(scope) = scope else { return Err(Problem::invalid(Vec::new())) };
    let hold = api.store.pause(scope, reason.as_deref(), &caller.actor()).await?;
    st_log::info!(
        logger: LOG, scope = hold.scope.to_string(), reason = hold.reason.as_deref(),
        "Submissions are paused"
    );
    let message = format!("{} is paused; what has a slot keeps it", hold.scope);
    Ok(Json(json!({"success": true, "message": message, "hold": HoldView::of(&hold)})))
}

pub(crate) async fn resume(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let scope = read_scope(&mut fields);
    fields.finish().map_err(Problem::invalid)?;
    let Some(scope) = scope else { return Err(Problem::invalid(Vec::new())) };
    let released = api.store.resume(&scope, &caller.actor()).await?;
    api.background.activate(TaskId::QueueProcessing);
    if released.is_some() {
        st_log::info!(logger: LOG, scope = scope.to_string(), "Submissions are resumed");
    }
    let message = match &released {
        Some(_) => format!("{scope} is resumed"),
        None => format!("{scope} was not paused"),
    };
    let hold = released.as_ref().map(HoldView::of);
    Ok(Json(json!({"success": true, "message": message, "hold": hold})))
}

/// The scope, everything unless another is given. `None` only with a fault noted.
fn read_scope(fields: &mut Fields) -> Option<Scope> {
    let given = fields.has("scope");
    let level = fields.word::<ScopeLevel>("scope");
    let id = fields.optional_string("id", MAX_TEXT);
    let level = match level {
        Some(level) => level,
        None if given => return None,
        None => ScopeLevel::All,
    };
    let scope = Scope::from_parts(level, id.as_deref());
    if scope.is_none() {
        let message = match level {
            ScopeLevel::All => "is not for the scope all; leave it out".to_owned(),
            ScopeLevel::User | ScopeLevel::Team | ScopeLevel::Org | ScopeLevel::Provider => {
                format!("is required: which {level}")
            }
        };
        fields.fault("id", message);
    }
    scope
}

#[cfg(test)]
mod tests {
    use st_store::{OrgId, UserId};

    use super::*;

    fn read(body: &Value) -> Result<Scope, String> {
        let mut fields = Fields::new(body.as_object().unwrap().clone());
        let scope = read_scope(&mut fields);
        let faults = fields.finish().map_err(Problem::invalid);
        faults.map_err(|problem| problem.detail().to_owned())?;
        Ok(scope.unwrap())
    }

    #[test]
    fn a_scope_is_named_and_everything_unless_another_is() {
        assert_eq!(read(&json!({})), Ok(Scope::All));
        assert_eq!(read(&json!({"scope": "all", "id": ""})), Ok(Scope::All));
        let ann = Scope::User(UserId::new("ann"));
        assert_eq!(read(&json!({"scope": "user", "id": "ann"})), Ok(ann));
        let acme = Scope::Org(OrgId::new("acme"));
        assert_eq!(read(&json!({"scope": "org", "id": "acme"})), Ok(acme));
    }

    #[test]
    fn a_scope_that_is_not_one_thing_is_refused_by_name() {
        for (body, said) in [
            (json!({"scope": "user"}), "id: is required: which user"),
            (json!({"scope": "all", "id": "ann"}), "id: is not for the scope all"),
            (
                json!({"scope": "world"}),
                "scope: unknown scope \"world\", expected one of all, user",
            ),
            (json!({"scope": 7}), "scope: expected text"),
        ] {
            let detail = read(&body).unwrap_err();
            assert!(detail.starts_with(said), "{detail}");
        }
        let detail = read(&json!({"scope": "world", "id": "ann"})).unwrap_err();
        assert!(!detail.contains("id:"), "its ID is legal all the same: {detail}");
    }
}
