//! Where the API is. Every URL that gets the token is made here, from one origin: of a link that an
//! answer holds only path and query are taken.

use http::Uri;
use jiff::{SignedDuration, Timestamp};

use crate::provider::ListQuery;
use crate::provider::origin::is_of_origin;

/// A base URL that cannot be used. It is not repeated where it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no absolute http or https URL without user name and query")]
pub struct InvalidBaseUrl(String);

/// The base URL: an origin such as `https://api.replicate.com`, and a path such as `/v1` or none.
#[derive(Debug, Clone)]
pub(super) struct Address {
    origin: String,
    path: String,
}

impl Address {
    pub(super) fn parse(base_url: &str) -> Result<Self, InvalidBaseUrl> {
        let base = base_url.trim_end_matches('/');
        let shown = || if base.contains('@') { "it".to_owned() } else { format!("{base:?}") };
        let parsed = if base.contains(['@', '?', '#']) { None } else { split(base) };
        parsed.ok_or_else(|| InvalidBaseUrl(shown()))
    }

    /// The whole base URL, in lower case up to the path.
    pub(super) fn base(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Whether a URL is at the origin of the base.
    pub(super) fn is_own(&self, url: &Uri) -> bool {
        is_of_origin(url, &self.origin)
    }

    /// Whether a URL is that of a file which the API itself serves.
    pub(super) fn is_file(&self, url: &Uri) -> bool {
        let below = url.path().strip_prefix(&self.path);
        let stays = |below: &str| !below.split('/').any(leaves);
        self.is_own(url) && below.is_some_and(|it| it.starts_with("/files/") && stays(it))
    }

    /// Whether what is sent can be read on the way.
    pub(super) fn is_clear_text(&self) -> bool {
        self.origin.starts_with("http://")
    }

    /// Such as `/predictions` below the base.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.path)
    }

    /// The URL of a page of the list; `None` for a cursor that leads elsewhere.
    pub(super) fn page(&self, query: &ListQuery) -> Option<String> {
        if let Some(cursor) = &query.cursor {
            return Some(format!("{}{}", self.origin, self.cursor(cursor)?));
        }
        let since = query.since.filter(|since| *since > Timestamp::UNIX_EPOCH);
        let since = since.map(|since| format!("created_after={since:.3}"));
        let until = query.until.map(|until| format!("created_before={:.3}", rounded_up(until)));
        let filters: Vec<String> = [since, until].into_iter().flatten().collect();
        let mark = if filters.is_empty() { "" } else { "?" };
        Some(self.url(&format!("/predictions{mark}{}", filters.join("&"))))
    }

    /// Path and query of a link to the next page, whatever its origin: behind a gateway the provider
    /// does not know its own address. `None` when they do not lead below our base.
    pub(super) fn cursor(&self, next: &str) -> Option<String> {
        let uri: Uri = next.parse().ok()?;
        let target = uri.path_and_query()?;
        let below = target.path().strip_prefix(&self.path)?;
        let stays = below.starts_with('/') && !below.split('/').any(leaves);
        stays.then(|| target.as_str().to_owned())
    }
}

/// Whether a server on the way may read a part of a path as another place: `.`, `..`, or either in another
/// spelling.
fn leaves(part: &str) -> bool {
    matches!(part, "." | "..") || part.contains("%2")
}

fn split(base: &str) -> Option<Address> {
    let uri: Uri = base.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    let origin = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
    Some(Address { origin, path: uri.path().trim_end_matches('/').to_owned() })
}

/// To the millisecond, so that nothing before the time is left out.
fn rounded_up(time: Timestamp) -> Timestamp {
    if time.subsec_nanosecond() % 1_000_000 == 0 {
        return time;
    }
    time.checked_add(SignedDuration::from_millis(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(base: &str) -> Address {
        Address::parse(base).unwrap()
    }

    #[test]
    fn of_a_link_only_path_and_query_are_taken() {
        let ours = address("https://api.example.com/v1/");
        let expected = Some("/v1/predictions?cursor=a%3D".to_owned());
        for next in [
            "https://api.example.com/v1/predictions?cursor=a%3D",
            "http://10.0.0.1:8080/v1/predictions?cursor=a%3D",
            "https://user:password@thief.example/v1/predictions?cursor=a%3D",
            "/v1/predictions?cursor=a%3D",
        ] {
            assert_eq!(ours.cursor(next), expected, "{next}");
        }
        let query = ListQuery { cursor: expected, ..ListQuery::default() };
        let url = ours.page(&query).unwrap();
        assert_eq!(url, "https://api.example.com/v1/predictions?cursor=a%3D");
    }

    #[test]
    fn a_link_that_leaves_the_base_is_not_followed() {
        let ours = address("https://api.example.com/v1");
        for next in [
            "",
            "?cursor=1",
            "predictions?cursor=1",
            "//thief.example/v1/predictions",
            "https://api.example.com",
            "https://api.example.com/v1",
            "https://api.example.com/v10/predictions",
            "https://api.example.com/v2/predictions",
            "/v1/../admin",
            "/v1/./predictions",
            "/v1/%2E%2e/admin",
            "/v1/predictions cursor",
            "@thief.example/v1/predictions",
        ] {
            assert_eq!(ours.cursor(next), None, "{next}");
            let query = ListQuery { cursor: Some(next.to_owned()), ..ListQuery::default() };
            assert_eq!(ours.page(&query), None, "{next}");
        }
        let bare = address("https://api.example.com");
        let query =
            ListQuery { cursor: Some("//thief.example/x".to_owned()), ..Default::default() };
        assert_eq!(bare.page(&query).unwrap(), "https://api.example.com//thief.example/x");
    }

    #[test]
    fn only_below_the_files_of_the_api_is_a_file_of_it() {
        let ours = address("https://api.example.com/v1");
        for (url, is_file) in [
            ("https://api.example.com/v1/files/a?b=c", true),
            ("https://API.example.com:443/v1/files/a/download", true),
            ("https://api.example.com/v1/account", false),
            ("https://api.example.com/v1/files", false),
            ("https://api.example.com/v1/filesystem/a", false),
            ("https://api.example.com/files/a", false),
            ("https://api.example.com/v1/files/../account", false),
            ("https://api.example.com/v1/files/%2e%2E/account", false),
            ("https://api.example.com:8443/v1/files/a", false),
            ("http://api.example.com/v1/files/a", false),
            ("https://thief.example/v1/files/a", false),
        ] {
            assert_eq!(ours.is_file(&url.parse().unwrap()), is_file, "{url}");
        }
    }

    #[test]
    fn the_window_is_written_in_milliseconds_and_leaves_nothing_out() {
        let ours = address("http://localhost");
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let page = |since, until| ours.page(&ListQuery { since, until, cursor: None }).unwrap();
        let (since, until) = (time("2026-11-25T21:57:00.1239Z"), time("2026-11-25T22:00:00.5001Z"));
        assert_eq!(
            page(since, until),
            "http://localhost/predictions?created_after=2026-11-25T21:57:00.123Z\
             &created_before=2026-11-25T22:00:00.501Z"
        );
        assert_eq!(
            page(None, time("2026-11-25T22:00:00Z")),
            "http://localhost/predictions?created_before=2026-11-25T22:00:00.000Z"
        );
        assert_eq!(page(None, None), "http://localhost/predictions");
        assert_eq!(page(Some(Timestamp::MIN), None), "http://localhost/predictions");
    }
}
