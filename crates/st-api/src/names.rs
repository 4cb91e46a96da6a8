//! What paths name.

use st_store::{ApprovalId, BudgetId, ProviderName, RuleId, UserId, WebhookId};

use crate::operation::{Named, Parameter};

/// A job: by its ID, the provider's ID of it, or the beginning of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobName(pub String);

impl Named for JobName {
    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "job",
        what: "job",
        numeric: false,
        description: "The job: its ID, the provider's ID of it, or at least 6 characters that one of them begins \
             with and that of no other job does.",
    });

    fn parse(name: &str) -> Option<Self> {
        Some(Self(name.to_owned()))
    }
}

macro_rules! text_names {
    ($($(#[$meta:meta])* $name:ident($of:ty), $parameter:literal, $what:literal, $description:literal;)+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub $of);

        impl Named for $name {
            const PARAMETER: Option<Parameter> = Some(Parameter {
                name: $parameter, what: $what, numeric: false, description: $description,
            });

            fn parse(name: &str) -> Option<Self> {
                Some(Self(<$of>::from(name.to_owned())))
            }
        }
    )+ };
}

macro_rules! number_names {
    ($($(#[$meta:meta])* $name:ident($of:ty), $what:literal, $description:literal;)+) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub $of);

        impl Named for $name {
            const PARAMETER: Option<Parameter> = Some(Parameter {
                name: "id", what: $what, numeric: true, description: $description,
            });

            fn parse(name: &str) -> Option<Self> {
                name.parse().ok().map(Self)
            }
        }
    )+ };
}

text_names! {
    /// A name in a list: of a task, a configuration or a key.
    EntryName(String), "name", "entry", "Its name.";
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderArg(pub ProviderName);

impl Named for ProviderArg {
    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "provider",
        what: "provider",
        numeric: false,
        description: "The provider, such as `replicate` or `local`.",
    });

    fn parse(name: &str) -> Option<Self> {
        Some(Self(ProviderName::new(name)))
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserArg(pub UserId);

impl Named for UserArg {
    const PARAMETER: Option<Parameter> = Some(Parameter {
        name: "user",
        what: "user",
        numeric: false,
        description: "The user's ID.",
    });

    fn parse(name: &str) -> Option<Self> {
        Some(Self(UserId::new(name)))
    }
}

number_names! {
    /// An approval rule.
    RuleArg(RuleId), "approval rule", "The rule's number.";
    /// An approval request.
    RequestArg(ApprovalId), "approval request", "The request's number.";
    /// A quota.
    QuotaArg(BudgetId), "quota", "The quota's number.";
    /// The number of a webhook in a path.
    WebhookArg(WebhookId), "webhook", "The webhook's number.";
}
