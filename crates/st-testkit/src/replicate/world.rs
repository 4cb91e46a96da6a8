//! The jobs, the ledger and the faults to come.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use st_store::{Clock, SystemClock};
use tokio::sync::watch;

use super::files::ServedFile;
use super::hooks::SECRET;
use super::{Call, Fault, Job, RecordedRequest};

/// The account of every token that has no other.
pub(super) const ACCOUNT: &str = "tester";

/// How long the data of a job stays after its end.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(1);

/// The model of every job whose version no model has.
const TRAINER: &str = "simpletuner/advanced-trainer";

/// Which requests a fault is for.
#[derive(Debug, Clone, Copy)]
enum Target {
    Any,
    Method(&'static str),
    Call(Call),
}

#[derive(Debug, Default)]
pub(super) struct State {
    jobs: Vec<Job>,
    /// Where each of them is.
    places: HashMap<String, usize>,
    /// Rows at the head of the list, as they are.
    pub(super) rows: Vec<String>,
    asked: Vec<RecordedRequest>,
    faults: VecDeque<(Target, Fault)>,
    /// Of every request of a kind, while they last.
    lasting: Vec<(Call, Fault)>,
    /// The versions of each model, oldest first.
    pub(super) versions: BTreeMap<String, Vec<String>>,
    /// What jobs made, by name.
    pub(super) files: BTreeMap<String, ServedFile>,
    /// Names of accounts by token.
    accounts: BTreeMap<String, String>,
    skew: SignedDuration,
    lag: SignedDuration,
    steps: Vec<&'static str>,
    pub(super) webhook_secret: String,
    held: Option<&'static str>,
    /// How long it takes to answer.
    delay: Duration,
    traffic: Traffic,
}

/// How many requests arrived, and when, by the clock of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Submissions.
    pub creates: usize,
    /// Pages of the list.
    pub lists: usize,
    /// Everything else.
    pub others: usize,
    /// The first of them.
    pub first: Option<Timestamp>,
    /// The last of them.
    pub last: Option<Timestamp>,
}

/// The provider's world. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Guards everything. Locked for one read or change.
    state: Mutex<State>,
    /// Counts requests, so that a test can wait for one.
    requests: watch::Sender<usize>,
}

impl World {
    pub(super) fn new() -> Self {
        let state = State {
            steps: vec!["starting", "processing", "succeeded"],
            webhook_secret: SECRET.to_owned(),
            ..State::default()
        };
        Self(Arc::new(Inner { state: Mutex::new(state), requests: watch::Sender::new(0) }))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        self.state().jobs.clone()
    }

    /// What was charged for: each job that arrived, once.
    pub fn charges(&self) -> Vec<String> {
        self.state().jobs.iter().map(|job| job.id.clone()).collect()
    }

