//! Secrets of webhooks as text, and signatures (Standard Webhooks, `v1`).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use st_store::WebhookSecret;

/// How a secret begins as text.
const PREFIX: &str = "whsec_";

/// A text that is no secret of a webhook. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `whsec_` and the base64 of {} to {} random bytes; leave it out to have one made",
    WebhookSecret::LEAST,
    WebhookSecret::MOST
)]
pub struct InvalidSecret;

/// Reads a secret.
pub fn parse_secret(text: &str) -> Result<WebhookSecret, InvalidSecret> {
    let encoded = text.strip_prefix(PREFIX).ok_or(InvalidSecret)?;
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_no_base64| InvalidSecret)?;
    WebhookSecret::new(bytes).ok_or(InvalidSecret)
}

/// The secret as text, for the one who may know it.
pub fn show_secret(secret: &WebhookSecret) -> String {
    format!("{PREFIX}{}", BASE64_STANDARD.encode(secret.as_bytes()))
}

/// The signatures of a message, one for each secret.
pub(super) fn signatures(
    secrets: &[WebhookSecret],
    (id, timestamp): (&str, i64),
    body: &[u8],
) -> String {
    let one = |secret: &WebhookSecret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let mut signed = hmac::Context::with_key(&key);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_was_shown_and_others_are_refused() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret = parse_secret(text).unwrap();
        assert_eq!(show_secret(&secret), text);
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ", "whsec_?"] {
            assert_eq!(parse_secret(bad), Err(InvalidSecret), "{bad}");
        }
    }

    #[test]
    fn the_example_of_the_specification_has_its_signature() {
        let secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330);
        let signed = signatures(&[secret.clone(), secret], message, br#"{"test": 2432232314}"#);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed, format!("{one} {one}"));
    }
}
