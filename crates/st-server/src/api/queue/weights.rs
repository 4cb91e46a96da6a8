//! The weights of users, teams and organizations under fair share.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use st_store::{ShareLevel, ShareScope, Weight};
use st_workers::TaskId;

use crate::api::{Api, Caller};
use crate::http::extract::Body;
use crate::http::problem::Problem;
use st_api::input::Fields;

/// The longest name of an owner, in bytes.
const MAX_TEXT: usize = 1024;

/// A weight as clients see it.
#[derive(Debug, PartialEq, Serialize)]
struct WeightView {
    scope: &'static str,
    id: String,
    weight: f64,
}

impl WeightView {
    fn of(scope: &ShareScope, weight: Weight) -> Self {
        Self { scope: scope.level().as_str(), id: scope.id().to_owned(), weight: weight.get() }
    }
}

/// Those that are not the default.
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let weights = api.store.weights().await?;
    let weights: Vec<_> =
        weights.iter().map(|(scope, weight)| WeightView::of(scope, *weight)).collect();
    Ok(Json(json!({"weights": weights, "default": Weight::default().get()})))
}

pub(crate) async fn set(
    State(api): State<Api>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let change = read_change(&mut fields);
    fields.finish().map_err(Problem::invalid)?;
    let Some((scope, weight)) = change else { return Err(Problem::invalid(Vec::new())) };
    let weight = api.store.set_weight(&scope, weight, &caller.actor()).await?;
    api.background.activate(TaskId::QueueProcessing);
    Ok(Json(json!({
        "success": true,
        "message": format!("the weight of {scope} is {weight}"),
        "weight": WeightView::of(&scope, weight),
    })))
}

/// Whose weight becomes what; no weight for the default. `None` only with a fault noted.
fn read_change(fields: &mut Fields) -> Option<(ShareScope, Option<Weight>)> {
    let level = fields.word::<ShareLevel>("scope");
    let level = fields.require(level, "scope");
    let id = fields.non_empty_string("id", MAX_TEXT);
    let id = fields.require(id, "id");
    let is_default = fields.is_null("weight");
    let number = fields.number("weight", Weight::SMALLEST.get()..=Weight::LARGEST.get());
    let weight = if is_default { None } else { Some(fields.require(number, "weight")) };
    let scope = ShareScope::from_parts(level?, &id?);
    match weight {
        None => Some((scope, None)),
        Some(number) => Some((scope, Some(Weight::new(number?).ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use st_store::{OrgId, UserId};

    use super::*;

    fn read(body: &Value) -> Result<(ShareScope, Option<f64>), String> {
        let mut fields = Fields::new(body.as_object().unwrap().clone());
        let change = read_change(&mut fields);
        let faults = fields.finish().map_err(Problem::invalid);
        faults.map_err(|problem| problem.detail().to_owned())?;
        let (scope, weight) = change.unwrap();
        Ok((scope, weight.map(Weight::get)))
    }

    #[test]
    fn a_weight_is_a_number_or_the_default() {
        let ann = ShareScope::User(UserId::new("ann"));
        let body = json!({"scope": "user", "id": "ann", "weight": 2.5});
        assert_eq!(read(&body), Ok((ann, Some(2.5))));
        let acme = ShareScope::Org(OrgId::new("acme"));
        let body = json!({"scope": "org", "id": "acme", "weight": null});
        assert_eq!(read(&body), Ok((acme, None)));
    }

    #[test]
    fn what_is_no_weight_of_an_owner_is_refused_by_name() {
        for (body, said) in [
            (json!({"scope": "user", "id": "ann"}), "weight: "),
            (json!({"scope": "user", "weight": 1}), "id: "),
            (json!({"id": "ann", "weight": 1}), "scope: "),
            (json!({"scope": "user", "id": "", "weight": 1}), "id: "),
            (json!({"scope": "all", "id": "ann", "weight": 1}), "scope: unknown scope \"all\""),
            (json!({"scope": "user", "id": "ann", "weight": 0}), "weight: expected "),
            (json!({"scope": "user", "id": "ann", "weight": 1001}), "weight: expected "),
            (json!({"scope": "user", "id": "ann", "weight": "1"}), "weight: expected "),
        ] {
            let detail = read(&body).unwrap_err();
            assert!(detail.starts_with(said), "{body}: {detail}");
        }
    }
}
