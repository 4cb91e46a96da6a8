//! The people: they submit, cancel, approve and reject jobs, change limits and settings, and copy
//! jobs by hand at the provider. What the server does not acknowledge they try again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use st_log::CorrelationId;
use st_store::{
    Actor, ApprovalRepo, Condition, Decision, Error, JobId, JobRef, JobRepo, JobType, LimitsPatch,
    NewJob, NewRule, Owner, Priority, ProviderName, ProviderSettingsPatch, Role, SettingChange,
    SettingsRepo, Store, UserId, Verdict,
};
use tokio::time::timeout;

use crate::clocks::elapse;
use crate::draw::Draw;
use crate::jobs::{EndedBy, WantedJob};
use crate::life::{Endpoint, Life};
use crate::users::{self, LimitsPlan, UserPlan};
use crate::world::{RIGHT_VERSION, World};

/// All who use the server.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) world: Arc<World>,
    endpoint: Arc<Endpoint>,
}

/// What must be there before the first life.
pub(crate) async fn set_up(world: &World, data: &dyn Store) {
    let rule = NewRule {
        name: "asked".to_owned(),
        description: "jobs whose submitter asks for it".to_owned(),
        condition: Condition::ConfigPattern,
        threshold: "approve-*".to_owned(),
        is_active: true,
        priority: 0,
        applies_to_provider: None,
        applies_to_level: None,
        exempt_levels: Vec::new(),
        required_approver_level: Role::Lead,
        created_by: UserId::new("root"),
    };
    data.add_rule(rule).await.unwrap();
    for plan in &world.plan.providers {
        let name = ProviderName::new(plan.name);
        let patch = version(Some(RIGHT_VERSION));
        data.patch_provider_settings(&name, patch, &Actor::Operator).await.unwrap();
    }
}

fn version(version: Option<&str>) -> ProviderSettingsPatch {
    let version_override =
        version.map_or(SettingChange::Clear, |it| SettingChange::Set(it.to_owned()));
    ProviderSettingsPatch { version_override, ..ProviderSettingsPatch::default() }
}

impl Clients {
    pub(crate) fn new(world: &Arc<World>, endpoint: &Arc<Endpoint>) -> Self {
        Self { world: Arc::clone(world), endpoint: Arc::clone(endpoint) }
    }

    /// Begins what all of them want to do. The tasks end when all of it is acknowledged.
    pub(crate) fn start(&self, plans: Vec<UserPlan>, limits: Vec<LimitsPlan>) {
        for plan in plans {
            drop(st_log::spawn(self.clone().act(plan)));
        }
        drop(st_log::spawn(self.clone().change_limits(limits)));
        drop(st_log::spawn(self.clone().end_jobs_after_restores()));
        drop(st_log::spawn(self.clone().administer()));
        for provider in 0..self.world.plan.providers.len() {
            drop(st_log::spawn(self.clone().keep_settings(provider)));
            drop(st_log::spawn(self.clone().copy_jobs(provider)));
        }
    }

    /// Calls the server until it answers something else than that it cannot.
    pub(crate) async fn insist<T, F>(&self, call: impl Fn(Arc<Life>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        loop {
            match self.call(&call).await {
                Some(Err(
                    Error::Busy
                    | Error::Unavailable { .. }
                    | Error::OutcomeUnknown { .. }
                    | Error::Timeout { .. }
                    | Error::Closed
                    // An administrator's, which does not last.
                    | Error::OverBudget(_),
                ))
                | None => elapse(self.world.draw(|random| random.seconds(0.5..10.0))).await,
                Some(answer) => return answer,
            }
        }
    }

    /// One call to the server; `None` when it died meanwhile.
    async fn call<T, F>(&self, call: impl Fn(Arc<Life>) -> F) -> Option<Result<T, Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let life = self.endpoint.find().await;
        tokio::select! {
            biased;
            () = life.kill_switch.died() => None,
            answer = call(Arc::clone(&life)) => Some(answer),
        }
    }

