//! Through which proxy a request goes, by the values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
//! Plain data: the program that makes the client reads the environment. No text shows credentials.

use std::fmt;
use std::net::IpAddr;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::{Error, spelling};

/// A proxy: an `http://` or `https://` URL, with credentials or without. `Debug` and `Display` show
/// scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// With the credentials.
    url: String,
    shown: String,
}

impl Proxy {
    /// Reads the URL of a proxy. Without a scheme it is `http://`; a user name and a password come
    /// before an `@`, percent-encoded. Fails with [`Kind::Config`](crate::Kind::Config), and the
    /// message quotes nothing of `text`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        // The cause would quote the URL.
        let uri = url.parse::<Uri>().ok().ok_or_else(|| fault("is not a valid URL"))?;
        if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
            return Err(fault("must begin with http:// or https://"));
        }
        // A fragment is not part of the parsed URL. Whatever follows the host would be lost, and may be
        // the rest of a password.
        if uri.path() != "/" || uri.query().is_some() || url.contains('#') {
            return Err(fault("has a path, a query or a fragment"));
        }
        let authority = uri.authority().ok_or_else(|| fault("has no host"))?.as_str();
        let place = match authority.split_once('@') {
            Some((_, place)) if place.contains('@') => {
                return Err(fault("has credentials that are not percent-encoded"));
            }
            Some((_, place)) => place,
            None => authority,
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| fault("has no host"))?;
        if place != host && uri.port_u16().is_none() {
            return Err(fault("has a port that is not a number up to 65535"));
        }
        let shown = format!("{}://{place}", uri.scheme_str().unwrap_or("http"));
        Ok(Self { url, shown })
    }
}

fn fault(what: &str) -> Error {
    Error::config(format!("the proxy {what}; legal is for instance http://proxy.example:3128"))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.shown)
    }
}

/// The proxies of a client, and where they are not used. The default is none. There is no counterpart of
/// `ALL_PROXY`: a program that reads it passes its value on as both proxies.
///
/// A URL with `https://` goes through a tunnel that the `https` proxy is asked for (CONNECT); one with
/// `http://` is sent to the `http` proxy whole. Loopback addresses and `localhost` never go through a
/// proxy, whose own machine they would mean, however they are written. Other addresses that are not in
/// their usual form (`10.1`, `[fe80::1%25eth0]`) are refused, because a proxy reads them by rules of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    no_proxy: String,
}

impl Proxies {
    /// The proxies for `https://` and `http://` URLs, and what goes through neither: a list in the
    /// form of `NO_PROXY`.
    ///
    /// Its entries are separated by commas or spaces. An entry is `*` for everything, the name of a
    /// host, which counts for all names below it too (`example.com`, `.example.com` and
    /// `*.example.com` are the same), an IP address or a network (`10.0.0.0/8`, `fd00::/8`); after
    /// each but a network may come a port (`example.com:8080`, `[::1]:443`), and then it counts for
    /// that port alone. A name is not looked up to compare it with addresses.
    pub fn new(https: Option<Proxy>, http: Option<Proxy>, no_proxy: &str) -> Self {
        Self { https, http, no_proxy: no_proxy.to_owned() }
    }

    /// The same from the values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; `None` and an empty
    /// text are none. Fails with [`Kind::Config`](crate::Kind::Config) for the first value that is
    /// no proxy.
    pub fn from_values(
        https: Option<&str>,
        http: Option<&str>,
        no_proxy: Option<&str>,
    ) -> Result<Self, Error> {
        let read = |text: Option<&str>| {
            text.filter(|text| !text.trim().is_empty()).map(Proxy::parse).transpose()
        };
        Ok(Self::new(read(https)?, read(http)?, no_proxy.unwrap_or_default()))
    }

    /// The same with this proxy in place of both.
    #[must_use]
    pub fn through(&self, proxy: &Proxy) -> Self {
        let [https, http] = [proxy, proxy].map(|proxy| Some(proxy.clone()));
        Self { https, http, no_proxy: self.no_proxy.clone() }
    }

    /// Whether no request goes through a proxy.
    pub fn is_none(&self) -> bool {
        self.https.is_none() && self.http.is_none()
    }