    /// All requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state().asked.clone()
    }

    /// Every job that is not over keeps this status until [`Self::release`].
    pub fn hold(&self, status: &'static str) {
        self.state().held = Some(status);
    }

    /// Jobs go on.
    pub fn release(&self) {
        self.state().held = None;
    }

    /// The statuses of a job from read to read; the last one stays.
    pub fn steps(&self, steps: &[&'static str]) {
        steps.clone_into(&mut self.state().steps);
    }

    /// The next request, or the next one with this method, fails like this.
    pub fn fault(&self, method: Option<&'static str>, fault: Fault) {
        let target = method.map_or(Target::Any, Target::Method);
        self.state().faults.push_back((target, fault));
    }

    /// The next request of this kind fails like this.
    pub fn fault_on(&self, call: Call, fault: Fault) {
        self.state().faults.push_back((Target::Call(call), fault));
    }

    /// Every request of this kind fails like this until [`Self::recover`].
    pub fn always(&self, call: Call, fault: Fault) {
        self.state().lasting.push((call, fault));
    }

    /// No request fails any more.
    pub fn recover(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.lasting.clear();
    }

    /// The provider's clock differs from this machine's by this much.
    pub fn skew(&self, by: SignedDuration) {
        self.state().skew = by;
    }

    /// Every answer takes this long from now on.
    pub fn delay(&self, by: Duration) {
        self.state().delay = by;
    }

    /// What arrived since the last call.
    pub fn take_traffic(&self) -> Traffic {
        std::mem::take(&mut self.state().traffic)
    }

    /// What arrived since [`Self::take_traffic`].
    pub fn traffic(&self) -> Traffic {
        self.state().traffic
    }

    /// A job is in the list only when it is this old.
    pub fn lag_list(&self, by: Duration) {
        self.state().lag = by.try_into().unwrap_or(SignedDuration::MAX);
    }

    /// Puts rows at the head of the list of `tester`, in every window of time, as they are written here.
    pub fn add_rows(&self, rows: impl IntoIterator<Item = String>) {
        self.state().rows.extend(rows);
    }

    /// Gives a token an account of its own, with its own jobs. All other tokens share one, `tester`.
    pub fn add_account(&self, token: &str, name: &str) {
        self.state().accounts.insert(token.to_owned(), name.to_owned());
    }

    /// The next submission arrives and its reply is lost.
    pub fn drop_next_reply(&self) {
        self.fault(Some("POST"), Fault::DropAfter);
    }

    /// Puts a job into the world that was not submitted through the API.
    pub fn add(&self, input: Value) -> String {
        self.state().create(input, ACCOUNT, TRAINER.to_owned())
    }

    /// Gives a model one more version, which is its newest. A model without versions is not there.
    pub fn add_version(&self, model: &str, version: &str) {
        self.state().versions.entry(model.to_owned()).or_default().push(version.to_owned());
    }

    /// Puts a file beside the API, in the place of an earlier one of the name. `etag`: with its quotes.
    pub fn add_file(&self, name: &str, bytes: Vec<u8>, etag: Option<&'static str>) {
        self.state().files.insert(name.to_owned(), ServedFile { bytes, etag });
    }

    /// Changes a job.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Job)) {
        let mut state = self.state();
        let place = state.places.get(id).copied();
        if let Some(job) = place.and_then(|place| state.jobs.get_mut(place)) {
            change(job);
        }
    }

    /// Waits until `done` holds; it is asked again after every request.
    pub async fn wait_for(&self, mut done: impl FnMut(&Self) -> bool) {
        let mut requests = self.0.requests.subscribe();
        while !done(self) {
            if requests.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn note(&self, asked: RecordedRequest, call: Option<Call>) -> Option<Fault> {
        let mut state = self.state();
        let fits = |(target, _): &(Target, Fault)| match target {
            Target::Any => true,
            Target::Method(method) => *method == asked.method,
            Target::Call(kind) => Some(*kind) == call,
        };
        let next = state.faults.iter().position(fits);
        let next = next.and_then(|index| state.faults.remove(index)).map(|(_, fault)| fault);
        let lasting = || state.lasting.iter().find(|(kind, _)| Some(*kind) == call);
        let fault = next.or_else(|| lasting().map(|(_, fault)| fault.clone()));
        state.asked.push(asked);
        state.traffic.note(call);
        fault
    }

    pub(super) fn answered(&self) {
        self.0.requests.send_modify(|requests| *requests += 1);
    }
}

impl Traffic {
    fn note(&mut self, call: Option<Call>) {
        match call {
            Some(Call::Create) => self.creates += 1,
            Some(Call::List) => self.lists += 1,
            Some(
                Call::Get
                | Call::Cancel
                | Call::Account
                | Call::Versions
                | Call::Secret
                | Call::File,
            )
            | None => self.others += 1,
        }
        let now = SystemClock.wall();
        self.first = self.first.or(Some(now));
        self.last = Some(now);
    }
}

impl State {
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }

    /// The provider's time.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.wall() + self.skew
    }

    /// The account of a token.
    pub(super) fn account(&self, token: &str) -> String {
        self.accounts.get(token).cloned().unwrap_or_else(|| ACCOUNT.to_owned())
    }

    /// The places of an account's jobs that its list shows, newest first.
    pub(super) fn listed(
        &self,
        account: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Vec<usize> {
        // Jobs that are added quickly are a little ahead of the time.
        let newest = if self.lag.is_zero() { Timestamp::MAX } else { self.now() - self.lag };
        let shown = |(_, job): &(usize, &Job)| {
            job.account == account
                && job.created_at <= newest
                && since.is_none_or(|since| job.created_at >= since)
                && until.is_none_or(|until| job.created_at <= until)
        };
        self.jobs.iter().enumerate().rev().filter(shown).map(|(place, _)| place).collect()
    }

    /// The model of a version, which may be named with it.
    pub(super) fn model_of(&self, version: &str) -> String {
        if version.contains('/') {
            return version.split(':').next().unwrap_or_default().to_owned();
        }
        let has_it = |(_, ids): &(&String, &Vec<String>)| ids.iter().any(|id| id == version);
        self.versions.iter().find(has_it).map_or(TRAINER, |(model, _)| model).to_owned()
    }

    pub(super) fn create(&mut self, input: Value, account: &str, model: String) -> String {
        let id = format!("{:026x}", fastrand::u128(..) >> 24);
        // Each a little later than the one before, so that their order is certain.
        let latest = self.jobs.last().map(|job| job.created_at + SignedDuration::from_micros(7));
        let created_at = latest.unwrap_or(Timestamp::MIN).max(self.now());
        self.places.insert(id.clone(), self.jobs.len());
        self.jobs.push(Job {
            id: id.clone(),
            account: account.to_owned(),
            status: "starting".to_owned(),
            model,
            input,
            created_at,
            completed_at: None,
            deadline: None,
            error: None,
            output: None,
            data_removed: false,
            charged_seconds: 12.5,
            source: "api",
            webhook: None,
            reads: 0,
        });
        id
    }

    /// The job as it is.
    pub(super) fn job(&self, id: &str) -> Option<Job> {
        self.jobs.get(*self.places.get(id)?).cloned()
    }

    pub(super) fn set_webhook(&mut self, id: &str, url: Option<&str>) {
        let place = self.places.get(id).copied();
        if let Some(job) = place.and_then(|place| self.jobs.get_mut(place)) {
            job.webhook = url.map(str::to_owned);
        }
    }

    /// The job as it is shown; `counts`: whether that moves it on.
    pub(super) fn show(&mut self, id: &str, account: &str, counts: bool) -> Option<Job> {
        let place = *self.places.get(id)?;
        (self.jobs.get(place)?.account == account).then(|| self.show_at(place, counts))?
    }

    /// The same of the job at a place.
    pub(super) fn show_at(&mut self, place: usize, counts: bool) -> Option<Job> {
        let (held, steps, now) = (self.held, self.steps.clone(), self.now());
        let job = self.jobs.get_mut(place)?;
        job.reads += usize::from(counts);
        if !is_over(&job.status) {
            let step = steps.get(job.reads.min(steps.len().saturating_sub(1)));
            if let Some(status) = held.or(step.copied()) {
                status.clone_into(&mut job.status);
            }
        }
        if is_over(&job.status) && job.completed_at.is_none() {
            job.completed_at = Some(now);
        }
        job.data_removed |= job.completed_at.is_some_and(|at| now.duration_since(at) >= KEPT_FOR);
        Some(job.clone())
    }

    pub(super) fn cancel(&mut self, id: &str, account: &str) {
        let place = self.places.get(id).copied();
        if let Some(job) = place.and_then(|place| self.jobs.get_mut(place))
            && job.account == account
            && !is_over(&job.status)
        {
            "canceled".clone_into(&mut job.status);
        }
    }
}

pub(super) fn is_over(status: &str) -> bool {
    matches!(status, "succeeded" | "failed" | "canceled" | "aborted")
}
