//! Where webhooks may be sent.

use st_api::input::Fields;
use st_http::IpNet;

use super::outputs::networks;

/// Where webhooks may be sent, beside the public Internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhooksSettings {
    /// Networks that are not public.
    pub allowed_networks: Vec<IpNet>,
}

impl WebhooksSettings {
    pub(super) fn read(fields: &mut Fields) -> Self {
        Self { allowed_networks: networks(fields, "allowed_networks") }
    }
}
