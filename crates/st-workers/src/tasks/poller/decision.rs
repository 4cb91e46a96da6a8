//! Whether providers are polled: a person's preference, else the configuration, else whether there is a
//! webhook.

/// What was decided about polling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A person switched it on: every provider is polled.
    PreferredOn,
    /// A person switched it off: every provider is only swept.
    PreferredOff,
    /// The configuration switches it on.
    Enabled,
    /// Providers without a webhook URL are polled.
    ByWebhook,
}

impl Decision {
    /// A person's preference takes precedence over the configuration's `enabled`.
    pub const fn of(preference: Option<bool>, enabled: bool) -> Self {
        match (preference, enabled) {
            (Some(true), _) => Self::PreferredOn,
            (Some(false), _) => Self::PreferredOff,
            (None, true) => Self::Enabled,
            (None, false) => Self::ByWebhook,
        }
    }

    /// Why a provider with this webhook URL is polled; `None` when it is only swept.
    pub fn reason(self, webhook_url: Option<&str>) -> Option<&'static str> {
        match self {
            Self::PreferredOn => Some("switched on"),
            Self::PreferredOff => None,
            Self::Enabled => Some("enabled"),
            Self::ByWebhook => webhook_url.is_none_or(str::is_empty).then_some("no webhook URL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_takes_precedence_over_the_configuration_and_that_over_webhooks() {
        let url = Some("https://a.example");
        for (preference, enabled, with_webhook, without) in [
            (None, false, None, Some("no webhook URL")),
            (None, true, Some("enabled"), Some("enabled")),
            (Some(true), false, Some("switched on"), Some("switched on")),
            (Some(false), true, None, None),
            (Some(false), false, None, None),
        ] {
            let decision = Decision::of(preference, enabled);
            let reasons = (decision.reason(url), decision.reason(None));
            assert_eq!(reasons, (with_webhook, without), "{decision:?}");
            assert_eq!(decision.reason(Some("")), without, "an empty URL is none");
        }
    }
}
