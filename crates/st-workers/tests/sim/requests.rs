//! What becomes of requests on their way to a provider and there.

use std::sync::Arc;
use std::time::Duration;

use st_store::{JobStatus, ProviderJobId, ProviderStatus};
use st_workers::provider::{Cause, QueryError, Submission, SubmitError, Unavailable};
use tokio::sync::oneshot;

use crate::clocks::elapse;
use crate::draw::Draw;
use crate::evidence::Sent;
use crate::jobs::Poison;
use crate::ledger::{Call, Kind};
use crate::plan::{LATE, SLOW, Trouble};
use crate::world::{RIGHT_VERSION, World};

/// What becomes of a submission.
#[derive(Debug)]
enum Fate {
    Refused(SubmitError),
    Panic,
    /// The process of the caller dies.
    Death,
    /// Accepted after this time, and answered.
    Accepted(Duration),
    /// Accepted after the first time; after the second the caller learns nothing.
    ReplyLost(Duration, Duration),
    /// Never accepted; after this time the caller learns nothing.
    RequestLost(Duration),
    /// After the first time the caller learns nothing; accepted the second time after the end of
    /// the call, whenever and however it ends.
    Late(Duration, Duration),
}

impl World {
    /// Why a provider answers nothing else now.
    fn refusal(&self, provider: usize, submission: bool) -> Option<Unavailable> {
        let retry_after = |cause| {
            let seconds = self.draw(|random| {
                (cause == Cause::Throttled && random.chance(0.7)).then(|| random.seconds(1.0..60.0))
            });
            seconds.map(|it| Duration::from_secs(it.as_secs() + 1))
        };
        for trouble in self.troubles(provider) {
            match trouble {
                Trouble::Outage => {
                    self.count("call during an outage");
                    return Some(Unavailable::new(Cause::Unreachable, "connection refused"));
                }
                Trouble::LastingOutage => {
                    self.count("call during an outage of a day");
                    return Some(Unavailable::new(Cause::Unreachable, "connection refused"));
                }
                Trouble::Unresolved => {
                    if self.draw(|random| random.chance(0.95)) {
                        self.count("call to a name that is not resolved");
                        return Some(Unavailable::new(Cause::Unreachable, "no such host"));
                    }
                }
                Trouble::Throttling { wish } => {
                    self.count("call during a storm of 429");
                    let refused = Unavailable::new(Cause::Throttled, "429");
                    return Some(Unavailable { retry_after: wish, ..refused });
                }
                Trouble::Refusal { cause, submissions, questions } => {
                    if if submission { submissions } else { questions } {
                        self.count("refused call");
                        let reason = format!("refused for {cause}");
                        let retry_after = retry_after(cause);
                        return Some(Unavailable {
                            retry_after,
                            ..Unavailable::new(cause, reason)
                        });
                    }
                }
                Trouble::OtherAccount if submission => {
                    self.count("submission by another account");
                    return Some(Unavailable::new(Cause::Account, "403: this account may not"));
                }
                Trouble::OtherAccount | Trouble::KnowsNothing | Trouble::Storm => {}
            }
        }
        None
    }

    /// A question reaches the provider and is answered, or not.
    pub(crate) async fn question(&self, provider: usize) -> Result<(), Unavailable> {
        let rates = &self.plan.providers[provider].rates;
        elapse(self.draw(|random| random.seconds(0.02..0.3))).await;
        if self.happens(provider, rates.hangs) {
            self.count("hanging call");
            elapse(self.draw(|random| random.seconds(30.0..400.0))).await;
        }
        if let Some(refusal) = self.refusal(provider, false) {
            return Err(refusal);
        }
        if self.happens(provider, rates.trouble) {
            let throttled = self.draw(fastrand::Rng::bool);
            return Err(if throttled {
                let retry_after = Some(Duration::from_secs(self.draw(|random| random.u64(1..30))));
                Unavailable { retry_after, ..Unavailable::new(Cause::Throttled, "429") }
            } else {
                Unavailable::new(Cause::Trouble, "502 Bad Gateway")
            });
        }
        Ok(())
    }

    /// What the provider says about a job.
    pub(crate) fn status_of(
        &self,
        provider: usize,
        id: &ProviderJobId,
    ) -> Result<ProviderStatus, QueryError> {
        let now = self.now();
        let knows_nothing = self.troubles(provider).any(|it| matches!(it, Trouble::KnowsNothing));
        if knows_nothing || self.is_other_account(provider) {
            self.count("denied job");
            return Err(QueryError::NotFound);
        }
        let rates = &self.plan.providers[provider].rates;
        let hidden = self.happens(provider, rates.hidden_status);
        let older = self.happens(provider, rates.older_status);
        let mut state = self.state();
        let job = state.ledger.find(id).filter(|job| !job.is_forgotten(now));
        let mut report = job.ok_or(QueryError::NotFound)?.report(now);
        if hidden {
            report.status = None;
        } else if older && report.status == Some(JobStatus::Running) {
            report.status = Some(JobStatus::Queued);
        }
        Ok(report)
    }

