//! A web service whose every line carries its request's ID:
//! `cargo run -p st-log --features tower --example service`, then
//! `curl -i -H 'X-Correlation-ID: abc123' localhost:3000/orders/4711`.

use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use st_log::tower::CorrelationLayer;
use st_log::{InScope as _, LogContext, Logger, get_logger};
use tokio::net::TcpListener;

const LOG: Logger = get_logger("shop.orders");
const PORT: u16 = 3000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _log = st_log::init_from_env()?;
    let app = Router::new().route("/orders/{order}", get(show)).layer(CorrelationLayer::new());
    let port = std::env::args().nth(1).map_or(Ok(PORT), |it| it.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    st_log::info!(logger: LOG, address = listener.local_addr()?.to_string(), "Listening");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn show(Path(order): Path<u32>) -> String {
    let context = LogContext::new().field("order", order);
    async {
        st_log::info!(logger: LOG, "Order shown");
        // The spawned task inherits the ID and the fields.
        st_log::spawn(async { st_log::info!(logger: LOG, weight_kg = 0.5, "Order weighed") });
        format!("order {order}\n")
    }
    .in_context(context)
    .await
}
