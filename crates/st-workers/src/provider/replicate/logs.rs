//! What a job printed.

use st_store::ProviderJobId;

use super::classify::unreadable;
use super::fields::{lossy_text, pick, read};
use super::row::{FLAG, WORD};
use crate::provider::QueryError;
use crate::provider::excerpt::{Keep, Shape};

/// Bytes as they are written in JSON. The end of a log says what happened.
const LONGEST_LOG: usize = 1024 * 1024;

const FIELDS: [(&str, Shape); 3] =
    [("id", WORD), ("logs", Shape::text(Keep::End(LONGEST_LOG))), ("data_removed", FLAG)];

/// What is kept of an answer.
pub(super) const LOGS: Shape = WORD.or_members(&FIELDS);

/// The log in an answer about the job with this ID.
pub(super) fn in_text(text: &str, id: &ProviderJobId) -> Result<String, QueryError> {
    let names = FIELDS.map(|(name, _)| name);
    let [of, logs, data_removed] = pick(text, names).map_err(unreadable)?;
    if read::<String>(of).as_deref() != Some(id.as_str()) {
        return Err(unreadable("it is about another job"));
    }
    // No logs are something else than logs that were deleted.
    if read(data_removed) == Some(true) {
        return Err(QueryError::NotFound);
    }
    Ok(lossy_text(logs).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(json: &str) -> Result<String, QueryError> {
        in_text(json, &ProviderJobId::new("a1"))
    }

    #[test]
    fn a_log_that_is_cut_inside_a_character_is_still_a_log() {
        let log = logs(r#"{"id": "a1", "status": "failed", "logs": "step 1\n\ud83d"}"#).unwrap();
        assert!(log.starts_with("step 1\n"), "{log:?}");
    }

    #[test]
    fn no_log_is_empty_and_one_that_was_deleted_is_not_found() {
        for none in [r#"{"id": "a1", "logs": null}"#, r#"{"id": "a1", "logs": ["x"]}"#] {
            assert_eq!(logs(none).unwrap(), "", "{none}");
        }
        let deleted = logs(r#"{"id": "a1", "logs": "", "data_removed": true}"#);
        assert!(matches!(deleted, Err(QueryError::NotFound)), "{deleted:?}");
    }

    #[test]
    fn a_log_of_another_job_is_not_shown() {
        for other in [r#"{"id": "b2", "logs": "x"}"#, r#"{"logs": "x"}"#, "[]", ""] {
            assert!(matches!(logs(other), Err(QueryError::Unavailable(_))), "{other}");
        }
    }
}
