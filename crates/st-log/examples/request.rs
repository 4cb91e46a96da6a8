//! One request through a handler and a background task: `cargo run -p st-log --example request`.
//!
//! Set `SIMPLETUNER_LOG_FORMAT=text` for the text format.

use st_log::{CorrelationId, InScope as _, LogContext, Logger, get_logger};

const LOG: Logger = get_logger("shop.orders");

#[tokio::main]
async fn main() -> Result<(), st_log::Error> {
    let _log = st_log::init_from_env()?;
    st_log::info!(logger: LOG, "Listening");
    handle("ada").with_correlation_id(CorrelationId::generate()).await;
    Ok(())
}

async fn handle(user: &str) {
    let context = LogContext::new().field("order", 4711).field("user", user);
    async {
        st_log::info!(logger: LOG, items = 3, "Order placed");
        // The spawned task inherits the ID and the fields.
        if let Err(error) = st_log::spawn(charge()).await {
            st_log::error!(logger: LOG, error = &error as &dyn std::error::Error, "Charge lost");
        }
    }
    .in_context(context)
    .await;
}

async fn charge() {
    tokio::task::yield_now().await;
    st_log::warning!(logger: LOG, attempt = 2, "Payment provider is slow");
}
