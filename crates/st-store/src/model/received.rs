//! Webhooks that providers sent, and how long they are remembered.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::after;
use crate::model::text::pad;

/// How long a webhook is remembered. A provider repeats one for minutes, and one that is signed long ago is
/// refused.
pub const RECEIVED_FOR: SignedDuration = SignedDuration::from_hours(48);

/// Those received up to this time are forgotten.
pub(crate) fn received_up_to(now: Timestamp) -> Timestamp {
    after(now, -RECEIVED_FOR)
}

/// A provider's identifier of one of its webhooks: the same in each repetition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId(String);

impl MessageId {
    /// A longer one is refused, in bytes.
    pub const LONGEST: usize = 256;

    /// The identifier, if it is visible ASCII and not too long.
    pub fn new(text: &str) -> Option<Self> {
        let legal = (1..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.to_owned()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pad(f, &self.0)
    }
}
