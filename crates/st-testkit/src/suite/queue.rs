//! The queue.

use jiff::SignedDuration;
use st_store::{
    Error, Failure, JobStatus, JobType, Limits, OrgId, Priority, QueueFilter, QueueStatus, Refusal,
    Retried, Source, TeamId,
};

use super::{Shared, accepted, at, claim, claiming, id, job, numbers, submit};

pub async fn every_limit_holds(store: &Shared) {
    let limits =
        Limits { global: 6, per_user: 2, per_team: 3, per_org: 4, local: 1, fair_share: false };
    store.set_limits(limits, at(0)).await.unwrap();
    for number in 0..20 {
        let mut new = job(number, &format!("user-{}", number % 5));
        new.owner.team = (number % 2 == 0).then(|| TeamId::new("team"));
        new.owner.org = (number % 3 == 0).then(|| OrgId::new("org"));
        new.job_type = if number % 4 == 0 { JobType::Local } else { JobType::Cloud };
        submit(store, new, i64::from(number)).await;
    }
    let claims = claim(store, 30).await;
    let count = |of: &dyn Fn(&st_store::Work) -> bool| {
        claims.iter().filter(|claim| of(&claim.work)).count()
    };
    assert_eq!(claims.len(), 6, "no more than in all");
    for user in 0..5 {
        let user = format!("user-{user}");
        assert!(count(&|work| work.job.owner.user.as_str() == user) <= 2, "{user}");
    }
    assert!(count(&|work| work.job.owner.team.is_some()) <= 3);
    assert!(count(&|work| work.job.owner.org.is_some()) <= 4);
    assert!(count(&|work| work.job.job_type == JobType::Local) <= 1);
    assert!(claim(store, 31).await.is_empty(), "there is no slot left");
}

pub async fn simultaneous_claims_never_exceed_a_limit(store: &Shared) {
    for number in 0..20 {
        submit(store, job(number, &format!("user-{}", number % 4)), 0).await;
    }
    let claims = (0..8).map(|_| {
        let store = std::sync::Arc::clone(store);
        st_log::spawn(async move { store.claim(claiming(3), at(1)).await.unwrap() })
    });
    let mut claimed = Vec::new();
    for claims in claims.collect::<Vec<_>>() {
        claimed.extend(numbers(&claims.await.unwrap()));
    }
    assert_eq!(claimed.len(), 5, "five in all, whoever asks");
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), 5, "none twice");
}

pub async fn earlier_deadlines_go_first(store: &Shared) {
    let limits = Limits { global: 50, per_user: 20, ..Limits::default() };
    store.set_limits(limits, at(0)).await.unwrap();
    let with = |number: u8, priority: i64| {
        let mut new = job(number, "ann");
        new.priority_override = Some(Priority::new(priority).unwrap());
        new
    };
    submit(store, with(1, 10), 0).await;
    submit(store, with(2, 10), 60).await;
    submit(store, with(3, 30), 120).await;
    submit(store, with(4, 50), 180).await;
    // Six minutes a point: what is one point more urgent and five hours younger has waited less.
    submit(store, with(5, 11), 300).await;
    assert_eq!(numbers(&claim(store, 400).await), [4, 3, 5, 1, 2]);
}

pub async fn an_owner_at_the_limit_blocks_nobody_else(store: &Shared) {
    for number in 0..30 {
        submit(store, job(number, "greedy"), 0).await;
    }
    submit(store, job(100, "modest"), 100).await;
    assert_eq!(numbers(&claim(store, 101).await), [0, 1, 100]);
}

pub async fn fair_share_serves_who_has_less(store: &Shared) {
    let limits = Limits { global: 4, per_user: 4, fair_share: true, ..Limits::default() };
    store.set_limits(limits, at(0)).await.unwrap();
    for number in 0..4 {
        submit(store, job(number, "first"), 0).await;
    }
    for number in 10..12 {
        submit(store, job(number, "second"), 50).await;
    }
    assert_eq!(numbers(&claim(store, 60).await), [0, 10, 1, 11]);
}

pub async fn a_delayed_job_waits_and_then_goes(store: &Shared) {
    let mut new = job(1, "ann");
    new.not_before = Some(at(100));
    submit(store, new, 0).await;
    assert!(claim(store, 99).await.is_empty());
    assert_eq!(store.next_due().await.unwrap(), Some(at(100)));
    assert_eq!(store.queue_stats().await.unwrap().oldest_claimable_at, None);
    assert_eq!(numbers(&claim(store, 100).await), [1]);
}

pub async fn a_stale_token_writes_nothing(store: &Shared) {
    submit(store, job(1, "ann"), 0).await;
    let old = claim(store, 1).await[0].work.entry.token;
    store.rescue(claiming(10), at(100)).await.unwrap();
    let before = crate::dump::dump(store.as_ref()).await;
    let failure = Failure::Final { error: "x".to_owned() };
    let report = accepted(1);
    let refused = [
        store.hold(id(1), old, at(200), at(200)).await.unwrap_err(),
        store.record_submitted(id(1), old, &report, at(101)).await.unwrap_err(),
        store.give_back(id(1), old, failure, at(101)).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, Error::Refused(Refusal::StaleAttempt { .. })), "{error}");
    }
    let reports = vec![(id(1), old, report)];
    let recorded = store.record_statuses(reports, Source::Poll, at(101)).await.unwrap();
    assert!(matches!(recorded[0], Err(Error::Refused(Refusal::StaleAttempt { .. }))));
    assert_eq!(crate::dump::dump(store.as_ref()).await, before);
}