    async fn act(self, plan: UserPlan) {
        let UserPlan { at, job, cancel_after, decision, resolve_after, gives_up } = plan;
        elapse(at.saturating_sub(self.world.now())).await;
        let id = job.id;
        if !self.submit(job, gives_up).await {
            return;
        }
        let (one, other, operator) = (self.clone(), self.clone(), self);
        let cancel = async move {
            if let Some(after) = cancel_after {
                elapse(after).await;
                one.cancel(id).await;
            }
        };
        let decide = async move {
            if let Some((after, verdict)) = decision {
                elapse(after).await;
                other.decide(id, verdict).await;
            }
        };
        let resolve = async move {
            if let Some(after) = resolve_after {
                elapse(after).await;
                operator.resolve_when_unknown(id).await;
            }
        };
        futures_util::join!(cancel, decide, resolve);
    }

    /// Submits a job. Returns whether that was acknowledged.
    pub(crate) async fn submit(&self, job: WantedJob, gives_up: bool) -> bool {
        let (id, name) = (job.id, job.name.clone());
        let (new, run_after) = (self.new_job(&job), job.run_after);
        let now = self.world.now();
        let clock_wrong_by = self.world.machine.wrong_by();
        let job = WantedJob { sent_at: Some(now), clock_wrong_by, ..job };
        self.world.journal.note(format!(
            "{} submits {name} for {}, poison {:?}, run {:?} {:?}",
            job.user,
            self.world.plan.providers[job.provider].name,
            job.poison,
            job.runs_for,
            job.ends
        ));
        self.world.state().jobs.insert(id, job);
        let send = |life: Arc<Life>| {
            let mut new = new.clone();
            async move {
                new.run_after = run_after.and_then(|it| life.data.now().checked_add(it).ok());
                life.store.submit(new).await
            }
        };
        let answer = if gives_up {
            self.call(send).await.unwrap_or(Err(Error::Closed))
        } else {
            self.insist(send).await
        };
        match answer {
            Ok(_) => {
                let now = self.world.now();
                self.world.journal.note(format!("{name} is acknowledged"));
                if let Some(job) = self.world.state().jobs.get_mut(&id) {
                    job.acknowledged_at = Some(now);
                }
                true
            }
            Err(error) if gives_up => {
                self.world.journal.note(format!("{name} is given up: {error}"));
                false
            }
            Err(error) => {
                self.world.violate(Some(id), format!("{name} was refused: {error}"));
                false
            }
        }
    }

    fn new_job(&self, job: &WantedJob) -> NewJob {
        let provider = ProviderName::new(self.world.plan.providers[job.provider].name);
        let correlation_id = CorrelationId::parse(&format!("of-{}", job.name)).unwrap();
        let kind = (JobType::Cloud, provider);
        let owner = Owner::user(job.user);
        let mut new = NewJob::new(job.id, kind, owner, Role::Researcher, correlation_id);
        new.input = json!({"config": {"name": job.name}});
        let prefix = if job.approval.is_some() { "approve-" } else { "" };
        new.config_name = Some(format!("{prefix}{}", job.name));
        if let Some(ttl) = job.approval {
            new.approval_ttl = SignedDuration::try_from(ttl).unwrap();
        }
        new.priority_override = job.priority.map(|number| Priority::new(number).unwrap());
        new
    }

    pub(crate) async fn cancel(&self, id: JobId) {
        let name = self.world.name(id);
        self.world.journal.note(format!("a person cancels {name}"));
        let now = self.world.now();
        if let Some(job) = self.world.state().jobs.get_mut(&id) {
            job.cancel_asked_at = job.cancel_asked_at.or(Some(now));
        }
        let by = Actor::User(UserId::new("ann"));
        let answer = self
            .insist(|life| {
                let by = by.clone();
                async move { life.tasks.cancel(id, &by).await }
            })
            .await;
        let answer = answer.map(|record| record.status());
        self.world.journal.note(format!("the cancellation of {name}: {answer:?}"));
    }

