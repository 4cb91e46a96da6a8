//! How far jobs had come a moment ago. A page that is open asks again and again, and each question is
//! a call of which the account has only so many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use st_store::ProviderJobId;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::classify::repeated;
use crate::provider::{Progress, QueryError};

/// How long an answer counts.
const KEEP: Duration = Duration::from_secs(5);

type Answer = Result<Option<Progress>, QueryError>;

/// The last answer about each job that was asked about.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Guards which jobs were asked about; never held during a call.
    jobs: Mutex<BTreeMap<ProviderJobId, Arc<Slot>>>,
}

/// Held during a call, so that all who wait for the same answer share it.
type Slot = AsyncMutex<Option<Known>>;

#[derive(Debug)]
struct Known {
    answer: Answer,
    at: Instant,
}

impl Known {
    fn counts(&self) -> bool {
        self.at.elapsed() < KEEP
    }
}

impl Recent {
    /// The answer of a moment ago, else that of `ask`.
    pub(super) async fn or_ask(
        &self,
        id: &ProviderJobId,
        ask: impl Future<Output = Answer>,
    ) -> Answer {
        let slot = self.slot(id);
        let mut slot = slot.lock().await;
        if let Some(known) = slot.as_ref().filter(|known| known.counts()) {
            return copy(&known.answer);
        }
        let answer = ask.await;
        *slot = Some(Known { answer: copy(&answer), at: Instant::now() });
        answer
    }

    fn slot(&self, id: &ProviderJobId) -> Arc<Slot> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = |slot: &Arc<Slot>| {
            slot.try_lock().is_ok_and(|known| known.as_ref().is_some_and(Known::counts))
        };
        jobs.retain(|_, slot| Arc::strong_count(slot) > 1 || counts(slot));
        Arc::clone(jobs.entry(id.clone()).or_default())
    }
}

fn copy(answer: &Answer) -> Answer {
    match answer {
        Ok(progress) => Ok(progress.clone()),
        Err(QueryError::NotFound) => Err(QueryError::NotFound),
        Err(QueryError::Unavailable(failure)) => Err(repeated(failure)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_count_any_more_is_not_kept() {
        let recent = Recent::default();
        let ask = async |id: &str| {
            let answer = async { Ok(Progress::in_log("step 1/2")) };
            recent.or_ask(&ProviderJobId::new(id), answer).await.unwrap()
        };
        let kept = || recent.jobs.lock().unwrap().len();
        assert!(ask("a").await.is_some());
        ask("b").await;
        assert_eq!(kept(), 2);
        tokio::time::advance(KEEP).await;
        ask("c").await;
        assert_eq!(kept(), 1);
    }
}
