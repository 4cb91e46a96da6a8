//! What SQLite keeps of fair share: across restarts, and no more than is needed.

use st_store::{
    Actor, JobStatus, Limit, LimitsPatch, Outcome, ShareScope, ShareTime, UserId, Weight,
};
use st_testkit::suite::{at, claiming, failed, id, job, numbers, status};

use super::bench::Bench;

const HOUR: u64 = 3600;

/// Fair share with a half-life of an hour.
async fn share(bench: &Bench, slots: u32) {
    let mut patch = LimitsPatch { fair_share: Some(true), ..LimitsPatch::default() };
    for limit in [Limit::Global, Limit::User] {
        patch.set(limit, slots);
    }
    patch.set_time(ShareTime::HalfLife, 1);
    bench.store.patch_limits(patch, &Actor::Operator).await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_what_was_used_and_what_is_charged() {
    let bench = Bench::new().await;
    share(&bench, 2).await;
    let scope = ShareScope::User(UserId::new("bob"));
    bench.store.set_weight(&scope, Weight::new(0.5).ok(), &Actor::Operator).await.unwrap();
    for (number, name) in [(1, "ann"), (2, "bob"), (3, "bob"), (4, "ann"), (5, "new")] {
        bench.submit(job(number, name)).await;
    }
    assert_eq!(numbers(&bench.claim().await), [1, 2]);
    let shown = async |bench: &Bench| {
        let dump = bench.dump().await;
        let lines = dump.lines().filter(|it| it.starts_with("used ") || it.starts_with("weights "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = shown(&bench).await;
    let bench = bench.reopened(at(0)).await;
    assert_eq!(shown(&bench).await, before);
    assert_eq!(bench.rows("SELECT COUNT(*) AS n FROM share_charges"), "n=2");
    for number in [1, 2] {
        bench.settle(&bench.found(number).await, failed(90_000)).await.unwrap();
    }
    assert_eq!(bench.store.share_usage().await.unwrap(), [], "each took back its own charge");
    assert_eq!(bench.rows("SELECT * FROM share_charges"), "");
    assert_eq!(numbers(&bench.claim().await), [3, 4]);
    let bench = bench.reopened(at(0)).await;
    bench.settle(&bench.found(3).await, failed(90_000)).await.unwrap();
    assert_eq!(numbers(&bench.claim().await), [5], "who has a slot goes after who has none");
}

#[tokio::test]
async fn the_clock_of_a_restart_may_be_behind_what_was_used() {
    let bench = Bench::new().await;
    share(&bench, 2).await;
    bench.submit(job(1, "ann")).await;
    bench.claim().await;
    let lasts = |bench: &Bench| bench.rows("SELECT check_at - used_at AS lasts FROM share_usage");
    let before = lasts(&bench);
    let bench = bench.reopened(at(-7200)).await;
    let usage = bench.store.share_usage().await.unwrap().remove(0).1;
    assert_eq!(usage.at(), at(-7200));
    assert_eq!(lasts(&bench), before);
    let charged = bench.rows("SELECT charged_at FROM share_charges");
    assert_eq!(charged, format!("charged_at={}", at(-7200).as_millisecond()));
}

#[tokio::test]
async fn usage_of_which_nothing_is_left_is_dropped_a_little_with_each_claim() {
    let bench = Bench::new().await;
    share(&bench, 60).await;
    for number in 1..=20 {
        bench.submit(job(number, &format!("user-{number}"))).await;
    }
    for claim in bench.claim().await {
        let number = st_testkit::suite::number(&claim.record);
        bench
            .settle(&claim.record, Outcome::Submitted(status(number, JobStatus::Queued)))
            .await
            .unwrap();
    }
    let users = || bench.rows("SELECT COUNT(*) AS n FROM share_usage");
    assert_eq!(users(), "n=20");
    bench.go_to(20 * HOUR);
    for (number, left) in [(30, "n=15"), (31, "n=10"), (32, "n=5"), (33, "n=4"), (34, "n=5")] {
        bench.submit(job(number, &format!("late-{number}"))).await;
        bench.store.claim(&claiming(1)).await.unwrap();
        assert_eq!(users(), left);
    }
    // What was charged long ago is settled all the same.
    let over = Outcome::Reported(status(1, JobStatus::Completed));
    bench.settle(&bench.found(1).await, over).await.unwrap();
    assert_eq!(users(), "n=6");
    assert!(bench.found(1).await.id() == id(1));
}

#[tokio::test]
async fn without_fair_share_nothing_is_written_for_it() {
    let bench = Bench::new().await;
    bench.claimed(1).await;
    assert_eq!(bench.rows("SELECT * FROM share_usage"), "");
    assert_eq!(bench.rows("SELECT * FROM share_charges"), "");
}