    pub(crate) fn routes(&self) -> Routes {
        if self.is_none() {
            return Routes::default();
        }
        let url = |proxy: &Option<Proxy>| {
            proxy.as_ref().map(|proxy| proxy.url.clone()).unwrap_or_default()
        };
        let matcher = |no: &str| {
            let builder = Matcher::builder().https(url(&self.https)).http(url(&self.http));
            builder.no(no).build()
        };
        let (mut everywhere, mut by_port, mut ports) = (Vec::new(), Vec::new(), Vec::new());
        let entries = self.no_proxy.split(|char: char| char == ',' || char.is_whitespace());
        for entry in entries.filter(|entry| !entry.is_empty()) {
            let (host, port) = place(entry);
            match (host, port) {
                // The matcher compares `*` with names alone, and would send addresses to the proxy.
                ("*", None) => return Routes::default(),
                ("*", Some(port)) => ports.push(port),
                (host, Some(port)) => by_port.push((port, matcher(host))),
                (host, None) => everywhere.push(host),
            }
        }
        Routes { all: Some(matcher(&everywhere.join(","))), by_port, ports }
    }
}

/// An entry of `NO_PROXY` in the form that the matcher has, and its port.
fn place(entry: &str) -> (&str, Option<u16>) {
    let address = |host: &str| host.parse::<IpAddr>().is_ok();
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !address(entry) && port.parse::<u16>().is_ok() => {
            (host, port.parse().ok())
        }
        _ => (entry, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let below = host.strip_prefix('*').filter(|rest| rest.starts_with('.'));
    (below.unwrap_or(host), port)
}

/// The way to each destination.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    all: Option<Matcher>,
    /// What goes through no proxy at one port alone.
    by_port: Vec<(u16, Matcher)>,
    /// The ports at which nothing goes through a proxy.
    ports: Vec<u16>,
}

impl Routes {
    /// The proxy between here and `target`.
    pub(crate) fn proxy(&self, target: &Uri) -> Option<Intercept> {
        let matcher = self.all.as_ref()?;
        if is_loopback(target.host()?) {
            return None;
        }
        let https = target.scheme() == Some(&Scheme::HTTPS);
        let port = target.port_u16().unwrap_or(if https { 443 } else { 80 });
        let excepted =
            |(only, matcher): &(u16, Matcher)| *only == port && matcher.intercept(target).is_none();
        if self.ports.contains(&port) || self.by_port.iter().any(excepted) {
            return None;
        }
        matcher.intercept(target)
    }

    /// What a request that is sent to the proxy whole shows it. In a tunnel the proxy sees no request.
    pub(crate) fn authorization(&self, target: &Uri) -> Option<HeaderValue> {
        if target.scheme() != Some(&Scheme::HTTP) {
            return None;
        }
        self.proxy(target)?.basic_auth().cloned()
    }
}

