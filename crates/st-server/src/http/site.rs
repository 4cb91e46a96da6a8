//! Who may ask at all: requests to a name that the server is known by, and none that a page of another
//! site makes a browser send.
//!
//! A page that points a name of its own at this machine is stopped by the name, and a page that sends
//! requests to this server by what the browser says about them. No answer has a header that opens it to
//! other sites.

use st_api::problem::Code;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::front::Arrival;
use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Names by which the server is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names(BTreeSet<String>);

/// The text is no name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the name or the address of a host such as jobs.example.org, without scheme and port"
)]
pub(crate) struct NoName;

impl Names {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Reads a name for [`Names::new`].
    pub(crate) fn parse(text: &str) -> Result<String, NoName> {
        if let Some(address) = address(text) {
            return Ok(address.to_string());
        }
        let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
        let is_name = !text.is_empty() && text.len() <= 253 && text.chars().all(legal);
        if is_name { Ok(normal(text)) } else { Err(NoName) }
    }

    /// Whether the server that was reached at `reached` is known by this host.
    fn know(&self, host: &str, reached: IpAddr) -> bool {
        if let Some(address) = address(host) {
            return address.is_loopback()
                || address == reached.to_canonical()
                || self.0.contains(&address.to_string());
        }
        let name = normal(host);
        name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// An address, in brackets or not.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address: IpAddr = match bare {
        Some(bare) => bare.parse::<Ipv6Addr>().ok()?.into(),
        None => host.parse().ok()?,
    };
    Some(address.to_canonical())
}

/// Refuses a request that the server is not to answer, whatever it asks for.
pub(crate) fn check(
    arrival: &Arrival,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let host = host_of(uri, headers)?;
    if !arrival.live.names.know(host.host(), arrival.reached) {
        return Err(Problem::unknown_host(host.host()));
    }
    if is_cross_site(&host, method, headers) {
        return Err(Problem::cross_site());
    }
    Ok(())
}

/// The one host that the request names.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Problem::new(Code::BadHost, "a request has one Host header, not several"));
    }
    // A target with an authority goes before the header.
    if let Some(authority) = uri.authority() {
        return Ok(authority.clone());
    }
    let Some(first) = first else {
        return Err(Problem::new(Code::BadHost, "a request needs a Host header"));
    };
    let parsed = Authority::try_from(first.as_bytes()).ok();
    parsed.filter(is_host).ok_or_else(|| {
        Problem::new(Code::BadHost, "the Host header is not a host with or without a port")
    })
}

/// Whether it is a host with or without a port, and nothing else.
fn is_host(authority: &Authority) -> bool {
    let (all, host) = (authority.as_str(), authority.host());
    !host.is_empty()
        && (all.len() == host.len() || authority.port_u16().is_some())
        && all.starts_with(host)
}

/// Whether a browser says that another site is behind the request. A plain read is let through: a link
/// may lead here, and what is answered is not shown to the page that has the link.
fn is_cross_site(host: &Authority, method: &Method, headers: &HeaderMap) -> bool {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    let has_origin = origins.peek().is_some();
    let is_ours = has_origin
        && origins.all(|origin| origin.to_str().is_ok_and(|origin| is_origin(origin, host)));
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let site = sites.next();
    match site.map(HeaderValue::as_bytes) {
        _ if sites.next().is_some() => true,
        // The browser's own word, also where a proxy has changed the host.
        Some(b"same-origin") => false,
        // Typed or bookmarked by a person.
        Some(b"none") | None => has_origin && !is_ours,
        // Of the same site is also another port of this machine.
        Some(_) => !is_ours && (has_origin || !is_read),
    }
}

