//! Enums that are text in the database, in JSON and in the log: one spelling, in one place; and the
//! one character that no stored text may hold.

use std::fmt;

/// A word that names no variant of the enum it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {word:?}, expected one of {}", legal.join(", "))]
pub struct UnknownText {
    /// What the word was read as, such as `job status`.
    pub what: &'static str,
    /// The word itself.
    pub word: String,
    /// The legal words.
    pub legal: Vec<&'static str>,
}

/// Pads like a string does, which `write_str` would not.
pub(crate) fn pad(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.pad(text)
}

/// Whether a text holds NUL, which not every database can store.
pub(crate) fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

/// A text of a provider as it can be stored: NUL becomes the replacement character, because what
/// strangers write is never a reason to lose a status.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// An enum that is a word outside of the program.
pub trait Word:
    Copy + fmt::Display + std::str::FromStr<Err = UnknownText> + Send + Sync + 'static
{
    /// Every variant, in declaration order.
    fn all() -> &'static [Self];

    /// The word for it.
    fn word(self) -> &'static str;
}

/// Gives an enum `ALL`, `as_str`, `FromStr` and `Display` from one table of words.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every variant, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it in the database, in JSON and in the log.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::model::text::Word for $name {
            fn all() -> &'static [Self] {
                Self::ALL
            }

            fn word(self) -> &'static str {
                self.as_str()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                word.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::UnknownText;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|each| each.as_str() == word).ok_or_else(|| {
                    $crate::model::UnknownText {
                        what: $what,
                        word: word.to_owned(),
                        legal: Self::ALL.iter().map(|each| each.as_str()).collect(),
                    }
                })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::model::text::pad(f, self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;
