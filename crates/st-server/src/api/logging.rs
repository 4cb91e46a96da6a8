//! The level of the log, while the server runs.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use st_log::{Filter, Level, Logger, get_logger};

use super::Api;
use crate::http::extract::Body;
use crate::http::problem::Problem;

const LOG: Logger = get_logger("simpletuner.cloud.api");

/// `GET /api/logging/level`
pub(crate) async fn level(State(api): State<Api>) -> Json<Value> {
    view(&api)
}

/// `PUT /api/logging/level`: from now on, until the next start.
pub(crate) async fn set_level(State(api): State<Api>, body: Body) -> Result<Json<Value>, Problem> {
    let mut fields = body.fields();
    let level = fields.word::<Filter>("level");
    let level = fields.require(level, "level");
    fields.finish().map_err(Problem::invalid)?;
    if let Some(level) = level {
        let text = level.to_string();
        let log_change =
            || st_log::warning!(logger: LOG, log_level = text.as_str(), "Log level changed");
        // Under whichever of the two levels it can be seen.
        if level.level_of(LOG.name()) <= Level::Warning {
            api.shared.log.set_level(level);
            log_change();
        } else {
            log_change();
            api.shared.log.set_level(level);
        }
    }
    Ok(view(&api))
}

fn view(api: &Api) -> Json<Value> {
    Json(json!({ "level": api.shared.log.level().to_string() }))
}
