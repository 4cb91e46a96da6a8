//! Every kind of write once, and a ledger of what was answered.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use st_store::{
    Actor, ApprovalRepo, AttemptFailure, Cost, Decision, Error, Idempotency, JobRecord, JobRef,
    JobRepo, JobStatus, LimitsPatch, Marker, Outcome, ProviderJobId, ProviderName,
    ProviderSettingsPatch, ProviderStatus, QueueRepo, Resolution, ResultRepo, ResultsOutcome,
    SettingChange, SettingsRepo, Settlement, Sighting, SqliteStore, StrayOutcome, StrayRepo,
    UserId, Verdict,
};
use st_testkit::suite::{claiming, costs_more_than, id, job};

/// What was answered to one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The submission of this job.
    Submitted(u8, Answer),
    /// This job has reached at least this status.
    Reached(u8, JobStatus),
    /// The user limit is 7.
    Limited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored,
    Refused,
    Unknown,
}

impl Answer {
    fn of<T>(result: &st_store::Result<T>) -> Self {
        match result {
            Ok(_) => Self::Stored,
            Err(error) if error.outcome_is_unknown() => Self::Unknown,
            Err(_) => Self::Refused,
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submitted(job, answer) => write!(f, "submitted {job} {answer:?}"),
            Self::Reached(job, status) => write!(f, "reached {job} {status}"),
            Self::Limited => write!(f, "limited"),
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["submitted", job, answer] => {
                let answer = match *answer {
                    "Stored" => Answer::Stored,
                    "Refused" => Answer::Refused,
                    _ => Answer::Unknown,
                };
                Ok(Self::Submitted(job.parse().unwrap(), answer))
            }
            ["reached", job, status] => {
                Ok(Self::Reached(job.parse().unwrap(), status.parse().unwrap()))
            }
            ["limited"] => Ok(Self::Limited),
            _ => Err(format!("not an entry: {line}")),
        }
    }
}

/// All answers of one run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    submitted: BTreeMap<u8, Answer>,
    reached: BTreeMap<u8, JobStatus>,
    limited: bool,
}

impl Ledger {
    pub(crate) fn record(&mut self, entry: &Entry) {
        match entry {
            Entry::Submitted(job, answer) => {
                self.submitted.insert(*job, *answer);
            }
            Entry::Reached(job, status) => {
                self.reached.insert(*job, *status);
            }
            Entry::Limited => self.limited = true,
        }
    }

    /// Compares the answers with what is stored.
    pub(crate) async fn compare(&self, store: &SqliteStore, what: &str) {
        for (&number, &answer) in &self.submitted {
            let found = store.find_job(&JobRef::Id(id(number))).await.unwrap();
            match answer {
                Answer::Stored => assert!(found.is_some(), "{what}: job {number} is lost"),
                Answer::Refused => assert!(found.is_none(), "{what}: job {number} was refused"),
                Answer::Unknown => {}
            }
        }
        for (&number, &status) in &self.reached {
            let found = store.find_job(&JobRef::Id(id(number))).await.unwrap().unwrap();
            let kept = found.status() == status || status.may_become(found.status());
            assert!(kept, "{what}: job {number} was {status} and is {}", found.status());
        }
        if self.limited {
            assert_eq!(store.limits().await.unwrap().per_user, 7, "{what}");
        }
    }
}

