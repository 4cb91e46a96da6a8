//! The words of an event: its type, its subject and its statuses, as clients read them.

use jiff::Timestamp;

use super::*;

fn job() -> JobId {
    JobId::new(Timestamp::UNIX_EPOCH, [1; 10])
}

fn of_job(from: Option<JobStatus>, to: JobStatus) -> Change {
    Change::Job { job: job(), from, to, message: None }
}

fn of_queue(from: Option<QueueStatus>, to: QueueStatus) -> Change {
    Change::Queue { job: job(), from, to, message: Some("why".to_owned()) }
}

fn of_approval(from: Option<ApprovalStatus>, to: ApprovalStatus) -> Change {
    let (id, message) = (ApprovalId(1), "because".to_owned());
    Change::Approval { job: job(), id, from, to, message }
}

fn of_priority() -> Change {
    Change::Priority { job: job(), message: "priority from 10 to 35".to_owned() }
}

fn deleted() -> Change {
    let owner = UserId::new("ann");
    Change::Deleted { job: job(), owner, from: JobStatus::Failed }
}

#[test]
fn types_subjects_and_jobs_are_as_promised() {
    let provider = ProviderName::new("fake");
    let settings = Change::Provider { provider, message: "webhook_url".to_owned() };
    let limits = Change::Limits { message: "max_concurrent from 5 to 7".to_owned() };
    let pending = Some(ApprovalStatus::Pending);
    let table = [
        (of_job(None, JobStatus::Pending), "job_status_changed", "job", true),
        (of_queue(None, QueueStatus::Blocked), "queue_changed", "queue", true),
        (of_approval(None, ApprovalStatus::Pending), "approval_required", "approval", true),
        (of_approval(pending, ApprovalStatus::Approved), "approval_decided", "approval", true),
        (of_approval(pending, ApprovalStatus::Rejected), "approval_decided", "approval", true),
        (of_approval(pending, ApprovalStatus::Cancelled), "approval_decided", "approval", true),
        (of_approval(pending, ApprovalStatus::Expired), "approval_expired", "approval", true),
        (of_priority(), "queue_changed", "queue", true),
        (deleted(), "job_deleted", "job", true),
        (settings, "provider_changed", "provider", false),
        (limits, "limits_changed", "limits", false),
    ];
    for (change, event_type, subject, has_job) in table {
        let words = (change.event_type(), change.subject(), change.job());
        assert_eq!(words, (event_type, subject, has_job.then(job)), "{change:?}");
    }
}

#[test]
fn statuses_are_the_words_of_their_own_subject() {
    for &to in JobStatus::ALL {
        for from in std::iter::once(None).chain(JobStatus::ALL.iter().copied().map(Some)) {
            let words = (from.map(JobStatus::as_str), Some(to.as_str()));
            assert_eq!(of_job(from, to).statuses(), words);
            assert_eq!(of_job(from, to).event_type(), "job_status_changed");
        }
    }
    for &to in QueueStatus::ALL {
        let change = of_queue(Some(QueueStatus::Ready), to);
        assert_eq!(change.statuses(), (Some("ready"), Some(to.as_str())));
    }
    for &to in ApprovalStatus::ALL {
        let change = of_approval(Some(ApprovalStatus::Pending), to);
        assert_eq!(change.statuses(), (Some("pending"), Some(to.as_str())));
    }
    let limits = Change::Limits { message: String::new() };
    assert_eq!(limits.statuses(), (None, None));
    assert_eq!(of_priority().statuses(), (None, None));
    assert_eq!(deleted().statuses(), (Some("failed"), None));
}

#[test]
fn a_message_is_what_there_is_to_say() {
    assert_eq!(of_job(None, JobStatus::Failed).message(), None);
    assert_eq!(of_queue(None, QueueStatus::Failed).message(), Some("why"));
    assert_eq!(of_approval(None, ApprovalStatus::Pending).message(), Some("because"));
    let provider = ProviderName::new("fake");
    let settings = Change::Provider { provider, message: "webhook_url".to_owned() };
    assert_eq!(settings.message(), Some("webhook_url"));
    assert_eq!(of_priority().message(), Some("priority from 10 to 35"));
    assert_eq!(deleted().message(), None);
    assert_eq!(Change::Limits { message: "more".to_owned() }.message(), Some("more"));
}

#[test]
fn clients_read_who_made_a_change_as_its_source() {
    let provider = || ProviderName::new("fake");
    let sources = [
        (Actor::User(UserId::new("ann")), "user"),
        (Actor::Operator, "user"),
        (Actor::Poller, "poll"),
        (Actor::Provider(provider()), "poll"),
        (Actor::Scheduler, "scheduler"),
        (Actor::Expirer, "expirer"),
        (Actor::Webhook(provider()), "webhook"),
    ];
    for (actor, source) in sources {
        assert_eq!(actor.source(), source, "{actor}");
    }
}
