//! What a job made: the addresses in its output, which is a text, a list, or an object of them.

use serde_json::Value;
use st_log::{Logger, get_logger};
use st_store::ProviderJobId;

use super::classify::unreadable;
use super::fields::{pick, read};
use super::row::{FLAG, WORD};
use crate::provider::excerpt::{Keep, Shape};
use crate::provider::{OutputFile, OutputList, QueryError};

const LOG: Logger = get_logger("simpletuner.cloud.replicate");

/// So many outputs of a job are downloaded.
const MOST: usize = 1000;
/// Bytes of an object as an output. A larger one is data and no list of addresses.
const LARGEST: usize = 4 * 1024 * 1024;
/// Bytes of an address. A longer text is data.
const LONGEST_URL: usize = 16 * 1024;
/// Bytes of an address that begins with no host. A longer text is data.
const LONGEST_RELATIVE: usize = 2048;
/// How deep lists and objects are searched.
const DEEPEST: usize = 4;

const URL: Shape = Shape::text(Keep::Whole(LONGEST_URL));
const ITEM: Shape = URL.or_container(4 * LONGEST_URL);
const OUTPUT: Shape = URL.or_container(LARGEST).or_items(&ITEM, MOST + 1);

const FIELDS: [(&str, Shape); 3] = [("id", WORD), ("output", OUTPUT), ("data_removed", FLAG)];

/// What is kept of an answer.
pub(super) const OUTPUTS: Shape = WORD.or_members(&FIELDS);

/// The files in an answer about the job with this ID.
pub(super) fn in_text(text: &str, id: &ProviderJobId) -> Result<OutputList, QueryError> {
    let names = FIELDS.map(|(name, _)| name);
    let [of, output, data_removed] = pick(text, names).map_err(unreadable)?;
    if read::<String>(of).as_deref() != Some(id.as_str()) {
        return Err(unreadable("it is about another job"));
    }
    if read(data_removed) == Some(true) {
        return Err(QueryError::NotFound);
    }
    let mut found = Found::default();
    found.search(&read(output).unwrap_or(Value::Null), DEEPEST);
    let ignored = found.ignored + found.list.left_out;
    if ignored > 0 {
        st_log::debug!(
            logger: LOG, left_out = ignored,
            "Output of the job is in part no address, that part is not downloaded"
        );
    }
    Ok(found.list)
}

#[derive(Debug, Default)]
struct Found {
    list: OutputList,
    /// Texts that are data or words, and what is too deep.
    ignored: usize,
}

impl Found {
    fn search(&mut self, value: &Value, deeper: usize) {
        match value {
            Value::String(text) => match OutputFile::at(text) {
                Some(file) if self.list.files.contains(&file) => {}
                Some(file) if self.list.files.len() < MOST => self.list.files.push(file),
                Some(_) => self.list.left_out += 1,
                None if is_address(text) => self.list.left_out += 1,
                None => self.ignored += 1,
            },
            Value::Array(items) if deeper > 0 => {
                for item in items {
                    self.search(item, deeper - 1);
                }
            }
            Value::Object(members) if deeper > 0 => {
                for member in members.values() {
                    self.search(member, deeper - 1);
                }
            }
            Value::Array(_) | Value::Object(_) => self.ignored += 1,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Whether a text that is no URL is meant to be one: malformed, relative or of another scheme. Versions
/// such as `owner/model:hash` are not.
fn is_address(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        !scheme.is_empty()
            && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it))
    };
    if text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        return true;
    }
    let is_relative = ["/", "./", "../"].iter().any(|start| text.starts_with(start));
    is_relative && text.len() <= LONGEST_RELATIVE && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(output: &str) -> OutputList {
        let text = format!(r#"{{"id": "a1", "status": "succeeded", "output": {output}}}"#);
        in_text(&text, &ProviderJobId::new("a1")).unwrap()
    }

    fn urls(output: &str) -> Vec<String> {
        list(output).files.into_iter().map(|file| file.url).collect()
    }

    #[test]
    fn every_address_of_the_output_is_found_once() {
        let (one, two) = ("https://x.example/a.tar", "http://y.example/b.png?s=1");
        assert_eq!(urls(&format!("{one:?}")), [one]);
        assert_eq!(urls(&format!("[{one:?}, {two:?}, {one:?}, null, 7]")), [one, two]);
        assert_eq!(urls(&format!(r#"{{"version": "v", "weights": {one:?}}}"#)), [one]);
        assert_eq!(urls(&format!(r#"{{"a": [{{"b": {two:?}}}], "c": {one:?}}}"#)), [two, one]);
    }

    #[test]
    fn what_is_no_address_is_left_out() {
        for none in [
            "null",
            r#""data:image/png;base64,AAAA""#,
            r#""file:///etc/passwd""#,
            r#""https://""#,
            r#""done""#,
            "true",
            r#"[[[[[["https://x.example/deep"]]]]]]"#,
        ] {
            assert_eq!(urls(none), [""; 0], "{none}");
        }
        let many: Vec<String> = (0..2000).map(|it| format!("https://x.example/{it}")).collect();
        assert_eq!(urls(&serde_json::to_string(&many).unwrap()).len(), MOST);
    }

    #[test]
    fn an_address_that_cannot_be_fetched_is_counted_and_words_are_not() {
        for (output, left_out) in [
            (r#""https://""#, 1),
            (r#"["https://x.example/a b", "/files/a.tar", "../a.tar", "s3://bucket/a"]"#, 4),
            (r#"{"version": "owner/model:5f1c", "text": "Yes, / no", "weights": null}"#, 0),
            (r#"["data:image/png;base64,AAAA", "done", "Look: https://x.example/a"]"#, 0),
        ] {
            assert_eq!(list(output).left_out, left_out, "{output}");
        }
        let many: Vec<String> = (0..=MOST).map(|it| format!("https://x.example/{it}")).collect();
        assert_eq!(list(&serde_json::to_string(&many).unwrap()).left_out, 1);
    }

    #[test]
    fn a_deleted_output_is_not_found_and_that_of_another_job_is_not_read() {
        let id = ProviderJobId::new("a1");
        let deleted = in_text(r#"{"id": "a1", "output": null, "data_removed": true}"#, &id);
        assert!(matches!(deleted, Err(QueryError::NotFound)), "{deleted:?}");
        let other = in_text(r#"{"id": "b2", "output": "https://x.example/a"}"#, &id);
        assert!(matches!(other, Err(QueryError::Unavailable(_))), "{other:?}");
    }
}