fn is_loopback(host: &str) -> bool {
    if let Some(address) = spelling::address(host) {
        return address.to_canonical().is_loopback();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, target: &str) -> bool {
        let proxies = Proxies::from_values(Some("secure:1"), Some("plain:2"), Some(no_proxy));
        proxies.unwrap().routes().proxy(&target.parse().unwrap()).is_some()
    }

    #[test]
    fn another_proxy_has_the_same_exceptions() {
        let proxies = Proxies::from_values(None, None, Some("a.example")).unwrap();
        let routes = proxies.through(&Proxy::parse("other:3").unwrap()).routes();
        for (target, proxied) in
            [("http://a.example/", false), ("http://b.example/", true), ("https://b.example", true)]
        {
            assert_eq!(routes.proxy(&target.parse().unwrap()).is_some(), proxied, "{target}");
        }
    }

    #[test]
    fn the_usual_forms_of_exceptions_are_understood() {
        let table = [
            ("", "http://a.example/", true),
            ("*", "http://a.example/", false),
            ("*", "https://10.0.0.1/", false),
            ("*", "http://[fd00::1]:8/", false),
            ("x,*", "http://10.0.0.1/", false),
            ("*:81", "http://10.0.0.1:81/", false),
            ("*:81", "http://a.example:81/", false),
            ("*:443", "https://[fd00::1]/", false),
            ("*:81", "http://10.0.0.1/", true),
            ("a.example", "http://a.example/", false),
            ("a.example", "http://A.EXAMPLE/", false),
            ("a.example", "https://b.a.example:8443/", false),
            ("a.example", "http://ba.example/", true),
            (".a.example", "http://a.example/", false),
            (".a.example", "http://b.a.example/", false),
            ("*.a.example", "http://b.a.example/", false),
            ("x, a.example", "http://a.example/", false),
            ("x a.example\ty", "http://a.example/", false),
            ("x,,a.example,", "http://a.example/", false),
            ("x,,", "http://a.example/", true),
            ("a.example:8080", "http://a.example:8080/", false),
            ("a.example:8080", "http://b.a.example:8080/", false),
            ("a.example:8080", "http://a.example/", true),
            ("a.example:80", "http://a.example/", false),
            ("a.example:443", "https://a.example/", false),
            ("a.example:443", "http://a.example/", true),
            ("10.0.0.1", "http://10.0.0.1/", false),
            ("10.0.0.1:81", "http://10.0.0.1:81/", false),
            ("10.0.0.1:81", "http://10.0.0.1/", true),
            ("10.0.0.0/8", "http://10.9.9.9:99/", false),
            ("10.0.0.0/8", "http://11.9.9.9/", true),
            ("fd00::1", "http://[fd00::1]/", false),
            ("[fd00::1]", "http://[fd00::1]:8/", false),
            ("[fd00::1]:8", "http://[fd00::1]:8/", false),
            ("[fd00::1]:8", "http://[fd00::1]:9/", true),
            ("fd00::/8", "http://[fd00::1]/", false),
            ("", "http://127.0.0.1:9/", false),
            ("", "http://127.9.9.9/", false),
            ("", "https://[::1]/", false),
            ("", "http://127.1/", false),
            ("", "http://0x7f.1/", false),
            ("", "http://2130706433/", false),
            ("", "http://0177.0.0.1/", false),
            ("", "http://127.0.0.1./", false),
            ("", "http://[::1%25lo]/", false),
            ("", "http://0xa.1/", true),
            ("", "http://localhost:9/", false),
            ("", "http://a.LOCALHOST./", false),
            ("", "http://localhost.example/", true),
        ];
        for (no_proxy, target, expected) in table {
            assert_eq!(proxied(no_proxy, target), expected, "{no_proxy:?} {target}");
        }
    }

    #[test]
    fn each_scheme_has_a_proxy_of_its_own() {
        let both = Proxies::from_values(Some("https://secure:1"), Some("plain:2"), None).unwrap();
        let routes = both.routes();
        let to = |url: &str| Some(routes.proxy(&url.parse().unwrap())?.uri().to_string());
        assert_eq!(to("https://a.example/").unwrap(), "https://secure:1/");
        assert_eq!(to("http://a.example/").unwrap(), "http://plain:2/");
        let one = Proxies::from_values(Some(" "), Some("plain:2"), None).unwrap().routes();
        assert!(one.proxy(&"https://a.example/".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_text() {
        for (text, why) in [
            ("http://hunter2 x/", "is not a valid URL"),
            ("socks5://me:hunter2@p:1", "must begin with http:// or https://"),
            ("http://me:hun@ter2@p:1", "has credentials that are not percent-encoded"),
            ("http://me:hunter2@p:99999", "has a port that is not a number up to 65535"),
            ("http://me:hunter2@:3128", "has no host"),
            ("http://p:1/hunter2", "has a path, a query or a fragment"),
            ("p:1?hunter2", "has a path, a query or a fragment"),
            ("http://p:1/#hunter2", "has a path, a query or a fragment"),
            ("http://me:3128#hunter2@p:1", "has a path, a query or a fragment"),
        ] {
            let error = Proxy::parse(text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("the proxy {why};")), "{error}");
            assert!(!format!("{error:?}").contains("ter2"), "{error:?}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let proxies = Proxies::from_values(Some("me:hunt%40er2@p:1"), Some("me@p:1"), None);
        let proxies = proxies.unwrap();
        let routes = proxies.routes();
        let of = |url: &str| routes.proxy(&url.parse().unwrap()).unwrap().basic_auth().cloned();
        // "me:hunt@er2" and "me:", as `base64` writes them.
        assert_eq!(of("https://a.example/").unwrap(), "Basic bWU6aHVudEBlcjI=");
        assert_eq!(of("http://a.example/").unwrap(), "Basic bWU6");
        for shown in [format!("{proxies:?}"), format!("{routes:?}")] {
            assert!(!shown.contains("er2") && !shown.contains("bWU6"), "{shown}");
        }
        assert_eq!(Proxy::parse("me:hunter2@p:1").unwrap().to_string(), "http://p:1");
    }
}
