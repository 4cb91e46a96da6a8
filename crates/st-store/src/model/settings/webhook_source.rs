//! Where the webhooks of a provider may come from.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::ProviderSettings;

/// Whether a webhook may come from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookSource {
    /// It may.
    Allowed,
    /// It is in none of the networks that are set.
    Other,
    /// What is set cannot be read, so no address is known to be allowed.
    Unknown,
}

impl ProviderSettings {
    /// Whether a webhook may come from this address.
    pub fn webhook_source(&self, address: IpAddr) -> WebhookSource {
        if self.is_unreadable("webhook_allowed_ips") {
            return WebhookSource::Unknown;
        }
        let networks = self.webhook_allowed_ips.as_deref().unwrap_or_default();
        let address = address.to_canonical();
        if networks.is_empty() || networks.iter().any(|it| canonical(*it).contains(&address)) {
            WebhookSource::Allowed
        } else {
            WebhookSource::Other
        }
    }
}

/// A network of IPv4 addresses that is written in IPv6, as one of IPv4.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(six) = network else { return network };
    let four = six.network().to_ipv4_mapped().zip(six.prefix_len().checked_sub(MAPPED));
    let four = four.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    four.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(networks: &[&str], address: &str) -> WebhookSource {
        let networks = networks.iter().map(|it| it.parse().unwrap()).collect();
        let settings =
            ProviderSettings { webhook_allowed_ips: Some(networks), ..ProviderSettings::default() };
        settings.webhook_source(address.parse().unwrap())
    }

    #[test]
    fn a_network_that_is_written_as_mapped_is_the_same_one() {
        for networks in [["10.0.0.0/8"], ["::ffff:10.0.0.0/104"]] {
            for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
                assert_eq!(source(&networks, address), WebhookSource::Allowed, "{networks:?}");
            }
            assert_eq!(source(&networks, "11.1.2.3"), WebhookSource::Other, "{networks:?}");
        }
        assert_eq!(source(&["2001:db8::/32"], "2001:db8::1"), WebhookSource::Allowed);
        assert_eq!(source(&["2001:db8::/32"], "10.1.2.3"), WebhookSource::Other);
        assert_eq!(source(&[], "10.1.2.3"), WebhookSource::Allowed);
    }

    #[test]
    fn a_list_that_cannot_be_read_admits_no_one() {
        let mut settings = ProviderSettings::default();
        assert!(settings.note_unreadable("webhook_allowed_ips"));
        let address = "10.1.2.3".parse().unwrap();
        assert_eq!(settings.webhook_source(address), WebhookSource::Unknown);
        assert!(!settings.note_unreadable("of_a_newer_version"));
    }
}
