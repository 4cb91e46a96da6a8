//! The provider's words for a job's status: the one place where they become ours.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use st_log::{Logger, get_logger};
use st_store::JobStatus;

const LOG: Logger = get_logger("simpletuner.cloud.replicate");

/// Unknown words that were warned about; each once. Locked for one word.
static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
/// A provider that invents a word for each job must not fill the memory.
const MOST_WARNED: usize = 100;
const LONGEST_WORD: usize = 100;

/// `None` for a word that is not known: the job keeps its status.
pub(super) fn parse_status(word: &str) -> Option<JobStatus> {
    match word {
        "starting" => Some(JobStatus::Queued),
        "processing" => Some(JobStatus::Running),
        "succeeded" => Some(JobStatus::Completed),
        "failed" => Some(JobStatus::Failed),
        // Aborted: its deadline passed before it began.
        "canceled" | "aborted" => Some(JobStatus::Cancelled),
        unknown => {
            let unknown: String = unknown.chars().take(LONGEST_WORD).collect();
            let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
            let new = warned.len() < MOST_WARNED && warned.insert(unknown.clone());
            drop(warned);
            if new {
                st_log::warning!(
                    logger: LOG, word = &*unknown,
                    "Provider uses a status that is not known, jobs keep their last one"
                );
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_word_has_its_meaning_and_others_have_none() {
        let table = [
            ("starting", Some(JobStatus::Queued)),
            ("processing", Some(JobStatus::Running)),
            ("succeeded", Some(JobStatus::Completed)),
            ("failed", Some(JobStatus::Failed)),
            ("canceled", Some(JobStatus::Cancelled)),
            ("aborted", Some(JobStatus::Cancelled)),
            ("cancelled", None),
            ("", None),
        ];
        for (word, status) in table {
            assert_eq!(parse_status(word), status, "{word}");
        }
    }
}