    /// A request to cancel a job is sent, and goes on whatever becomes of the caller.
    pub(crate) async fn cancel_request(
        self: Arc<Self>,
        provider: usize,
        id: ProviderJobId,
    ) -> Result<ProviderStatus, QueryError> {
        self.question(provider).await?;
        self.status_of(provider, &id)?;
        self.cancel(&id);
        if self.happens(provider, self.plan.providers[provider].rates.lost_reply) {
            self.count("lost reply to a cancellation");
            return Err(QueryError::trouble("the connection was reset"));
        }
        elapse(self.draw(|random| random.seconds(0.0..0.2))).await;
        self.status_of(provider, &id)
    }

    /// A submission is sent, and goes on whatever becomes of the caller.
    #[expect(clippy::panic, reason = "the planned fault is a panic of the provider's code")]
    pub(crate) async fn submit_request(
        self: Arc<Self>,
        call: Call,
        fate: SubmitFate,
        caller_ended: oneshot::Receiver<()>,
    ) -> Result<ProviderStatus, SubmitError> {
        let unknown = |reason: &str| SubmitError::Unknown {
            reason: reason.to_owned(),
            may_arrive_for: self.plan.providers[call.provider].may_arrive_for,
            source: None,
        };
        match fate.0 {
            Fate::Panic => panic!("simulated: a fault of the provider's code"),
            Fate::Death => std::future::pending().await,
            Fate::Refused(error) => {
                elapse(self.draw(|random| random.seconds(0.02..0.3))).await;
                Err(error)
            }
            Fate::Accepted(after) => {
                self.is_on_its_way(call, true);
                elapse(after).await;
                let id = self.accept(call, Kind::Submitted);
                self.is_on_its_way(call, false);
                let id = id.ok_or_else(|| unknown("no such job"))?;
                self.status_of(call.provider, &id)
                    .map_err(|_unknown| unknown("the reply has no job"))
            }
            Fate::ReplyLost(after, silence) => {
                self.count("lost reply");
                let world = Arc::clone(&self);
                self.is_on_its_way(call, true);
                drop(st_log::spawn(async move {
                    elapse(after).await;
                    world.accept(call, Kind::Submitted);
                    world.double(call).await;
                    world.is_on_its_way(call, false);
                }));
                elapse(silence).await;
                Err(unknown("the connection was reset"))
            }
            Fate::RequestLost(silence) => {
                self.count("lost request");
                elapse(silence).await;
                Err(unknown("timed out"))
            }
            Fate::Late(silence, delay) => {
                self.count("late request");
                let world = Arc::clone(&self);
                self.is_on_its_way(call, true);
                drop(st_log::spawn(async move {
                    drop(caller_ended.await);
                    world.arrive_late(call, delay).await;
                    world.is_on_its_way(call, false);
                }));
                elapse(silence).await;
                Err(unknown("timed out"))
            }
        }
    }

    /// A request that may arrive whatever becomes of its caller sets out, or does so no more.
    fn is_on_its_way(&self, call: Call, sets_out: bool) {
        let mut state = self.state();
        let count = state.on_their_way.entry(call.marker.job).or_default();
        *count = if sets_out { *count + 1 } else { *count - 1 };
    }

    async fn arrive_late(&self, call: Call, delay: Duration) {
        elapse(delay).await;
        let too_late = self.is_too_late(call.provider, delay);
        self.accept(call, if too_late { Kind::TooLate } else { Kind::Submitted });
    }

    /// Whether a request that arrives `delay` after the end of its call does so later than the
    /// provider promises.
    fn is_too_late(&self, provider: usize, delay: Duration) -> bool {
        delay > self.plan.providers[provider].may_arrive_for.mul_f64(LATE)
    }

    /// Something on the way repeats the request, perhaps.
    async fn double(&self, call: Call) {
        if !self.happens(call.provider, self.plan.providers[call.provider].rates.doubled) {
            return;
        }
        self.count("doubled request");
        let times = self.draw(|random| if random.chance(0.2) { 2 } else { 1 });
        for _ in 0..times {
            let wild = self.plan.wild;
            elapse(self.draw(|random| {
                if wild && random.bool() {
                    random.seconds(1.0..1800.0)
                } else {
                    random.seconds(0.0..2.0)
                }
            }))
            .await;
            self.accept(call, Kind::Duplicate);
        }
    }