pub async fn a_rescue_takes_a_fresh_token(store: &Shared) {
    submit(store, job(1, "ann"), 0).await;
    let claimed = claim(store, 1).await.remove(0).work;
    assert!(store.rescue(claiming(10), at(90)).await.unwrap().is_empty(), "the lease holds");
    let rescued = store.rescue(claiming(10), at(91)).await.unwrap().remove(0);
    assert_eq!(rescued.work.entry.token, claimed.entry.token.next());
    let (before, after) = (claimed.entry.lease.unwrap(), rescued.work.entry.lease.unwrap());
    assert_eq!((after.since, after.resubmit_after), (before.since, before.resubmit_after));
    assert_eq!(after.until, at(91 + 90));
    assert_eq!(rescued.work.entry.attempt, 1, "being rescued is no attempt");
    assert_eq!(rescued.input["config"]["n"], 1);
}

pub async fn leases_of_a_dead_process_end_at_once(store: &Shared) {
    for number in 1..=2 {
        submit(store, job(number, &format!("user-{number}")), 0).await;
    }
    claim(store, 1).await;
    assert_eq!(store.release_leases(at(2)).await.unwrap(), 2);
    assert_eq!(store.rescue(claiming(10), at(2)).await.unwrap().len(), 2);
}

pub async fn attempts_run_out(store: &Shared) {
    submit(store, job(1, "ann"), 0).await;
    for attempt in 1..=3 {
        let now = i64::from(attempt) * 100;
        let claimed = claim(store, now).await.remove(0).work;
        assert_eq!(claimed.entry.attempt, attempt);
        let failure = Failure::Passing { error: "flaky".to_owned(), retry_at: at(now + 50) };
        let token = claimed.entry.token;
        let retried = store.give_back(id(1), token, failure, at(now + 1)).await.unwrap();
        if attempt < 3 {
            assert_eq!(retried, Retried::Waiting(attempt + 1));
            assert!(claim(store, now + 49).await.is_empty(), "it waits for its time");
        } else {
            assert_eq!(retried, Retried::Exhausted);
        }
    }
    let filter = QueueFilter { status: Some(QueueStatus::Failed), include_completed: false };
    let failed = store.list_entries(filter, st_store::PageRequest::default()).await.unwrap();
    assert_eq!(failed.items[0].job.status, JobStatus::Failed);
    assert_eq!(failed.items[0].job.error_message.as_deref(), Some("flaky"));
}

pub async fn a_final_failure_is_final(store: &Shared) {
    submit(store, job(1, "ann"), 0).await;
    let token = claim(store, 1).await[0].work.entry.token;
    let failure = Failure::Final { error: "bad input".to_owned() };
    store.give_back(id(1), token, failure.clone(), at(2)).await.unwrap();
    assert!(claim(store, 1_000_000).await.is_empty());
    let again = store.give_back(id(1), token, failure, at(3)).await.unwrap_err();
    assert!(matches!(again, Error::Refused(Refusal::WrongState { .. })), "{again}");
}

pub async fn a_provider_job_is_adopted_once(store: &Shared) {
    for number in 1..=2 {
        submit(store, job(number, &format!("user-{number}")), 0).await;
    }
    let tokens: Vec<_> = claim(store, 1).await.iter().map(|it| it.work.entry.token).collect();
    store.record_submitted(id(1), tokens[0], &accepted(7), at(2)).await.unwrap();
    let twice = store.record_submitted(id(2), tokens[1], &accepted(7), at(2)).await.unwrap_err();
    assert!(matches!(twice, Error::Refused(Refusal::AlreadyAdopted(_))), "{twice}");
}

pub async fn positions_and_numbers_are_right(store: &Shared) {
    for number in 0..5 {
        submit(store, job(number, "ann"), i64::from(number)).await;
    }
    claim(store, 10).await;
    let mut positions = Vec::new();
    for number in 0..5 {
        positions.push(store.position(id(number)).await.unwrap());
    }
    assert_eq!(positions, [None, None, Some(1), Some(2), Some(3)]);
    let stats = store.queue_stats().await.unwrap();
    assert_eq!((stats.count(QueueStatus::Pending), stats.count(QueueStatus::Ready)), (3, 2));
    assert_eq!(stats.by_user.values().sum::<u64>(), 5);
    assert_eq!(stats.avg_wait_seconds, Some(9.5), "10 and 9 seconds");
    assert_eq!(stats.oldest_claimable_at, Some(at(2)));
    let page = st_store::PageRequest { limit: 2, offset: 1 };
    let filter = QueueFilter { status: None, include_completed: true };
    let listed = store.list_entries(filter, page).await.unwrap();
    assert_eq!((listed.items.len(), listed.total), (2, 5));
    assert!(store.next_due().await.unwrap() == Some(at(10) + SignedDuration::from_secs(90)));
}
