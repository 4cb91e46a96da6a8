//! The hardware that a job may ask for by name, and the model that trains on it.

use std::fmt;
use std::str::FromStr;

use super::version::ModelName;

/// The model that trains. The plain one runs on [`Profile::DEFAULT`]; each profile has one of its own.
const TRAINER: &str = "simpletuner/advanced-trainer";

/// A kind of card, and how many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    card: Card,
    cards: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Card {
    H100,
    L40s,
}

/// A name that no profile has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {}, found {found:?}", Profile::names())]
pub struct UnknownProfile {
    /// The name.
    pub found: String,
}

impl Profile {
    /// What a job gets that asks for none.
    pub const DEFAULT: Self = Self::of(Card::H100, 1);
    /// All that there are.
    pub const ALL: [Self; 8] = [
        Self::DEFAULT,
        Self::of(Card::H100, 2),
        Self::of(Card::H100, 4),
        Self::of(Card::H100, 8),
        Self::of(Card::L40s, 1),
        Self::of(Card::L40s, 2),
        Self::of(Card::L40s, 4),
        Self::of(Card::L40s, 8),
    ];

    const fn of(card: Card, cards: u8) -> Self {
        Self { card, cards }
    }

    /// The names of all, for people.
    pub fn names() -> String {
        Self::ALL.map(|profile| profile.to_string()).join(", ")
    }

    /// The model that trains on it.
    pub fn model(self) -> ModelName {
        ModelName::known(format!("{TRAINER}-{self}"))
    }

    /// The profile that a model's name ends with, such as `l40s-x2` in
    /// `simpletuner/advanced-trainer-l40s-x2`; `None` where it names none.
    pub(super) fn of_model(model: &str) -> Option<Self> {
        if model == TRAINER {
            return Some(Self::DEFAULT);
        }
        let (_, suffix) = model.rsplit_once("-trainer-")?;
        suffix.parse().ok()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let card = match self.card {
            Card::H100 => "h100",
            Card::L40s => "l40s",
        };
        match self.cards {
            1 => f.write_str(card),
            cards => write!(f, "{card}-x{cards}"),
        }
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|profile| profile.to_string() == name);
        known.ok_or_else(|| UnknownProfile { found: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_has_a_model_of_its_own_and_the_model_names_it() {
        let names = "h100, h100-x2, h100-x4, h100-x8, l40s, l40s-x2, l40s-x4, l40s-x8";
        assert_eq!(Profile::names(), names);
        for profile in Profile::ALL {
            let model = profile.model();
            assert_eq!(model.as_str(), format!("simpletuner/advanced-trainer-{profile}"));
            assert_eq!(Profile::of_model(model.as_str()), Some(profile));
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert_eq!(Profile::of_model("simpletuner/advanced-trainer"), Some(Profile::DEFAULT));
        for other in ["someone/flux", "someone/a-trainer", "a/b-trainer-h900", "h100", ""] {
            assert_eq!(Profile::of_model(other), None, "{other}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        for unknown in ["", "H100", "h100-x1", "h100-x3", "h900-x99", "h100 ", "l40s-x02"] {
            let said = unknown.parse::<Profile>().unwrap_err().to_string();
            let expected = format!("expected one of {}, found {unknown:?}", Profile::names());
            assert_eq!(said, expected);
        }
    }
}