    /// Decides what becomes of a submission that is sent now.
    pub(crate) fn fate_of(&self, call: Call, submission: &Submission) -> SubmitFate {
        let poison = self.state().jobs.get(&call.marker.job).and_then(|job| job.poison);
        let fate = self.fate(call, submission, poison);
        let sent = match &fate {
            Fate::Refused(SubmitError::Rejected { .. }) if is_right(submission) => {
                Sent::RejectedInput
            }
            Fate::Refused(_) | Fate::RequestLost(_) => Sent::Failed,
            Fate::Panic => Sent::Panicked,
            Fate::Death => Sent::Died,
            Fate::Late(_, delay) if self.is_too_late(call.provider, *delay) => Sent::Failed,
            Fate::Accepted(_) | Fate::ReplyLost(..) | Fate::Late(..) => Sent::MayArrive,
        };
        self.judge_order(call);
        self.state().evidence.sent(call.marker, sent);
        SubmitFate(fate)
    }

    fn fate(&self, call: Call, submission: &Submission, poison: Option<Poison>) -> Fate {
        let plan = &self.plan.providers[call.provider];
        let refused = |error: Unavailable| Fate::Refused(SubmitError::Unavailable(error));
        match poison {
            Some(Poison::Panics) => return Fate::Panic,
            Some(Poison::Kills) => return Fate::Death,
            Some(Poison::Rejected | Poison::Forbidden | Poison::Lost) | None => {}
        }
        if let Some(refusal) = self.refusal(call.provider, true) {
            return refused(refusal);
        }
        match submission.settings.version_override.as_deref() {
            Some(RIGHT_VERSION) => {}
            None => {
                let reason = "no version is set".to_owned();
                return Fate::Refused(SubmitError::MissingSetting { reason });
            }
            Some(_) => {
                let reason = "422: there is no such version".to_owned();
                return Fate::Refused(SubmitError::Rejected { reason });
            }
        }
        match poison {
            Some(Poison::Rejected) => {
                let reason = "422: the input is not legal".to_owned();
                return Fate::Refused(SubmitError::Rejected { reason });
            }
            Some(Poison::Forbidden) => {
                return refused(Unavailable::new(Cause::Account, "403: not this model"));
            }
            Some(Poison::Lost) => return Fate::RequestLost(self.silence()),
            Some(Poison::Panics | Poison::Kills) | None => {}
        }
        let promised = plan.may_arrive_for.as_secs_f64();
        let quick = self.draw(|random| random.seconds(0.05..1.0));
        if self.happens(call.provider, plan.rates.lost_request) {
            Fate::RequestLost(self.silence())
        } else if self.happens(call.provider, plan.rates.lost_reply) {
            let after = self.draw(|random| random.seconds(0.05..30.0));
            Fate::ReplyLost(after, self.silence())
        } else if self.happens(call.provider, plan.rates.late) {
            let too_late = self.plan.wild && self.draw(fastrand::Rng::bool);
            let most = if too_late { 1800.0 } else { LATE * promised };
            Fate::Late(self.silence(), self.draw(|random| random.seconds(0.5..most)))
        } else if self.happens(call.provider, plan.rates.slow) {
            Fate::Accepted(self.draw(|random| random.seconds(2.0..SLOW * promised)))
        } else {
            Fate::Accepted(quick)
        }
    }

    /// How long a caller hears nothing, if it waits: a reset, a gateway's timeout, or longer than
    /// any caller waits.
    fn silence(&self) -> Duration {
        self.draw(|random| match random.u8(0..10) {
            0..4 => random.seconds(0.05..2.0),
            4..9 => random.seconds(2.0..60.0),
            _ => random.seconds(60.0..400.0),
        })
    }

    /// What a provider's clock shows now.
    pub(crate) fn provider_time(&self, provider: usize) -> jiff::Timestamp {
        let clock = &self.plan.providers[provider].clock;
        clock.at(self.now())
    }
}

fn is_right(submission: &Submission) -> bool {
    submission.settings.version_override.as_deref() == Some(RIGHT_VERSION)
}

/// What becomes of a submission; decided when it is sent.
#[derive(Debug)]
pub(crate) struct SubmitFate(Fate);

impl SubmitFate {
    /// Whether the caller's process does not survive it.
    pub(crate) fn is_death(&self) -> bool {
        matches!(self.0, Fate::Death)
    }
}
