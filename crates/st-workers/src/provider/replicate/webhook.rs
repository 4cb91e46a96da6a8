//! Where the provider is to report the start and the end of a job.

use http::Uri;
use st_store::{Marker, ProviderSettings};

use super::MARKER;
use crate::provider::Submission;

/// A URL that no webhook can be sent to. It is not repeated, because it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWebhook {
    /// It is no URL with a scheme and a host.
    #[error("expected an https URL such as https://example.org/hook, or an empty text to clear it")]
    NoUrl,
    /// It is a URL without encryption.
    #[error("replicate sends webhooks only to https URLs; change http to https, or clear it")]
    Unencrypted,
}

/// Whether webhooks can be sent to `url` by the API at `base_url`. The API takes only https; one that
/// is itself at an http URL, such as one for tests, takes http as well.
pub fn check_webhook(url: &str, base_url: &str) -> Result<(), InvalidWebhook> {
    let uri = url.parse::<Uri>().map_err(|_no_url| InvalidWebhook::NoUrl)?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(InvalidWebhook::NoUrl);
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if base_url.starts_with("http://") => Ok(()),
        Some("http") => Err(InvalidWebhook::Unencrypted),
        Some(_) | None => Err(InvalidWebhook::NoUrl),
    }
}

/// What is wrong with the setting; fits behind a colon.
pub(super) fn fault(settings: &ProviderSettings, base_url: &str) -> Option<String> {
    let invalid = check_webhook(webhook_url(settings)?, base_url).err()?;
    Some(format!("webhook_url is not legal, {invalid}"))
}

/// Where the provider is to report the job, with the marker, so that a report says which attempt it
/// is about.
pub(super) fn of(submission: &Submission) -> Option<String> {
    Some(with_marker(webhook_url(&submission.settings)?, submission.marker))
}

fn webhook_url(settings: &ProviderSettings) -> Option<&str> {
    settings.webhook_url.as_deref().filter(|url| !url.is_empty())
}

fn with_marker(url: &str, marker: Marker) -> String {
    // A fragment is never sent.
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let mark = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{mark}{MARKER}={marker}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_joins_whatever_query_a_webhook_has() {
        let marker: Marker = "019c0000-0000-7000-8000-000000000000.1".parse().unwrap();
        for (url, expected) in [
            ("https://a.example", "https://a.example?st_marker="),
            ("https://a.example/hook", "https://a.example/hook?st_marker="),
            ("https://a.example/hook?", "https://a.example/hook?st_marker="),
            ("https://a.example/hook?k=v", "https://a.example/hook?k=v&st_marker="),
            ("https://a.example/hook?k=v&", "https://a.example/hook?k=v&st_marker="),
            ("https://a.example/hook?k=v#part", "https://a.example/hook?k=v&st_marker="),
        ] {
            assert_eq!(with_marker(url, marker), format!("{expected}{marker}"));
        }
    }

    #[test]
    fn a_webhook_is_encrypted_unless_the_api_itself_is_not() {
        let api = "https://api.replicate.com/v1";
        assert_eq!(check_webhook("https://a.example/hook", api), Ok(()));
        assert_eq!(check_webhook("http://a.example/hook", "http://127.0.0.1:9/v1"), Ok(()));
        assert_eq!(check_webhook("http://a.example/hook", api), Err(InvalidWebhook::Unencrypted));
        for bad in ["", "a.example", "/hook", "ftp://a.example", "https://", "https://a b"] {
            assert_eq!(check_webhook(bad, api), Err(InvalidWebhook::NoUrl), "{bad}");
            assert_eq!(
                check_webhook(bad, "http://127.0.0.1:9"),
                Err(InvalidWebhook::NoUrl),
                "{bad}"
            );
        }
        let stored = |url: &str| ProviderSettings {
            webhook_url: Some(url.to_owned()),
            ..ProviderSettings::default()
        };
        assert_eq!(fault(&stored(""), api), None);
        let said = fault(&stored("http://a.example/?key=secret"), api).unwrap();
        assert!(said.starts_with("webhook_url ") && !said.contains("secret"), "{said}");
    }
}