/// Whether an origin is that of this host. The scheme is left out: a proxy may end TLS.
fn is_origin(origin: &str, host: &Authority) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    authority.host().eq_ignore_ascii_case(host.host())
        && authority.port_u16().unwrap_or(usual) == host.port_u16().unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::super::front::{Front, Live};
    use super::super::listen::Capacity;
    use super::*;

    fn checked(method: &Method, target: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        let names = ["jobs.example.org", "192.0.2.9", "[2001:db8::9]"];
        let names = Names::new(names.map(|name| Names::parse(name).unwrap()));
        let live = Live { names, ..Live::default() };
        let front = Front::new(live.clone(), Capacity { connections: 9, streams: 1 });
        let reached = Ipv4Addr::new(192, 0, 2, 1).into();
        let arrival = Arrival { front, live: Arc::new(live), reached };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let checked = check(&arrival, method, &target.parse().unwrap(), &map);
        checked.map_err(|problem| format!("{} {}", problem.status().as_u16(), problem.code()))
    }

    fn of_host(host: &str) -> Result<(), String> {
        checked(&Method::GET, "/health", &[("host", host)])
    }

    #[test]
    fn the_server_is_known_by_loopback_by_where_it_is_reached_and_by_configured_names() {
        for host in [
            "localhost",
            "LOCALHOST:8001",
            "st.localhost",
            "localhost.",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8001",
            "192.0.2.1:8001",
            "192.0.2.9",
            "[2001:db8::9]:443",
            "jobs.example.org",
            "Jobs.Example.Org.:8443",
        ] {
            assert_eq!(of_host(host), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "192.0.2.2",
            "sub.jobs.example.org",
            "0.0.0.0",
            "[2001:db8::1]",
        ] {
            assert_eq!(of_host(host), Err("421 unknown_host".to_owned()), "{host}");
        }
    }

    #[test]
    fn there_is_one_host_and_it_is_one() {
        let bad = Err("400 bad_host".to_owned());
        for host in ["", ":8001", "a b", "user@localhost", "localhost:x"] {
            assert_eq!(of_host(host), bad, "{host}");
        }
        let get = |target: &str, headers: &[(&str, &str)]| checked(&Method::GET, target, headers);
        assert_eq!(get("/health", &[]), bad);
        assert_eq!(get("/health", &[("host", "localhost"), ("host", "localhost")]), bad);
        assert_eq!(get("http://localhost/health", &[]), Ok(()));
        let other = get("http://evil.example/health", &[("host", "localhost")]);
        assert_eq!(other, Err("421 unknown_host".to_owned()));
    }

    #[test]
    fn names_are_checked_when_they_are_configured() {
        for good in ["jobs.example.org", "JOBS.", "192.0.2.9", "[::1]", "::1", "a_b"] {
            Names::parse(good).unwrap();
        }
        for bad in ["", "https://jobs.example.org", "jobs.example.org:443", "a/b", "*.org", "ö"] {
            assert_eq!(Names::parse(bad), Err(NoName), "{bad}");
        }
    }

    #[test]
    fn what_a_browser_sends_for_another_site_is_refused() {
        let refused = Err("403 cross_site".to_owned());
        let ask = |method: &Method, more: &[(&str, &str)]| {
            let host = [("host", "127.0.0.1:8001")];
            checked(method, "/api/queue/pause", &[&host, more].concat())
        };
        let (get, post) = (&Method::GET, &Method::POST);
        // A fetch of another site, a form, another port of this machine, and what is unknown.
        let evil = ("origin", "https://evil.example");
        for site in ["cross-site", "same-site", "new-word"] {
            let site = ("sec-fetch-site", site);
            assert_eq!(ask(post, &[site, evil]), refused, "{site:?}");
            assert_eq!(ask(post, &[site]), refused, "{site:?}");
            assert_eq!(ask(&Method::OPTIONS, &[site, evil]), refused, "{site:?}");
            assert_eq!(ask(get, &[site, evil]), refused, "{site:?}");
            assert_eq!(ask(get, &[site]), Ok(()), "{site:?}: a link");
            assert_eq!(ask(&Method::HEAD, &[site]), Ok(()), "{site:?}");
        }
        // An old browser.
        for origin in ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1"]
        {
            assert_eq!(ask(post, &[("origin", origin)]), refused, "{origin}");
        }
        let two = [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")];
        assert_eq!(ask(post, &two), refused);
    }

    #[test]
    fn what_a_page_of_our_own_and_what_is_no_browser_sends_is_not() {
        let ask = |host: &str, more: &[(&str, &str)]| {
            checked(&Method::POST, "/api/queue/pause", &[&[("host", host)], more].concat())
        };
        let ours = ("origin", "http://127.0.0.1:8001");
        assert_eq!(ask("127.0.0.1:8001", &[]), Ok(()));
        assert_eq!(ask("127.0.0.1:8001", &[ours]), Ok(()));
        assert_eq!(ask("127.0.0.1:8001", &[ours, ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(ask("127.0.0.1:8001", &[("sec-fetch-site", "none")]), Ok(()));
        let by_tls = ("origin", "https://jobs.example.org");
        assert_eq!(ask("jobs.example.org", &[by_tls]), Ok(()));
        assert_eq!(ask("jobs.example.org:443", &[by_tls]), Ok(()));
    }
}
