//! Where the API is. Every URL that gets the credential begins with this; of a link in an answer only
//! path and query are used.

use std::net::IpAddr;

use http::Uri;

use crate::provider::origin::is_of_origin;

/// An origin and a path below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseUrl {
    origin: String,
    path: String,
    /// Whether what is sent can be read on the way.
    pub(super) is_clear: bool,
    pub(super) is_loopback: bool,
}

impl BaseUrl {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let legal = || "expected a URL such as https://api.example.com/v1".to_owned();
        if text.contains(['@', '?', '#']) {
            return Err("expected a URL without user name, query and fragment".to_owned());
        }
        let base = text.trim_end_matches('/');
        let uri: Uri = base.parse().map_err(|_no_url| legal())?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let (scheme, authority) = scheme.zip(authority).ok_or_else(legal)?;
        let host = authority.host().trim_matches(['[', ']']);
        let address: Option<IpAddr> = host.parse().ok();
        let is_loopback = address.map_or(host == "localhost", |address| address.is_loopback());
        Ok(Self {
            origin: format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()),
            path: uri.path().trim_end_matches('/').to_owned(),
            is_clear: scheme == "http",
            is_loopback,
        })
    }

    /// The whole of it.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Whether a URL is at its origin.
    pub(super) fn is_own(&self, url: &Uri) -> bool {
        is_of_origin(url, &self.origin)
    }

    /// The URL of a path below it.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.path)
    }

    /// Path and query of a link, below the base; `None` where it leads elsewhere.
    pub(super) fn below(&self, link: &str) -> Option<String> {
        let uri: Uri = link.parse().ok()?;
        let target = uri.path_and_query()?;
        let below = target.path().strip_prefix(&self.path)?;
        let leaves = |part: &str| matches!(part, "." | "..") || part.contains("%2");
        let stays = below.starts_with('/') && !below.to_ascii_lowercase().split('/').any(leaves);
        stays.then(|| target.as_str().strip_prefix(&self.path).map(str::to_owned))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_addresses_are_taken() {
        let base = BaseUrl::parse("https://API.Example.com/v1/").unwrap();
        assert_eq!(base.url("/jobs"), "https://api.example.com/v1/jobs");
        assert!(!base.is_clear && !base.is_loopback);
        let local = BaseUrl::parse("http://[::1]:6820").unwrap();
        assert!(local.is_clear && local.is_loopback);
        for bad in ["", "api.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?a=1"]
        {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_a_link_only_what_is_below_the_base_is_used() {
        let base = BaseUrl::parse("https://api.example.com/v1").unwrap();
        for (link, below) in [
            ("https://api.example.com/v1/jobs?c=1", Some("/jobs?c=1")),
            ("http://thief.example/v1/jobs?c=1", Some("/jobs?c=1")),
            ("/v1/jobs?c=1", Some("/jobs?c=1")),
            ("/v2/jobs", None),
            ("/v1/../jobs", None),
            ("/v1/%2e%2E/jobs", None),
            ("jobs", None),
            ("", None),
        ] {
            assert_eq!(base.below(link).as_deref(), below, "{link}");
        }
    }
}
