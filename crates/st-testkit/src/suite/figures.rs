//! What is stored, in numbers.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use st_store::{
    ApprovalStatus, ClockEvidence, Figures, JobStatus, LimitsPatch, NewAudit, Outcome,
    ProviderName, QueueStatus, Scope, Verdict, WaitReason,
};

use super::{Harness, at, costs_more_than, decision, fake, job, status, user};

async fn figures(harness: &Harness) -> Figures {
    harness.store.figures().await.unwrap()
}

/// Jobs of the usual provider, by status.
fn jobs<const N: usize>(counts: [(JobStatus, u64); N]) -> BTreeMap<(ProviderName, JobStatus), u64> {
    counts.into_iter().map(|(status, count)| ((fake(), status), count)).collect()
}

pub async fn what_is_stored_is_counted_in_every_stage(harness: &Harness) {
    assert_eq!(figures(harness).await, Figures::default());
    harness.store.add_rule(costs_more_than("50")).await.unwrap();
    harness.blocked(1, 60).await;
    let rejected = harness.blocked(2, 90).await;
    harness.store.decide(rejected, &decision(Verdict::Reject)).await.unwrap();
    harness.go_to(5);
    let record = harness.at_provider(3).await;
    let report = Outcome::Reported(status(3, JobStatus::Completed));
    harness.settle(&record, report).await.unwrap();
    harness.at_provider(4).await;
    let unresolved = harness.claimed(5).await;
    harness.go_to(7);
    let error = "no answer".to_owned();
    harness.settle(&unresolved, Outcome::Unresolved { error, panics: None }).await.unwrap();
    let mut later = job(6, "ann");
    later.run_after = Some(at(600));
    harness.submit(later).await;
    harness.go_to(8);
    harness.submit(job(7, "ann")).await;
    harness.go_to(9);
    harness.submit(job(8, "ann")).await;
    let expected = Figures {
        jobs: jobs([
            (JobStatus::Pending, 4),
            (JobStatus::Uploading, 1),
            (JobStatus::Queued, 1),
            (JobStatus::Completed, 1),
            (JobStatus::Cancelled, 1),
        ]),
        entries: BTreeMap::from([
            (QueueStatus::Blocked, 1),
            (QueueStatus::Pending, 3),
            (QueueStatus::Ready, 1),
            (QueueStatus::Running, 1),
            (QueueStatus::Completed, 1),
            (QueueStatus::Failed, 1),
        ]),
        claimable: BTreeMap::from([((fake(), WaitReason::Nothing), 2)]),
        delayed: 1,
        oldest_claimable_at: Some(at(8)),
        oldest_unresolved_at: Some(at(7)),
        approvals: BTreeMap::from([(ApprovalStatus::Pending, 1), (ApprovalStatus::Rejected, 1)]),
        next_expiry_at: Some(at(60)),
        audit_entries: 0,
        audit_entries_of_day: 0,
    };
    assert_eq!(figures(harness).await, expected);
}

pub async fn what_waits_is_counted_by_what_keeps_it(harness: &Harness) {
    let store = &harness.store;
    let one = LimitsPatch { per_user: Some(1), ..LimitsPatch::default() };
    store.patch_limits(one, &user("admin")).await.unwrap();
    harness.submit(job(1, "ann")).await;
    assert_eq!(harness.claim().await.len(), 1);
    for number in 2..=3 {
        harness.submit(job(number, "ann")).await;
    }
    harness.submit(job(4, "bob")).await;
    let scope = Scope::Provider(ProviderName::new("other"));
    store.pause(scope, None, &user("admin")).await.unwrap();
    let mut elsewhere = job(5, "joe");
    elsewhere.provider = ProviderName::new("other");
    harness.submit(elsewhere).await;
    let expected = BTreeMap::from([
        ((fake(), WaitReason::Nothing), 1),
        ((fake(), WaitReason::Limit), 2),
        ((ProviderName::new("other"), WaitReason::Hold), 1),
    ]);
    assert_eq!(figures(harness).await.claimable, expected);
}

pub async fn the_trail_is_counted_as_a_whole_and_of_the_last_day(harness: &Harness) {
    const DAY: u64 = 24 * 3600;
    let append = async |seconds| {
        harness.go_to(seconds);
        let entries = vec![NewAudit::new("one", 200), NewAudit::new("two", 200)];
        harness.store.append_audit(entries).await.unwrap();
    };
    let counts = async || {
        let Figures { audit_entries, audit_entries_of_day, .. } = figures(harness).await;
        (audit_entries, audit_entries_of_day)
    };
    append(0).await;
    append(DAY).await;
    assert_eq!(counts().await, (4, 4));
    harness.go_to(DAY + 1);
    assert_eq!(counts().await, (4, 2));
    harness.store.confirm_clock(ClockEvidence::Operator);
    let keep_for = Some(SignedDuration::from_secs(DAY.cast_signed()));
    harness.store.prune(keep_for, 10).await.unwrap();
    assert_eq!(counts().await, (2, 2));
    harness.go_to(9 * DAY);
    assert_eq!(counts().await, (2, 0));
}
