//! Webhooks as the provider sends them: signed as Standard Webhooks describes it, over HTTP.

use axum::http::Uri;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fastrand::alphanumeric;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{World, wire};

/// The secret of the account's webhooks, until it is changed.
pub(super) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A webhook as Replicate sends it, signed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The headers of the request, signature included.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// The JSON, or null.
    pub body: Value,
}

impl Hook {
    /// A webhook that is signed with each of these secrets.
    pub fn signed(id: &str, at: Timestamp, secrets: &[&str], body: impl Into<Vec<u8>>) -> Self {
        let (body, at) = (body.into(), at.as_second());
        let signatures: Vec<String> =
            secrets.iter().map(|secret| signature(id, at, secret, &body)).collect();
        let headers = vec![
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ];
        Self { headers, body }
    }

    /// The same with a header in the place of what it had of this name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Sends it.
    ///
    /// # Panics
    /// When nobody answers at the URL; no test can go on without it.
    #[expect(clippy::expect_used, reason = "a test double says what is wrong by panicking")]
    pub async fn send(&self, url: &str) -> Answered {
        let uri: Uri = url.parse().expect("a URL");
        let authority = uri.authority().expect("a host and a port");
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut stream = TcpStream::connect(authority.as_str()).await.expect("a listener");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n",
            self.body.len()
        );
        let own = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let head: String = std::iter::once(head).chain(own).collect();
        let request = [head.as_bytes(), b"\r\n", &self.body].concat();
        // One that refuses a large body answers before it has read all of it.
        let written = stream.write_all(&request).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or((written, read)).expect("an answer");
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Answered { status, body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }
}

#[expect(clippy::expect_used, reason = "a test double says what is wrong by panicking")]
fn signature(id: &str, at: i64, secret: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a secret in base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

impl World {
    /// Signs with this secret from now on, and shows it to the account.
    pub fn change_webhook_secret(&self, secret: &str) {
        secret.clone_into(&mut self.state().webhook_secret);
    }

    /// A webhook about a job as it is now, with an identifier of its own.
    pub fn hook(&self, job: &str) -> Hook {
        let state = self.state();
        let job = state.job(job).map_or(Value::Null, |job| wire::shown(&job));
        let id: String = std::iter::repeat_with(alphanumeric).take(27).collect();
        Hook::signed(&format!("msg_{id}"), state.now(), &[&state.webhook_secret], job.to_string())
    }

    /// Sends a webhook about a job as it is now to where that was asked for with its submission.
    ///
    /// # Panics
    /// When that was not asked for, or nobody answers there.
    #[expect(clippy::expect_used, reason = "a test double says what is wrong by panicking")]
    pub async fn report(&self, job: &str) -> Answered {
        let url = self.state().job(job).and_then(|job| job.webhook);
        let url = url.expect("a job that was submitted with a webhook");
        self.hook(job).send(&url).await
    }
}
