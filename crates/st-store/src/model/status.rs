//! The three status words of a job, and which may follow which: one exhaustive table each.
//!
//! A job in memory has a [`Stage`](crate::model::Stage); the statuses are what a stage is called
//! outside.

use crate::model::text::text_enum;

text_enum! {
    /// The status of a job, in the order in which a job passes through them. It never moves backwards.
    JobStatus, "job status" {
        /// Waits here, for approval or for a slot; it was never claimed.
        Pending = "pending",
        /// Was claimed and is not yet at the provider, also between two attempts.
        Uploading = "uploading",
        /// At the provider, which has not begun.
        Queued = "queued",
        /// At the provider, which works on it.
        Running = "running",
        /// Ended successfully.
        Completed = "completed",
        /// Ended with an error.
        Failed = "failed",
        /// Ended by a user, a rejection, an expired approval or the provider.
        Cancelled = "cancelled",
    }
}

impl JobStatus {
    /// Whether it is final.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Uploading | Self::Queued | Self::Running => false,
        }
    }

    /// Whether it is not final.
    pub const fn is_active(self) -> bool {
        !self.is_terminal()
    }

    /// Whether a job may go from here to `next` in one step.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (
                Self::Pending,
                Self::Uploading | Self::Queued | Self::Running | Self::Failed | Self::Cancelled,
            )
            | (
                Self::Uploading,
                Self::Queued | Self::Running | Self::Completed | Self::Failed | Self::Cancelled,
            )
            | (Self::Queued, Self::Running | Self::Completed | Self::Failed | Self::Cancelled)
            | (Self::Running, Self::Completed | Self::Failed | Self::Cancelled) => true,
            (Self::Pending, Self::Pending | Self::Completed)
            | (Self::Uploading, Self::Pending | Self::Uploading)
            | (Self::Queued, Self::Pending | Self::Uploading | Self::Queued)
            | (Self::Running, Self::Pending | Self::Uploading | Self::Queued | Self::Running)
            | (Self::Completed | Self::Failed | Self::Cancelled, _) => false,
        }
    }
}

text_enum! {
    /// The status of a queue entry.
    QueueStatus, "queue status" {
        /// Awaits approval.
        Blocked = "blocked",
        /// Waits for a slot or a date.
        Pending = "pending",
        /// Claimed: its submission is in flight, or its outcome is not yet known.
        Ready = "ready",
        /// The job is at the provider.
        Running = "running",
        /// The job completed.
        Completed = "completed",
        /// The job failed, or was never allowed to run.
        Failed = "failed",
        /// The job was cancelled.
        Cancelled = "cancelled",
    }
}

impl QueueStatus {
    /// Whether it is final.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Blocked | Self::Pending | Self::Ready | Self::Running => false,
        }
    }

    /// Whether the entry takes a slot: from its claim until it is over.
    pub const fn takes_slot(self) -> bool {
        match self {
            Self::Ready | Self::Running => true,
            Self::Blocked | Self::Pending | Self::Completed | Self::Failed | Self::Cancelled => {
                false
            }
        }
    }

    /// Whether an entry may go from here to `next` in one step.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Blocked, Self::Pending | Self::Failed | Self::Cancelled)
            | (Self::Pending, Self::Ready | Self::Failed | Self::Cancelled)
            | (
                Self::Ready,
                Self::Pending | Self::Running | Self::Completed | Self::Failed | Self::Cancelled,
            )
            | (Self::Running, Self::Completed | Self::Failed | Self::Cancelled) => true,
            (Self::Blocked, Self::Blocked | Self::Ready | Self::Running | Self::Completed)
            | (Self::Pending, Self::Blocked | Self::Pending | Self::Running | Self::Completed)
            | (Self::Ready, Self::Blocked | Self::Ready)
            | (Self::Running, Self::Blocked | Self::Pending | Self::Ready | Self::Running)
            | (Self::Completed | Self::Failed | Self::Cancelled, _) => false,
        }
    }
}

text_enum! {
    /// The status of an approval request.
    ApprovalStatus, "approval status" {
        /// Awaits a decision.
        Pending = "pending",
        /// The job may run.
        Approved = "approved",
        /// The job may not run.
        Rejected = "rejected",
        /// Was not decided before its deadline.
        Expired = "expired",
        /// The job was cancelled before a decision.
        Cancelled = "cancelled",
    }
}

impl ApprovalStatus {
    /// Whether it is final.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending)
    }

    /// Whether a request may go from here to `next` in one step.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Pending, Self::Approved | Self::Rejected | Self::Expired | Self::Cancelled) => {
                true
            }
            (Self::Pending, Self::Pending)
            | (Self::Approved | Self::Rejected | Self::Expired | Self::Cancelled, _) => false,
        }
    }
}

text_enum! {
    /// How a provider ended a run that neither it nor its submitter brought to an end.
    ProviderEnding, "provider ending" {
        /// It was given up before it began or ended, for example because its time was over.
        Aborted = "aborted",
        /// Its machine was taken away or lost.
        Preempted = "preempted",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::{Display, Write};

    use super::*;

    fn table<S: Copy + Display>(all: &[S], may: impl Fn(S, S) -> bool) -> String {
        let mut out = String::new();
        for &from in all {
            let targets: Vec<String> =
                all.iter().filter(|&&to| may(from, to)).map(ToString::to_string).collect();
            writeln!(out, "{from} -> {}", targets.join(" ")).unwrap();
        }
        out
    }

    #[test]
    fn the_job_table_is_this_and_nothing_else() {
        let printed = table(JobStatus::ALL, JobStatus::may_become);
        assert_eq!(
            printed,
            "pending -> uploading queued running failed cancelled\n\
             uploading -> queued running completed failed cancelled\n\
             queued -> running completed failed cancelled\n\
             running -> completed failed cancelled\n\
             completed -> \nfailed -> \ncancelled -> \n"
        );
    }

    #[test]
    fn the_queue_table_is_this_and_nothing_else() {
        let printed = table(QueueStatus::ALL, QueueStatus::may_become);
        assert_eq!(
            printed,
            "blocked -> pending failed cancelled\n\
             pending -> ready failed cancelled\n\
             ready -> pending running completed failed cancelled\n\
             running -> completed failed cancelled\n\
             completed -> \nfailed -> \ncancelled -> \n"
        );
    }

    #[test]
    fn the_approval_table_is_this_and_nothing_else() {
        let printed = table(ApprovalStatus::ALL, ApprovalStatus::may_become);
        assert_eq!(
            printed,
            "pending -> approved rejected expired cancelled\n\
             approved -> \nrejected -> \nexpired -> \ncancelled -> \n"
        );
    }

    #[test]
    fn a_job_never_moves_backwards() {
        for &from in JobStatus::ALL {
            for &to in JobStatus::ALL {
                if from.may_become(to) {
                    assert!(to > from, "{from} -> {to}");
                }
            }
        }
    }

    #[test]
    fn words_are_read_back_and_unknown_ones_name_the_legal() {
        for &status in JobStatus::ALL {
            assert_eq!(status.as_str().parse::<JobStatus>().unwrap(), status);
        }
        let error = "done".parse::<JobStatus>().unwrap_err().to_string();
        assert!(error.contains("\"done\"") && error.contains("completed"), "{error}");
        assert_eq!(format!("{:>9}|", JobStatus::Queued), "   queued|");
    }
}
