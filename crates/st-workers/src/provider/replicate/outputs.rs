//! What a job made: the addresses in its output, which is a text, a list, or an object of them.

use serde_json::Value;
use st_log::{Logger, get_logger};
use st_store::ProviderJobId;

use super::classify::unreadable;
use super::fields::{pick, read};
use super::row::{FLAG, WORD};
use crate::provider::excerpt::{Keep, Shape};
use crate::provider::{OutputFile, QueryError};

const LOG: Logger = get_logger("simpletuner.cloud.replicate");

/// So many outputs of a job are downloaded.
const MOST: usize = 1000;
/// Bytes of an object as an output. A larger one is data and no list of addresses.
const LARGEST: usize = 4 * 1024 * 1024;
/// Bytes of an address. A longer text is data.
const LONGEST_URL: usize = 16 * 1024;
/// How deep lists and objects are searched.
const DEEPEST: usize = 4;

const URL: Shape = Shape::text(Keep::Whole(LONGEST_URL));
const ITEM: Shape = URL.or_container(4 * LONGEST_URL);
const OUTPUT: Shape = URL.or_container(LARGEST).or_items(&ITEM, MOST);

const FIELDS: [(&str, Shape); 3] = [("id", WORD), ("output", OUTPUT), ("data_removed", FLAG)];

/// What is kept of an answer.
pub(super) const OUTPUTS: Shape = WORD.or_members(&FIELDS);

/// The files in an answer about the job with this ID.
pub(super) fn in_text(text: &str, id: &ProviderJobId) -> Result<Vec<OutputFile>, QueryError> {
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
    if found.left_out > 0 {
        st_log::debug!(
            logger: LOG, left_out = found.left_out,
            "Output of the job is in part no address, that part is not downloaded"
        );
    }
    Ok(found.files)
}

#[derive(Debug, Default)]
struct Found {
    files: Vec<OutputFile>,
    /// Texts that are data, words or too many.
    left_out: usize,
}

impl Found {
    fn search(&mut self, value: &Value, deeper: usize) {
        match value {
            Value::String(text) => match OutputFile::at(text) {
                Some(file) if self.files.contains(&file) => {}
                Some(file) if self.files.len() < MOST => self.files.push(file),
                Some(_) | None => self.left_out += 1,
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
            Value::Array(_) | Value::Object(_) => self.left_out += 1,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(output: &str) -> Vec<String> {
        let text = format!(r#"{{"id": "a1", "status": "succeeded", "output": {output}}}"#);
        let files = in_text(&text, &ProviderJobId::new("a1")).unwrap();
        files.into_iter().map(|file| file.url).collect()
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
    fn a_deleted_output_is_not_found_and_that_of_another_job_is_not_read() {
        let id = ProviderJobId::new("a1");
        let deleted = in_text(r#"{"id": "a1", "output": null, "data_removed": true}"#, &id);
        assert!(matches!(deleted, Err(QueryError::NotFound)), "{deleted:?}");
        let other = in_text(r#"{"id": "b2", "output": "https://x.example/a"}"#, &id);
        assert!(matches!(other, Err(QueryError::Unavailable(_))), "{other:?}");
    }
}
