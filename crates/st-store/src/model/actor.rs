//! Who made a change: named in every call that changes something, and in every event.

use std::fmt;

use crate::model::text::text_enum;
use crate::model::{ProviderName, UserId};

text_enum! {
    /// The kind of an [`Actor`].
    ActorKind, "actor" {
        /// A person, over the API.
        User = "user",
        /// The poller, from what the provider reported.
        Poller = "poller",
        /// The scheduler and the dispatches it starts.
        Scheduler = "scheduler",
        /// The expirer of approval requests.
        Expirer = "expirer",
        /// A verified webhook of a provider.
        Webhook = "webhook",
        /// The operator of the server, by configuration or command line.
        Operator = "operator",
        /// The provider, on its own initiative.
        Provider = "provider",
    }
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A person, over the API.
    User(UserId),
    /// The poller, from what the provider reported.
    Poller,
    /// The scheduler and the dispatches it starts.
    Scheduler,
    /// The expirer of approval requests.
    Expirer,
    /// A verified webhook of this provider.
    Webhook(ProviderName),
    /// The operator of the server, by configuration or command line.
    Operator,
    /// The provider, on its own initiative.
    Provider(ProviderName),
}

impl Actor {
    /// The kind, without the name.
    pub const fn kind(&self) -> ActorKind {
        match self {
            Self::User(_) => ActorKind::User,
            Self::Poller => ActorKind::Poller,
            Self::Scheduler => ActorKind::Scheduler,
            Self::Expirer => ActorKind::Expirer,
            Self::Webhook(_) => ActorKind::Webhook,
            Self::Operator => ActorKind::Operator,
            Self::Provider(_) => ActorKind::Provider,
        }
    }

    /// The user's or the provider's name; `None` for actors of which there is only one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(user.as_str()),
            Self::Webhook(provider) | Self::Provider(provider) => Some(provider.as_str()),
            Self::Poller | Self::Scheduler | Self::Expirer | Self::Operator => None,
        }
    }

    /// Puts a stored kind and name together; `None` when they do not fit each other.
    pub fn from_parts(kind: ActorKind, name: Option<String>) -> Option<Self> {
        match (kind, name) {
            (ActorKind::User, Some(name)) => Some(Self::User(UserId::new(name))),
            (ActorKind::Webhook, Some(name)) => Some(Self::Webhook(ProviderName::new(name))),
            (ActorKind::Provider, Some(name)) => Some(Self::Provider(ProviderName::new(name))),
            (ActorKind::Poller, None) => Some(Self::Poller),
            (ActorKind::Scheduler, None) => Some(Self::Scheduler),
            (ActorKind::Expirer, None) => Some(Self::Expirer),
            (ActorKind::Operator, None) => Some(Self::Operator),
            (ActorKind::User | ActorKind::Webhook | ActorKind::Provider, None)
            | (
                ActorKind::Poller | ActorKind::Scheduler | ActorKind::Expirer | ActorKind::Operator,
                Some(_),
            ) => None,
        }
    }

    /// The word that clients of the event stream know as `source`: coarser than the kind.
    pub const fn source(&self) -> &'static str {
        match self {
            Self::User(_) | Self::Operator => "user",
            Self::Poller | Self::Provider(_) => "poll",
            Self::Scheduler => "scheduler",
            Self::Expirer => "expirer",
            Self::Webhook(_) => "webhook",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(&format!("{} {name}", self.kind())),
            None => f.pad(self.kind().as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_fit_make_the_actor_again_and_others_none() {
        let user = || Actor::User(UserId::new("ann"));
        let replicate = || ProviderName::new("replicate");
        for actor in [
            user(),
            Actor::Poller,
            Actor::Scheduler,
            Actor::Expirer,
            Actor::Webhook(replicate()),
            Actor::Operator,
            Actor::Provider(replicate()),
        ] {
            let name = actor.name().map(str::to_owned);
            assert_eq!(Actor::from_parts(actor.kind(), name.clone()), Some(actor.clone()));
            let other = if name.is_some() { None } else { Some("x".to_owned()) };
            assert_eq!(Actor::from_parts(actor.kind(), other), None, "{actor}");
        }
        assert_eq!(user().to_string(), "user ann");
        assert_eq!(Actor::Poller.to_string(), "poller");
    }
}
