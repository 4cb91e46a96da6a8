//! The level of the log, while the server runs.

use st_api::system::{LogLevel, SetLogLevel};
use st_log::{Filter, Level, LogHandle, Logger, get_logger};

use crate::http::problem::Problem;
use crate::http::route::Call;

const LOG: Logger = get_logger("simpletuner.cloud.api");

pub(crate) async fn level(log: LogHandle, _call: Call) -> Result<LogLevel, Problem> {
    Ok(view(&log))
}

/// From now on, until the next start.
pub(crate) async fn set_level(
    log: LogHandle,
    call: Call<(), (), SetLogLevel>,
) -> Result<LogLevel, Problem> {
    let level: Filter = call
        .body
        .level
        .parse()
        .map_err(|illegal| Problem::invalid_field("/level", format!("{illegal}")))?;
    let text = level.to_string();
    let log_change =
        || st_log::warning!(logger: LOG, log_level = text.as_str(), "Log level changed");
    // Under whichever of the two levels it can be seen.
    if level.level_of(LOG.name()) <= Level::Warning {
        log.set_level(level);
        log_change();
    } else {
        log_change();
        log.set_level(level);
    }
    Ok(view(&log))
}

fn view(log: &LogHandle) -> LogLevel {
    LogLevel { level: log.level().to_string() }
}
