//! What `${NAME}` put into the file. It may be a secret, so whatever is shown of the file has the name again.

use std::collections::BTreeMap;
use std::fmt;

use st_log::Redaction;

/// What is shorter is a number or a word, and part of too many texts.
const SHORTEST: usize = 6;
/// Where a text was cut off.
const CUT: &str = "...";

/// The variables that the file names, with their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Filled(BTreeMap<String, String>);

impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Filled {
    /// Adds one more that is not shown.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Those that may be secrets.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|value| value.trim()).filter(|value| value.len() >= SHORTEST)
    }

    /// Those that are secrets by their names.
    pub fn secrets(&self, redaction: &Redaction) -> impl Iterator<Item = &str> {
        let secrets = self.0.iter().filter(|(name, _)| redaction.covers(name));
        secrets.map(|(_, value)| value.trim()).filter(|value| value.len() >= SHORTEST)
    }

    /// The variables of these that are secrets by their names.
    pub(super) fn named_as_secrets(&self, redaction: &Redaction) -> Self {
        let secrets = self.0.iter().filter(|(name, _)| redaction.covers(name));
        Self(secrets.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The text with `${NAME}` where the value of a variable is, or the beginning of one that was cut off.
    pub fn hide(&self, text: &str) -> String {
        let mut values: Vec<(&str, &str)> =
            self.0.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
        values.retain(|(_, value)| value.len() >= SHORTEST);
        // A value that is part of another one must not take it apart.
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        let mut text = text.to_owned();
        for (name, value) in values {
            let shown = format!("${{{name}}}");
            let escaped = value.escape_debug().to_string();
            let encoded = percent_encoded(value);
            for form in [value, escaped.as_str(), encoded.as_str()] {
                text = text.replace(form, &shown);
                for (end, _) in form.char_indices().rev().filter(|(end, _)| *end >= SHORTEST) {
                    let Some((begin, _)) = form.split_at_checked(end) else { continue };
                    text = text.replace(&format!("{begin}{CUT}"), &format!("{shown}{CUT}"));
                }
            }
        }
        text
    }
}

/// As it is in a URL.
fn percent_encoded(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = text.bytes().map(|byte| match byte {
        byte if is_plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_whole_escaped_and_cut_off() {
        let mut filled = Filled::default();
        filled.add("TOKEN", "s3cr3t-\"quoted\"-token");
        filled.add("LONGER", "s3cr3t-\"quoted\"-token-and-more");
        filled.add("PORT", "9004");
        for (text, expected) in [
            ("x s3cr3t-\"quoted\"-token y", "x ${TOKEN} y"),
            ("found \"s3cr3t-\\\"quoted\\\"-token\"", "found \"${TOKEN}\""),
            ("found \"s3cr3t-\\\"qu...", "found \"${TOKEN}..."),
            ("a s3cr3t-\"quoted\"-token-and-more", "a ${LONGER}"),
            ("?key=s3cr3t-%22quoted%22-token", "?key=${TOKEN}"),
            ("found 9004", "found 9004"),
        ] {
            let shown = filled.hide(text);
            assert!(shown == expected || shown == expected.replace("TOKEN", "LONGER"), "{shown}");
        }
        assert_eq!(format!("{filled:?}"), r#"{"LONGER", "PORT", "TOKEN"}"#);
    }
}
