//! The weights of users, teams and organizations under fair share.

use std::sync::Arc;

use st_api::queue::{OwnerWeight, SetWeight, WeightChanged, Weights};
use st_store::{Store, Weight};
use st_workers::TaskId;

use crate::api::Api;
use crate::http::problem::Problem;
use crate::http::route::Call;

/// Those that are not the default.
pub(crate) async fn list(store: Arc<dyn Store>, _call: Call) -> Result<Weights, Problem> {
    let weights = store.weights().await?;
    let weights = weights.iter().map(|(scope, weight)| OwnerWeight::of(scope, *weight));
    Ok(Weights { weights: weights.collect(), default: Weight::default().get() })
}

pub(crate) async fn set(api: Api, call: Call<(), (), SetWeight>) -> Result<WeightChanged, Problem> {
    let SetWeight { scope, weight } = call.body;
    let weight = api.store.set_weight(&scope, weight, &call.caller.actor()).await?;
    api.background.activate(TaskId::QueueProcessing);
    Ok(WeightChanged {
        success: true,
        message: format!("the weight of {scope} is {weight}"),
        weight: OwnerWeight::of(&scope, weight),
    })
}
