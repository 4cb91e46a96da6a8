//! Signatures of webhooks, as Standard Webhooks describes them: HMAC with SHA-256 over the identifier, the
//! time and the raw body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;
use st_store::MessageId;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// How far the time of a webhook may be from ours, in either direction.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// The only version of signatures that is made with a shared secret.
const VERSION: &str = "v1";
/// More signatures than a rotation of secrets needs are not compared.
const MOST_SIGNATURES: usize = 16;
/// What a secret begins with. It may be left out.
const PREFIX: &str = "whsec_";
/// Shorter secrets can be guessed, in bytes. The standard asks for 24.
const SHORTEST: usize = 16;

/// The secret of a provider's signatures. Nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Vec<u8>);

/// A text that is no secret. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a secret such as whsec_..., with base64 of at least 16 bytes after it")]
pub struct InvalidWebhookSecret;

impl WebhookSecret {
    /// Reads a secret as the provider issued it, without the white space around it.
    pub fn parse(text: &str) -> Result<Self, InvalidWebhookSecret> {
        let text = text.trim();
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let secret = STANDARD.decode(encoded).map_err(|_not_base64| InvalidWebhookSecret)?;
        if secret.len() < SHORTEST { Err(InvalidWebhookSecret) } else { Ok(Self(secret)) }
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(..)")
    }
}

/// What is wrong with a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// A header is missing or cannot be read.
    #[error("the header {header} is missing or cannot be used; expected {expected}")]
    Header {
        /// Which.
        header: &'static str,
        /// What is legal.
        expected: &'static str,
    },
    /// It was signed too long ago, or will be.
    #[error(
        "webhook-timestamp is {seconds} seconds {direction} this server's time; at most 300 are \
         legal, so one of the two clocks may be wrong"
    )]
    Time {
        /// How far away.
        seconds: u64,
        /// `behind` or `ahead of`.
        direction: &'static str,
    },
    /// No signature was made with a secret that is known, over this body.
    #[error("webhook-signature matches neither the body nor a known secret")]
    NoMatch,
}

/// What a webhook carries to prove where it comes from. Its time is good, and nothing else is proven.
#[derive(Debug, Clone)]
pub(super) struct Signed<'a> {
    pub(super) id: MessageId,
    timestamp: &'a str,
    signatures: Vec<Vec<u8>>,
    body: &'a [u8],
}

/// The identifier of a webhook, where it has one that can be remembered.
pub(super) fn webhook_id(headers: &HeaderMap) -> Option<MessageId> {
    MessageId::new(only(headers, &ID)?)
}

impl<'a> Signed<'a> {
    /// What the headers say about this body.
    pub(super) fn read(
        headers: &'a HeaderMap,
        body: &'a [u8],
        now: Timestamp,
    ) -> Result<Self, BadSignature> {
        let missing = |header, expected| BadSignature::Header { header, expected };
        let id = webhook_id(headers)
            .ok_or_else(|| missing("webhook-id", "one of visible characters, 256 at most"))?;
        let no_time = || missing("webhook-timestamp", "seconds since 1970");
        let timestamp = only(headers, &TIMESTAMP).ok_or_else(no_time)?;
        let digits = timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = timestamp.parse().ok().filter(|_| digits).ok_or_else(no_time)?;
        let signed_at = Timestamp::from_second(seconds).ok().ok_or_else(no_time)?;
        check_time(signed_at, now)?;
        let signatures = only(headers, &SIGNATURE);
        let signatures = signatures.ok_or_else(|| missing("webhook-signature", "v1,<base64>"))?;
        Ok(Self { id, timestamp, signatures: decoded(signatures), body })
    }

    /// Whether one of the signatures was made with one of the secrets.
    pub(super) fn check<'s>(
        &self,
        secrets: impl IntoIterator<Item = &'s WebhookSecret>,
    ) -> Result<(), BadSignature> {
        let is_good = secrets.into_iter().any(|secret| {
            // A key of HMAC may have any length.
            let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else { return false };
            for part in [self.id.as_str().as_bytes(), b".", self.timestamp.as_bytes(), b"."] {
                mac.update(part);
            }
            mac.update(self.body);
            // It takes the same time wherever the two differ.
            self.signatures.iter().any(|it| mac.clone().verify_slice(it).is_ok())
        });
        if is_good { Ok(()) } else { Err(BadSignature::NoMatch) }
    }
}

/// The only value of a header: of two, nobody knows which one was signed.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}

fn check_time(signed_at: Timestamp, now: Timestamp) -> Result<(), BadSignature> {
    let age = now.duration_since(signed_at);
    let away = age.unsigned_abs();
    if away <= TOLERANCE.unsigned_abs() {
        return Ok(());
    }
    let direction = if age.is_positive() { "behind" } else { "ahead of" };
    Err(BadSignature::Time { seconds: away.as_secs(), direction })
}

/// The signatures of our version, with others of other versions between them.
fn decoded(signatures: &str) -> Vec<Vec<u8>> {
    let ours = signatures.split(' ').filter_map(|it| it.split_once(','));
    let ours = ours.filter(|(version, _)| *version == VERSION).take(MOST_SIGNATURES);
    ours.filter_map(|(_, signature)| STANDARD.decode(signature).ok()).collect()
}

#[cfg(test)]
mod tests;
