//! Pausing and resuming the queue, an owner or a provider.

use std::sync::Arc;

use st_api::queue::{Hold as HoldView, HoldChanged, Holds, Pause, Resume};
use st_api::schema::Time;
use st_log::{Logger, get_logger};
use st_store::{Hold, Scope, Store};
use st_workers::TaskId;

use crate::api::Api;
use crate::api::providers::check_name;
use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.queue");

fn view(hold: &Hold) -> HoldView {
    HoldView {
        scope: hold.scope.level(),
        id: hold.scope.id().map(str::to_owned),
        reason: hold.reason.clone(),
        by: hold.by.to_string(),
        since: Time(hold.since),
    }
}

pub(crate) async fn list(store: Arc<dyn Store>, _call: Call) -> Result<Holds, Problem> {
    Ok(Holds { holds: store.holds().await?.iter().map(view).collect() })
}

pub(crate) async fn pause(api: Api, call: Call<(), (), Pause>) -> Result<HoldChanged, Problem> {
    let Pause { scope, reason } = call.body;
    if let Scope::Provider(provider) = &scope {
        // A misspelt one would look as if it were held; one that left the configuration may have jobs.
        if !api.store.providers_in_use().await?.contains(provider) {
            check_name(&api, "/id", provider)?;
        }
    }
    let hold = api.store.pause(scope, reason.as_deref(), &call.caller.actor()).await?;
    st_log::info!(
        logger: LOG, scope = hold.scope.to_string(), reason = hold.reason.as_deref(),
        "Submissions are paused"
    );
    let message = format!("{} is paused; what has a slot keeps it", hold.scope);
    Ok(HoldChanged { success: true, message, hold: Some(view(&hold)) })
}

pub(crate) async fn resume(api: Api, call: Call<(), (), Resume>) -> Result<HoldChanged, Problem> {
    let Resume { scope } = call.body;
    let released = api.store.resume(&scope, &call.caller.actor()).await?;
    api.background.activate(TaskId::QueueProcessing);
    if released.is_some() {
        st_log::info!(logger: LOG, scope = scope.to_string(), "Submissions are resumed");
    }
    let message = match &released {
        Some(_) => format!("{scope} is resumed"),
        None => format!("{scope} was not paused"),
    };
    Ok(HoldChanged { success: true, message, hold: released.as_ref().map(view) })
}
