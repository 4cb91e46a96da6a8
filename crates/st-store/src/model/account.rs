//! Which account at a provider a submission was made with, as far as that is known.
//!
//! What another account's list or "not found" says about a job means nothing, so accounts are
//! compared before an answer is believed. The name of an account is learned later than its base
//! URL, and a credential can be replaced while the account stays the same; so two accounts are
//! compared by what both of them know.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::model::text::pad;

const NAME: &str = "name";
const CREDENTIAL: &str = "credential";

/// The account at a provider under which a job was submitted.
///
/// As text it is the base URL, and where more is known a space and a JSON object behind it:
/// `https://api.example.com/v1 {"name":"ann"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    base_url: String,
    name: Option<String>,
    credential: Option<String>,
}

impl AccountId {
    /// The account with this name at the provider, reached at `base_url` with the credential of
    /// this hash; for jobs on this machine, the machine's identifier in place of the URL. An empty
    /// text is none, and white space in the URL is left out.
    pub fn new(base_url: impl AsRef<str>, name: Option<&str>, credential: Option<&str>) -> Self {
        let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let base_url = base_url.as_ref().chars().filter(|&each| is_of_url(each)).collect();
        Self { base_url, name: known(name), credential: known(credential) }
    }

    /// The base URL of the provider.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The account's name at the provider; `None` before it is known.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// A hash of the credential; `None` where there is none.
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// Whether both are one account, as far as can be known: by their names, else by their
    /// credentials, else by the base URL alone.
    pub fn is_same(&self, other: &Self) -> bool {
        if self.base_url != other.base_url {
            return false;
        }
        if let (Some(one), Some(two)) = (&self.name, &other.name) {
            return one == two;
        }
        match (&self.credential, &other.credential) {
            (Some(one), Some(two)) => one == two,
            (_, None) | (None, _) => true,
        }
    }

    /// Whether both may be one account: unless both are known and differ.
    pub fn may_be_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        one.zip(other).is_none_or(|(one, other)| one.is_same(other))
    }
}

/// Whether a character may be part of a base URL. A space ends it in the stored text.
fn is_of_url(each: char) -> bool {
    !each.is_whitespace() && !each.is_control()
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut known = Map::new();
        for (key, value) in [(CREDENTIAL, &self.credential), (NAME, &self.name)] {
            if let Some(value) = value {
                known.insert(key.to_owned(), Value::from(value.as_str()));
            }
        }
        if known.is_empty() {
            return pad(f, &self.base_url);
        }
        f.pad(&format!("{} {}", self.base_url, Value::Object(known)))
    }
}

/// A text that is no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an account, expected <base URL> or <base URL> {{\"name\":..,\"credential\":..}}")]
pub struct InvalidAccount;

impl FromStr for AccountId {
    type Err = InvalidAccount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (base_url, known) = match text.split_once(' ') {
            None => (text, Map::new()),
            Some((base_url, known)) => {
                let known: Map<String, Value> =
                    serde_json::from_str(known).map_err(|_syntax| InvalidAccount)?;
                if known.is_empty() {
                    return Err(InvalidAccount);
                }
                (base_url, known)
            }
        };
        if !base_url.chars().all(is_of_url) {
            return Err(InvalidAccount);
        }
        let (mut name, mut credential) = (None, None);
        for (key, value) in &known {
            let value = value.as_str().filter(|value| !value.is_empty()).ok_or(InvalidAccount)?;
            match key.as_str() {
                NAME => name = Some(value),
                CREDENTIAL => credential = Some(value),
                _ => return Err(InvalidAccount),
            }
        }
        Ok(Self::new(base_url, name, credential))
    }
}

#[cfg(test)]
mod tests;
