//! Who makes a request: the other end of the connection, or whom a trusted proxy names.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use st_http::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The client of a request; an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address. Where a trusted proxy names none, that of the proxy.
    pub(crate) address: IpAddr,
    /// Whether it came by TLS, to this server or to a trusted proxy.
    pub(crate) is_secure: bool,
}

/// Proxies whose word about their clients is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client of a request that came from `remote`, by TLS or not.
    pub(crate) fn client(&self, remote: IpAddr, is_secure: bool, headers: &HeaderMap) -> Peer {
        let remote = remote.to_canonical();
        let itself = Peer { address: remote, is_secure };
        if !self.contain(remote) {
            return itself;
        }
        let by_list = self.nearest_untrusted(listed(headers));
        let by_forwarded = self.nearest_untrusted(forwarded(headers));
        // A proxy writes one of the two and may pass on the other as its client sent it. Where both
        // are there and differ, one of them is forged.
        let address = match (by_list, by_forwarded) {
            (Some(one), Some(other)) if one == other => one,
            (Some(_), Some(_)) => return itself,
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => remote,
        };
        Peer { address, is_secure: is_secure || said_secure(headers) }
    }

    /// The last address that is no trusted proxy's: what is before it may be of its own invention.
    /// What is no address ends the search at the proxy that wrote it.
    fn nearest_untrusted(&self, addresses: Vec<Option<IpAddr>>) -> Option<IpAddr> {
        let mut nearest = None;
        for address in addresses.into_iter().rev() {
            let Some(address) = address else { break };
            nearest = Some(address);
            if !self.contain(address) {
                break;
            }
        }
        nearest
    }
}

/// The items of all headers of this name, which are one list.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter();
    values.flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim)
}

fn listed(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    items(headers, &FORWARDED_FOR).map(address).collect()
}

fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    items(headers, &FORWARDED).map(|item| parameter(item, "for").and_then(address)).collect()
}

/// A parameter of an item of `Forwarded` (RFC 7239), without its quotes.
fn parameter<'h>(item: &'h str, name: &str) -> Option<&'h str> {
    item.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|it: SocketAddr| it.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

/// Whether the nearest proxy says that its client came by TLS.
fn said_secure(headers: &HeaderMap) -> bool {
    let by_header = items(headers, &FORWARDED_PROTO).last();
    let by_forwarded = items(headers, &FORWARDED).last().and_then(|it| parameter(it, "proto"));
    let said = [by_header, by_forwarded];
    let mut said = said.into_iter().flatten().peekable();
    said.peek().is_some() && said.all(|scheme| scheme.eq_ignore_ascii_case("https"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(remote: &str, headers: &[(&str, &str)]) -> (String, bool) {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap());
        let trusted = TrustedProxies::new(networks.to_vec());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let peer = trusted.client(remote.parse().unwrap(), false, &map);
        (peer.address.to_string(), peer.is_secure)
    }

    #[test]
    fn who_is_no_trusted_proxy_speaks_for_nobody() {
        let forged = [
            ("x-forwarded-for", "198.51.100.1"),
            ("forwarded", "for=198.51.100.1;proto=https"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(client("192.0.2.1", &forged), ("192.0.2.1".to_owned(), false));
        assert_eq!(client("127.0.0.1", &forged), ("127.0.0.1".to_owned(), false));
    }

    #[test]
    fn a_trusted_proxy_names_its_client_and_what_that_adds_is_not_believed() {
        let of = |headers: &[(&str, &str)]| client("10.0.0.1", headers).0;
        assert_eq!(of(&[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        assert_eq!(of(&[("x-forwarded-for", "1.2.3.4, 192.0.2.7, 10.0.0.2")]), "192.0.2.7");
        let two = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(of(&two), "192.0.2.7");
        assert_eq!(of(&[("x-forwarded-for", "192.0.2.7:4711")]), "192.0.2.7");
        assert_eq!(of(&[("x-forwarded-for", "1.2.3.4, nonsense")]), "10.0.0.1");
        assert_eq!(of(&[("forwarded", "for=1.2.3.4, for=\"[2001:db8::7]:80\"")]), "2001:db8::7");
        assert_eq!(of(&[("forwarded", "for=_hidden")]), "10.0.0.1");
        assert_eq!(of(&[]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]).0, "192.0.2.7");
        assert_eq!(client("fd00::1", &[("x-forwarded-for", "192.0.2.7")]).0, "192.0.2.7");
    }

    #[test]
    fn two_headers_that_differ_are_both_not_believed() {
        let both = |one: &str, other: &str| {
            let other = format!("for={other}");
            client("10.0.0.1", &[("x-forwarded-for", one), ("forwarded", &other)]).0
        };
        assert_eq!(both("192.0.2.7", "192.0.2.7"), "192.0.2.7");
        assert_eq!(both("192.0.2.7", "1.2.3.4"), "10.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_says_whether_its_client_came_by_tls() {
        let of = |headers: &[(&str, &str)]| client("10.0.0.1", headers).1;
        assert!(of(&[("x-forwarded-proto", "https")]));
        assert!(of(&[("forwarded", "for=192.0.2.7;proto=https")]));
        assert!(!of(&[("x-forwarded-proto", "http")]));
        assert!(!of(&[("x-forwarded-proto", "https"), ("forwarded", "for=1.2.3.4;proto=http")]));
        assert!(!of(&[]));
    }
}
