//! The audit trail: appended, read and pruned.

use jiff::SignedDuration;
use st_log::CorrelationId;
use st_store::{
    Actor, Audit, AuditFilter, ClockEvidence, KeyId, NewAudit, ProviderName, Pruned, UserId,
};

use super::{Harness, at, id, user};

const DAY: u64 = 24 * 3600;

fn entry(name: &str) -> NewAudit {
    NewAudit::new(name, 200)
}

async fn append(harness: &Harness, seconds: u64, names: &[&str]) {
    harness.go_to(seconds);
    harness.store.append_audit(names.iter().map(|name| entry(name)).collect()).await.unwrap();
}

/// The names of all entries, read in pages of `max`.
async fn read(harness: &Harness, mut filter: AuditFilter, max: u32) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let page = harness.store.audit(&filter, max).await.unwrap();
        assert!(page.entries.len() <= max as usize);
        assert_eq!(page.damaged, []);
        names.extend(page.entries.into_iter().map(|it| it.entry.operation));
        filter.before = page.next;
        if filter.before.is_none() {
            return names;
        }
    }
}

async fn all(harness: &Harness) -> Vec<String> {
    read(harness, AuditFilter::default(), 500).await
}

pub async fn the_trail_is_read_newest_first_and_in_pages(harness: &Harness) {
    let full = NewAudit {
        actor: Some(user("ann")),
        key: Some(KeyId::new("k1")),
        operation: "jobs.cancel".to_owned(),
        object: Some("p-1".to_owned()),
        job: Some(id(1)),
        peer: Some("2001:db8::7".parse().unwrap()),
        correlation_id: Some(CorrelationId::parse("c-1").unwrap()),
        status: 403,
        times: 7,
    };
    harness.go_to(3);
    harness.store.append_audit(vec![full.clone()]).await.unwrap();
    let page = harness.store.audit(&AuditFilter::default(), 9).await.unwrap();
    let [Audit { at: written, entry: found, .. }] = &page.entries[..] else { panic!("{page:?}") };
    assert_eq!((*written, found, page.next), (at(3), &full, None));
    append(harness, 5, &["b"]).await;
    append(harness, 9, &["c", "d"]).await;
    for max in [1, 2, 3, 4, 9] {
        let read = read(harness, AuditFilter::default(), max).await;
        assert_eq!(read, ["d", "c", "b", "jobs.cancel"], "in pages of {max}");
    }
}

pub async fn the_trail_is_read_by_actor_job_and_date(harness: &Harness) {
    let of = |name: &str, actor: Option<Actor>, job: Option<u8>| NewAudit {
        actor,
        job: job.map(id),
        ..entry(name)
    };
    let rows = [
        of("1", Some(user("ann")), Some(1)),
        of("2", Some(user("ben")), Some(1)),
        of("3", Some(user("ann")), Some(2)),
        of("4", Some(Actor::Operator), None),
        of("5", Some(Actor::Webhook(ProviderName::new("replicate"))), Some(2)),
        of("6", None, None),
    ];
    for (second, row) in rows.into_iter().enumerate() {
        harness.go_to(second as u64);
        harness.store.append_audit(vec![row]).await.unwrap();
    }
    let filter = |actor: Option<&str>, job: Option<u8>, since: Option<i64>| AuditFilter {
        actor: actor.map(str::to_owned),
        job: job.map(id),
        since: since.map(at),
        before: None,
    };
    for (filter, expected) in [
        (filter(Some("ann"), None, None), &["3", "1"][..]),
        (filter(Some("ann"), None, Some(1)), &["3"]),
        (filter(Some("nobody"), None, None), &[]),
        (filter(None, Some(1), None), &["2", "1"]),
        (filter(None, Some(2), Some(4)), &["5"]),
        (filter(Some("ben"), Some(1), None), &["2"]),
        (filter(Some("ben"), Some(2), None), &[]),
        (filter(None, None, Some(3)), &["6", "5", "4"]),
        (filter(Some("replicate"), None, None), &["5"]),
    ] {
        for max in [1, 2, 500] {
            assert_eq!(read(harness, filter.clone(), max).await, expected, "{filter:?}");
        }
    }
}

pub async fn entries_of_one_moment_come_once(harness: &Harness) {
    append(harness, 1, &["a", "b", "c"]).await;
    append(harness, 1, &["d"]).await;
    let actor = |name: &str| NewAudit { actor: Some(user("ann")), job: Some(id(1)), ..entry(name) };
    harness.store.append_audit(vec![actor("e"), actor("f"), actor("g")]).await.unwrap();
    assert_eq!(read(harness, AuditFilter::default(), 2).await, ["g", "f", "e", "d", "c", "b", "a"]);
    let ann = AuditFilter { actor: Some("ann".to_owned()), ..AuditFilter::default() };
    assert_eq!(read(harness, ann, 1).await, ["g", "f", "e"]);
    let of_job = AuditFilter { job: Some(id(1)), ..AuditFilter::default() };
    assert_eq!(read(harness, of_job, 1).await, ["g", "f", "e"]);
}

pub async fn old_entries_are_deleted_in_chunks(harness: &Harness) {
    append(harness, 0, &["a", "b", "c"]).await;
    append(harness, DAY, &["d"]).await;
    let prune =
        async |keep_for: Option<SignedDuration>| harness.store.prune(keep_for, 2).await.unwrap();
    let keep_for = Some(SignedDuration::from_hours(48));
    harness.go_to(2 * DAY - 1);
    assert_eq!(prune(keep_for).await, Pruned::default());
    harness.go_to(2 * DAY);
    assert_eq!(prune(None).await, Pruned::default(), "all are kept");
    let jobs_alone = harness.store.prune_jobs(SignedDuration::ZERO, 9).await.unwrap();
    assert_eq!(jobs_alone, Pruned::default());
    assert_eq!(all(harness).await, ["d", "c", "b", "a"], "a deletion of old jobs keeps the trail");
    let first = prune(keep_for).await;
    assert_eq!((first.audit, first.more), (2, true));
    assert_eq!(all(harness).await, ["d", "c"]);
    let second = prune(keep_for).await;
    assert_eq!((second.audit, second.more), (1, false));
    assert_eq!(all(harness).await, ["d"]);
    harness.clock.step(SignedDuration::from_hours(24 * 400));
    let refused = prune(keep_for).await;
    assert_eq!(refused, Pruned { clock_unconfirmed: true, ..Pruned::default() });
    assert_eq!(all(harness).await, ["d"]);
    harness.store.confirm_clock(ClockEvidence::Operator);
    assert_eq!(prune(keep_for).await.audit, 1);
}

pub async fn what_cannot_be_stored_is_replaced(harness: &Harness) {
    let bad = NewAudit {
        actor: Some(Actor::User(UserId::new("a\0b"))),
        object: Some("\0".to_owned()),
        ..entry("x\0")
    };
    harness.store.append_audit(vec![bad]).await.unwrap();
    let found = harness.store.audit(&AuditFilter::default(), 1).await.unwrap().entries.remove(0);
    assert_eq!(found.entry.actor, Some(user("a\u{fffd}b")));
    assert_eq!(
        (found.entry.operation.as_str(), found.entry.object.as_deref()),
        ("x\u{fffd}", Some("\u{fffd}"))
    );
}
