//! Names of models and of their versions, as the API takes them.

use std::fmt;
use std::str::FromStr;

/// Hexadecimal digits of a version.
const DIGITS: usize = 64;
/// Longer names make URLs that nothing accepts.
const LONGEST_PART: usize = 100;

/// The name of a model: its owner and its own, such as `simpletuner/advanced-trainer`. It can be a
/// part of a URL's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName(String);

/// What is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelVersion {
    /// The latest version of a model.
    Latest(ModelName),
    /// One version, in the form in which the API takes it: with or without its model.
    Exact(String),
}

/// A text that names neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected owner/model, owner/model:version or a version alone; a version is {DIGITS} \
     hexadecimal digits"
)]
pub struct InvalidVersion;

impl ModelName {
    /// A name that is legal by the way in which it is made.
    pub(super) fn known(name: String) -> Self {
        Self(name)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ModelName {
    type Err = InvalidVersion;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
        // One that begins with a dot could lead elsewhere in a path.
        let is_part = |part: &str| {
            (1..=LONGEST_PART).contains(&part.len())
                && !part.starts_with('.')
                && part.chars().all(legal)
        };
        match name.split_once('/') {
            Some((owner, model)) if is_part(owner) && is_part(model) => Ok(Self(name.to_owned())),
            Some(_) | None => Err(InvalidVersion),
        }
    }
}

impl FromStr for ModelVersion {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (model, version) = match text.split_once(':') {
            Some((model, version)) => (Some(model), Some(version)),
            None if text.contains('/') => (Some(text), None),
            None => (None, Some(text)),
        };
        let model = model.map(str::parse::<ModelName>).transpose()?;
        match (model, version) {
            (_, Some(version)) if is_version(version) => Ok(Self::Exact(text.to_owned())),
            (Some(model), None) => Ok(Self::Latest(model)),
            (Some(_) | None, Some(_) | None) => Err(InvalidVersion),
        }
    }
}

/// Whether it is the identifier of a version.
pub(super) fn is_version(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_in_one_of_three_forms() {
        let id = "0aF9".repeat(16);
        let whole = format!("simpletuner/advanced-trainer:{id}");
        for exact in [&id, &whole] {
            assert_eq!(exact.parse(), Ok(ModelVersion::Exact(exact.clone())));
        }
        let model = "a-b/c_d.e";
        assert_eq!(model.parse(), Ok(ModelVersion::Latest(ModelName(model.to_owned()))));
    }

    #[test]
    fn anything_else_is_no_version() {
        let id = "f".repeat(64);
        for bad in [
            "",
            "model",
            "owner/",
            "/model",
            "owner/model/more",
            "../account",
            "owner/..",
            "owner/model:",
            "owner/model:abc123",
            "simpletuner/advanced-trainer:<version>",
            &format!("owner/model:{id}f"),
            &format!("owner/model:{}g", "f".repeat(63)),
            &format!(":{id}"),
            &format!("model:{id}"),
            &format!("own er/model:{id}"),
            &format!("{id} "),
            &format!("{}/model", "o".repeat(101)),
        ] {
            assert_eq!(bad.parse::<ModelVersion>(), Err(InvalidVersion), "{bad}");
        }
    }
}
