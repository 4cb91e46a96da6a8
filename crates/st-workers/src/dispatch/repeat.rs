//! Submitting an attempt again where the provider recognizes it: by its key or by its name.
//!
//! Whatever became of the first submission, the answer to the repetition settles it: the provider has
//! one job, which it shows. Only a success does: that a repetition is refused does not say that the
//! first one was.

use std::sync::Arc;
use std::time::Duration;

use st_log::Chain;
use st_store::{AtMostOnce, Caution};

use super::{Assignment, Dispatcher, signed};
use crate::provider::{Arrivals, FoundJob, SubmitError};
use crate::search::{Finding, Wanted};

impl Dispatcher {
    /// Finds out what became of an attempt, in the way that its provider has for that.
    pub(super) async fn ask_about(self: &Arc<Self>, job: &Assignment, wanted: Wanted) -> Finding {
        match job.served.provider().arrivals() {
            // Of other attempts than this one nothing is known that could be repeated.
            Arrivals::Repeated { within, .. } if wanted.attempt.is_some() => {
                self.repeat(job, wanted, within).await
            }
            Arrivals::Repeated { .. }
            | Arrivals::Listed(_)
            | Arrivals::LookedUp(_)
            | Arrivals::Undecidable(_) => self.find(&job.served, wanted).await,
        }
    }

    async fn repeat(
        self: &Arc<Self>,
        job: &Assignment,
        wanted: Wanted,
        within: Duration,
    ) -> Finding {
        if let Some(reason) = job.served.not_of_account(wanted.account.as_ref()).await {
            return Finding::Unknown { reason };
        }
        // By the store's clock, which goes on while no process runs.
        let age = self.store.now().duration_since(job.attempt.claimed_at);
        if age >= signed(within) || job.caution == Caution::ReconcileOnly {
            return match self.find(&job.served, wanted).await {
                Finding::Absent { .. } if age >= signed(within) => Finding::Unknown {
                    reason: format!(
                        "it was made more than {within:?} ago, and the provider may not recognize \
                         a repetition any more"
                    ),
                },
                finding @ (Finding::Found { .. }
                | Finding::Absent { .. }
                | Finding::Unknown { .. }) => finding,
            };
        }
        let submission = match self.submission(job).await {
            Ok(submission) => submission,
            Err(_failure) => {
                return Finding::Unknown { reason: "its input could not be read".to_owned() };
            }
        };
        let answer = {
            let _permit = self.submit_permit(job.caution).await;
            job.served.submit(&submission).await
        };
        match answer {
            Ok(status) => {
                let jobs = vec![FoundJob { marker: job.marker(), status }];
                Finding::Found { jobs, complete: true }
            }
            // What is refused under our name and is not there will not be there.
            Err(SubmitError::Rejected { .. })
                if job.attempt.guarantee == AtMostOnce::ChosenName =>
            {
                self.find(&job.served, wanted).await
            }
            Err(error) => Finding::Unknown { reason: Chain(&error).to_string() },
        }
    }
}
