//! Which addresses a client may connect to, for URLs that come from users. The connector asks for each
//! address that it is about to use, so a name cannot mean one address when it is checked and another
//! when it is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses a client may connect to. The default is any.
///
/// It belongs to a client and not to a request, because a pooled connection is used by whichever request
/// comes next. Redirects are never followed, so they lead nowhere else either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    public_only: bool,
    allowed: Vec<IpNet>,
    proxy_decides: bool,
}

impl AddressPolicy {
    /// Any address.
    pub fn any() -> Self {
        Self::default()
    }

    /// Addresses of the public Internet alone. Refused are loopback, private and local networks, shared
    /// address space, the metadata services of clouds, multicast, documentation and what is reserved; and
    /// IPv6 addresses that contain an IPv4 address. A public address that this machine has itself is
    /// permitted: which those are is not known here.
    ///
    /// A host that only a proxy would reach is refused too, because the proxy chooses the address; see
    /// [`through_proxies`](Self::through_proxies).
    pub fn public() -> Self {
        Self { public_only: true, ..Self::default() }
    }

    /// Allows a network that [`public`](Self::public) refuses. An IPv6 address that contains an IPv4
    /// address (`::ffff:0:0/96`, `64:ff9b::/96`, `2002::/16`) is allowed when both are.
    #[must_use]
    pub fn allow(mut self, network: IpNet) -> Self {
        self.allowed.push(network);
        self
    }

    /// Lets requests go through the proxies of the client. They look the name up and choose the
    /// address, so only an address that the URL itself has is checked here; the rest is up to them.
    #[must_use]
    pub fn through_proxies(self) -> Self {
        Self { proxy_decides: true, ..self }
    }

    /// Whether it refuses nothing.
    pub(crate) fn is_any(&self) -> bool {
        !self.public_only
    }

    pub(crate) fn allows_proxies(&self) -> bool {
        self.is_any() || self.proxy_decides
    }

    /// Whether a client with this policy connects to `address`.
    pub fn permits(&self, address: IpAddr) -> bool {
        if self.is_any() {
            return true;
        }
        let allowed = self.allowed.iter().any(|network| network.contains(&address));
        match address {
            IpAddr::V4(v4) => allowed || is_public_v4(v4),
            IpAddr::V6(v6) => match contained(v6) {
                Some(v4) => allowed && self.permits(IpAddr::V4(v4)),
                None => allowed || is_public_v6(v6),
            },
        }
    }
}

/// Whatever is not global by the registries of IANA, and the address at which Azure has its services
/// for a machine, which is public by its number only.
const SPECIAL_V4: [(Ipv4Addr, u8); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::BROADCAST, 32),
];

/// Within `2000::/3`, the one block from which global addresses are given out.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    // Teredo, ORCHID and other protocols.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|(network, length)| {
        Ipv4Net::new(*network, *length).is_ok_and(|network| network.contains(&address))
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let global = address.segments()[0] & 0xe000 == 0x2000;
    global
        && !SPECIAL_V6.iter().any(|(network, length)| {
            Ipv6Net::new(*network, *length).is_ok_and(|network| network.contains(&address))
        })
}

/// The IPv4 address in which a packet to `address` ends.
fn contained(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([first, second], [third, fourth]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(first, second, third, fourth)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: &str = "\
        1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
        169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 \
        192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15 2600::1 \
        2a00:1450:4001::1 2001:4860:4860::8888 2001:200::1 3ffe::1";

    const REFUSED: &str = "\
        0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 \
        127.0.0.1 127.255.255.255 168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255 \
        192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 \
        203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 \
        ::ffff:127.0.0.1 ::ffff:1.1.1.1 64:ff9b::7f00:1 64:ff9b::101:101 64:ff9b:1::1 100::1 \
        2001::1 2001:1ff::1 2001:db8::1 2002:7f00:1:: 2002:101:101:: 3fff::1 5f00::1 fc00::1 \
        fd00:ec2::254 fe80::1 fec0::1 ff02::1";

    fn permits(policy: &AddressPolicy, address: &str) -> bool {
        policy.permits(address.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_permitted() {
        let policy = AddressPolicy::public();
        for address in PUBLIC.split_whitespace() {
            assert!(permits(&policy, address), "{address}");
        }
        for address in REFUSED.split_whitespace() {
            assert!(!permits(&policy, address), "{address}");
            assert!(permits(&AddressPolicy::any(), address), "{address}");
        }
    }

    #[test]
    fn a_network_is_allowed_and_an_address_inside_another_needs_both() {
        let nets = ["10.1.0.0/16", "64:ff9b::/96", "fd00::/8"];
        let policy = nets
            .iter()
            .fold(AddressPolicy::public(), |policy, net| policy.allow(net.parse().unwrap()));
        let table = [
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("fd12::1", true),
            ("fc12::1", false),
            ("64:ff9b::101:101", true),
            ("64:ff9b::a01:203", true),
            ("64:ff9b::7f00:1", false),
            ("::ffff:10.1.2.3", false),
        ];
        for (address, expected) in table {
            assert_eq!(permits(&policy, address), expected, "{address}");
        }
    }
}