/// Performs every kind of write and reports each answer when it is known. What depends on a write
/// that failed is left out.
pub(crate) async fn run(store: &SqliteStore, report: &mut (dyn FnMut(Entry) + Send)) {
    drop(store.add_rule(costs_more_than("50")).await);
    submissions(store, report).await;
    if let Ok(record) = approve(store).await {
        report(Entry::Reached(3, record.status()));
    }
    let claims = store.claim(&claiming(100)).await.unwrap_or_default().claims;
    let records: BTreeMap<u8, JobRecord> = claims
        .into_iter()
        .filter_map(|claim| {
            let number = (1..=3).find(|number| id(*number) == claim.record.id())?;
            Some((number, claim.record))
        })
        .collect();
    for (&number, record) in &records {
        report(Entry::Reached(number, record.status()));
    }
    attempts(store, &records, report).await;
    let failed = ResultsOutcome::Failed { reason: "no answer".to_owned(), output_path: None };
    for outcome in [failed, ResultsOutcome::Kept { output_path: None }] {
        drop(store.settle_results(id(1), &outcome).await);
    }
    strays(store).await;
    if let Ok((_, record)) = store.cancel_job(id(3), &Actor::User(UserId::new("ann"))).await {
        report(Entry::Reached(3, record.status()));
    }
    let by = Actor::User(UserId::new("ann"));
    if let Ok(record) = store.resolve(id(3), &Resolution::Absent, Some("gone"), &by).await {
        report(Entry::Reached(3, record.status()));
    }
    settings(store, report).await;
    drop(store.renew(claiming(1).holder, Duration::from_mins(1), &[id(3)].into()).await);
    drop(store.expire(10).await);
}

async fn submissions(store: &SqliteStore, report: &mut (dyn FnMut(Entry) + Send)) {
    for number in 1..=3 {
        let mut new = job(number, &format!("user-{number}"));
        new.estimated_cost = if number == 3 { 100.0 } else { 1.0 };
        new.idempotency = Some(Idempotency { key: "key".to_owned(), digest: "digest".to_owned() });
        let result = store.submit(new).await;
        report(Entry::Submitted(number, Answer::of(&result)));
    }
}

async fn approve(store: &SqliteStore) -> Result<JobRecord, Error> {
    let by = UserId::new("lead");
    let decision = Decision { verdict: Verdict::Approve, by, notes: Some("fine".to_owned()) };
    store.decide(st_store::ApprovalId(1), &decision).await
}

async fn attempts(
    store: &SqliteStore,
    records: &BTreeMap<u8, JobRecord>,
    report: &mut (dyn FnMut(Entry) + Send),
) {
    let accepted = |status| ProviderStatus::new(ProviderJobId::new("p-1"), status);
    let failed =
        AttemptFailure::Failed { error: "down".to_owned(), retry_in: SignedDuration::ZERO };
    let mut completed = accepted(JobStatus::Completed);
    completed.results_kept_for = Some(Duration::from_hours(1));
    let rounds = [
        (1, Outcome::Submitted(accepted(JobStatus::Queued))),
        (2, Outcome::NotArrived(failed)),
        (3, Outcome::Unresolved { error: "silence".to_owned(), panics: None }),
        (1, Outcome::Reported(accepted(JobStatus::Running))),
        (1, Outcome::Reported(completed)),
    ];
    for (number, outcome) in rounds {
        let Some(record) = records.get(&number) else { continue };
        let (attempt, token) = (record.entry().attempt, record.token());
        let settlement =
            Settlement { job: record.id(), attempt, token, outcome, provider_time: None };
        let settled = store.settle(&Actor::Scheduler, vec![settlement]).await;
        if let Ok(results) = settled
            && let Some(Ok((_, record))) = results.into_iter().next()
        {
            report(Entry::Reached(number, record.status()));
        }
    }
}

async fn strays(store: &SqliteStore) {
    let fake = ProviderName::new("fake");
    let stray = ProviderJobId::new("p-9");
    let sighting = Sighting {
        marker: Marker { job: id(1), attempt: 1 },
        provider: fake.clone(),
        account: None,
        status: ProviderStatus::new(stray.clone(), JobStatus::Running),
    };
    drop(store.record_sightings(&Actor::Poller, vec![sighting]).await);
    drop(store.settle_stray(&fake, &stray, StrayOutcome::Ended { cost: Cost::ZERO }).await);
}

async fn settings(store: &SqliteStore, report: &mut (dyn FnMut(Entry) + Send)) {
    let patch = LimitsPatch { per_user: Some(7), ..LimitsPatch::default() };
    if store.patch_limits(patch, &Actor::Operator).await.is_ok() {
        report(Entry::Limited);
    }
    let patch = ProviderSettingsPatch {
        version_override: SettingChange::Set("v".to_owned()),
        ..ProviderSettingsPatch::default()
    };
    let fake = ProviderName::new("fake");
    drop(store.patch_provider_settings(&fake, patch, &Actor::Operator).await);
}
