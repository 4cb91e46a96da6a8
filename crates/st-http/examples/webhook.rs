//! Delivers a message to a URL that a user gave: `cargo run -p st-http --example webhook -- URL`.
//!
//! The URL may be anything, so only public addresses are connected to; what fails for a moment is sent
//! again, and a host that is down is left alone.

#![expect(clippy::print_stdout, reason = "it talks to the person who ran it")]

use std::time::Duration;

use st_http::{AddressPolicy, Breakers, Client, Error, Retries};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://169.254.169.254/".to_owned());
    let client = Client::builder()
        .addresses(AddressPolicy::public())
        .overall_timeout(Duration::from_secs(20))
        .body_limit(64 * 1024)
        .build()?;
    let (retries, breakers) = (Retries::default(), Breakers::default());
    let message = client
        .post(&url)
        // The path of a webhook is its secret.
        .secret_path()
        .json(&[("event", "job.completed")])
        .secret_header("X-Signature", "sha256=0123")
        // The receiver recognizes a repetition by the key.
        .header("Idempotency-Key", "0199-4711")
        .idempotent()
        .retry(&retries)
        .breaker(&breakers);
    match message.send().await.and_then(st_http::Response::error_for_status) {
        Ok(response) => println!("delivered: {}", response.status()),
        Err(error) => println!("{error}: phase {:?}, sent {:?}", error.phase(), error.was_sent()),
    }
    for host in client.metrics() {
        println!("{host:?}");
    }
    Ok(())
}