    pub(crate) async fn decide(&self, id: JobId, verdict: Verdict) {
        let name = self.world.name(id);
        let found =
            self.insist(|life| async move { life.store.find_job(&JobRef::Id(id)).await }).await;
        let Ok(Some(record)) = found else { return };
        let Some(approval) = record.approval().map(|approval| approval.request().id) else {
            return;
        };
        if verdict == Verdict::Reject
            && let Some(job) = self.world.state().jobs.get_mut(&id)
        {
            job.ended_by.insert(EndedBy::Rejection);
        }
        let decision = Decision { verdict, by: UserId::new("lea"), notes: None };
        let answer = self
            .insist(|life| {
                let decision = decision.clone();
                async move { life.store.decide(approval, &decision).await }
            })
            .await;
        let answer = answer.map(|record| record.status());
        self.world.journal.note(format!("{verdict:?} {name}: {answer:?}"));
    }

    async fn change_limits(self, plans: Vec<LimitsPlan>) {
        for plan in plans {
            elapse(plan.at.saturating_sub(self.world.now())).await;
            self.patch_limits(plan.global, plan.per_user).await;
        }
        elapse(self.world.plan.active_for.saturating_sub(self.world.now())).await;
        // Enough for everything that waits to run in time.
        self.patch_limits(60, 20).await;
    }

    async fn patch_limits(&self, global: u32, per_user: u32) {
        let patch = LimitsPatch {
            global: Some(global),
            per_user: Some(per_user),
            ..LimitsPatch::default()
        };
        let answer = self
            .insist(|life| async move { life.store.patch_limits(patch, &Actor::Operator).await })
            .await;
        assert!(answer.is_ok(), "{answer:?}");
        self.world.journal.note(format!("limits are {global}, of a user {per_user}"));
    }

    /// Sees to it that the version in a provider's settings is as it is to be: a restore may undo a
    /// change.
    async fn keep_settings(self, provider: usize) {
        let plan = &self.world.plan.providers[provider];
        let name = ProviderName::new(plan.name);
        loop {
            elapse(self.world.draw(|random| random.seconds(5.0..30.0))).await;
            let now = self.world.now();
            let wrong = plan.wrong_settings.iter().find(|(span, _)| span.contains(now));
            let wanted = match wrong {
                None => Some(RIGHT_VERSION),
                Some((_, true)) => None,
                Some((_, false)) => Some("v0"),
            };
            let name = &name;
            let settings =
                self.insist(|life| async move { life.store.provider_settings(name).await }).await;
            if settings.is_ok_and(|settings| settings.version_override.as_deref() == wanted) {
                if self.world.plan.active_for <= now {
                    return;
                }
                continue;
            }
            let wrong = wanted == Some("v0");
            self.world.journal.note(format!("the version of {} becomes {wanted:?}", plan.name));
            if wrong {
                self.world.count("wrong settings");
                self.world.state().evidence.end_series(provider);
            }
            let patch = self.insist(|life| async move {
                life.store.patch_provider_settings(name, version(wanted), &Actor::Operator).await
            });
            drop(patch.await);
        }
    }

    async fn copy_jobs(self, provider: usize) {
        let mut copies = self.world.plan.providers[provider].copies.clone();
        copies.sort();
        for at in copies {
            elapse(at.saturating_sub(self.world.now())).await;
            self.world.copy_by_hand(provider);
        }
    }

    /// Submits a short job to each provider, so that it can be seen whose fault a refusal is.
    pub(crate) async fn send_canaries(&self, number: &mut u64) {
        for provider in 0..self.world.plan.providers.len() {
            *number += 1;
            let now = self.world.now();
            let job = self.world.draw(|random| users::canary(random, *number, (provider, now)));
            drop(timeout(Duration::from_mins(5), self.submit(job, false)).await);
        }
    }
}
