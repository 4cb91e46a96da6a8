//! Databases of each version of the schema, as `export` wrote them with that version: the present program
//! takes every one of them up. The first line of each has the checksums of its migrations, so that none can
//! be rewritten.
//!
//! A new migration needs a fixture: with `ST_WRITE_FIXTURE=1` the test writes that of the newest version
//! where it is missing.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use st_store::{
    Actor, AuditFilter, BudgetAction, BudgetLimit, Cost, DeliveryResult, JobStatus, KeyHash,
    LimitsPatch, NewBudget, Period, Scope, ShareScope, UserId, Verdict, Weight, offline,
};
use st_testkit::dump::check_invariants;
use st_testkit::suite::keys::new_key;
use st_testkit::suite::webhooks::{attempt, new_webhook};
use st_testkit::suite::{accepted, at, claiming, decision, job, user};

use super::bench::{Bench, folder};

fn fixture(version: i64) -> PathBuf {
    let name = format!("schema-{version}.jsonl");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The newest version of the schema.
async fn newest() -> i64 {
    let kept = Bench::new().await.closed().await;
    offline::migrations(&kept.path().join("cloud.db")).unwrap().schema
}

/// A store in which most tables have a row.
async fn filled() -> Bench {
    let bench = Bench::new().await;
    let store = &bench.store;
    store.add_rule(st_testkit::suite::costs_more_than("50")).await.unwrap();
    let fair = LimitsPatch { fair_share: Some(true), ..LimitsPatch::default() };
    store.patch_limits(fair, &Actor::Operator).await.unwrap();
    let ann = ShareScope::User(UserId::new("ann"));
    store.set_weight(&ann, Weight::new(2.0).ok(), &Actor::Operator).await.unwrap();
    let budget = NewBudget {
        scope: Scope::User(UserId::new("ann")),
        limit: BudgetLimit::Cost { period: Period::Monthly, amount: Cost::from_usd(500.0) },
        action: BudgetAction::Block,
    };
    store.add_budget(budget, &user("lea")).await.unwrap();
    bench.at_provider(1).await;
    bench.claimed(2).await;
    let asked = bench.blocked(3, 3600).await;
    store.decide(asked, &decision(Verdict::Reject)).await.unwrap();
    bench.blocked(4, 7200).await;
    let ended = bench.at_provider(6).await;
    let mut report = st_testkit::suite::status(6, JobStatus::Completed);
    report.cost_usd = Some(1.25);
    // Its results are due, in the versions that know of results.
    report.results_kept_for = Some(std::time::Duration::from_hours(1));
    bench.settle(&ended, st_store::Outcome::Reported(report)).await.unwrap();
    store.pause(Scope::User(UserId::new("ann")), Some("audit"), &user("lea")).await.unwrap();
    let key = new_key(1);
    store.add_key(key.clone(), KeyHash::new([7; 32]), &Actor::Operator).await.unwrap();
    store.revoke_key(&key.id, &user("lea")).await.unwrap();
    store.append_audit(vec![offline::audit_of_key("revoke_key", &key.id)]).await.unwrap();
    notified(&bench).await;
    let mut keyed = job(5, "ann");
    keyed.idempotency = Some(st_store::Idempotency { key: "k".to_owned(), digest: "d".to_owned() });
    keyed.estimated_cost = 2.5;
    bench.submit(keyed).await;
    bench
}

/// A webhook that is sent an event.
pub(super) async fn notified(bench: &Bench) {
    let hook = bench.store.add_webhook(new_webhook(1)).await.unwrap().id;
    let zoe = Scope::User(UserId::new("zoe"));
    bench.store.pause(zoe.clone(), None, &Actor::Operator).await.unwrap();
    bench.store.resume(&zoe, &Actor::Operator).await.unwrap();
    let next = *bench.store.last_event().borrow();
    let (holder, lease) = (st_testkit::suite::holder(1), std::time::Duration::from_mins(1));
    bench.store.claim_webhook(hook, holder, lease).await.unwrap().unwrap();
    let sent = attempt(next, DeliveryResult::Accepted);
    bench.store.settle_attempt(hook, holder, sent, lease).await.unwrap().unwrap();
}

/// Versions that no release ever wrote: they came with a later one.
const UNRELEASED: [i64; 4] = [5, 6, 8, 9];

#[tokio::test]
async fn each_version_of_the_schema_is_taken_up() {
    let newest = newest().await;
    if std::env::var_os("ST_WRITE_FIXTURE").is_some() && !fixture(newest).exists() {
        let kept = filled().await.closed().await;
        let mut file = File::create_new(fixture(newest)).unwrap();
        offline::export(&kept.path().join("cloud.db"), &mut file).unwrap();
    }
    for version in (1..=newest).filter(|version| !UNRELEASED.contains(version)) {
        let path = fixture(version);
        let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = folder();
        let database = folder.path().join("cloud.db");
        let imported = offline::import(&database, &path, BufReader::new(file), at(10)).unwrap();
        assert_eq!((imported.schema, imported.jobs), (version, 6));
        let bench = Bench::open_in(folder, at(20)).await;
        check_invariants(bench.store.as_ref()).await;
        let audit = offline::audit(&bench.path()).unwrap();
        assert_eq!(audit.findings, [], "of version {version}");
        let due =
            bench.store.results_waiting(&std::collections::BTreeSet::new()).await.unwrap().len();
        assert_eq!(due, usize::from(version >= 3), "of version {version}");
        let accounts = usize::from(version >= 7);
        let keys = bench.store.list_keys(None, 9).await.unwrap();
        assert_eq!(keys.iter().filter(|key| key.revoked.is_some()).count(), accounts);
        let trail = bench.store.audit(&AuditFilter::default(), 9).await.unwrap();
        assert_eq!(trail.entries.len(), accounts);
        let hooks = bench.store.webhooks().await.unwrap().webhooks;
        assert_eq!(hooks.len(), usize::from(version >= 8), "of version {version}");
        let mut statuses = Vec::new();
        for number in 1..=6 {
            statuses.push(bench.found(number).await.status().as_str());
        }
        let expected = ["queued", "uploading", "cancelled", "pending", "pending", "completed"];
        assert_eq!(statuses, expected);
        // It goes on: what is paused stays, and is granted when it is resumed.
        assert!(bench.store.claim(&claiming(9)).await.unwrap().claims.is_empty());
        let ann = Scope::User(UserId::new("ann"));
        bench.store.resume(&ann, &Actor::Operator).await.unwrap().unwrap();
        let claims = bench.store.claim(&claiming(9)).await.unwrap().claims;
        assert_eq!(st_testkit::suite::numbers(&claims), [5]);
        bench.settle(&claims[0].record, accepted(5)).await.unwrap();
        let taken = &bench.store.budgets().await.unwrap()[0];
        assert_eq!(taken.reserved, Cost::from_usd(102.5), "the jobs of ann that are not over");
    }
}
