//! What the judge saw of attempts itself, so that it believes the store in nothing that the store
//! says about why a job failed.

use std::collections::BTreeMap;
use std::time::Duration;

use st_store::{ClaimOrigin, JobId, Marker};

/// Everything seen of attempts. A backup that is put back makes attempts with the same numbers
/// again; then the newer ones count.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    attempts: BTreeMap<Marker, Attempt>,
    /// Failures of attempts that may count against their job, and when they were stored.
    failures: BTreeMap<JobId, Vec<Duration>>,
    /// Dispatches of a job that panicked or whose process died, in a row.
    interrupted: BTreeMap<JobId, Interrupted>,
    /// When it was stored that a provider accepted a job: the provider's index, and the job.
    acceptances: Vec<(Duration, usize, JobId)>,
    /// For each provider how often a series of rejections ended: by an acceptance, a new life of the
    /// server, or other settings.
    series: BTreeMap<usize, u64>,
    /// How often a job was sent in a series, and in which.
    sent_in_series: BTreeMap<JobId, (u64, u32)>,
    /// How many jobs failed in each series of rejections.
    failed_in_series: BTreeMap<(usize, u64), u32>,
    /// From when on the marker of an attempt is searched for again at the planned times.
    searched_from: BTreeMap<Marker, Duration>,
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) claimed_at: Duration,
    /// Whether the claim was claimed again: by another life of the server, or because the answer to
    /// the first claim was lost.
    reclaimed: bool,
    pub(crate) origin: ClaimOrigin,
    /// Whether the credentials were those of another account then.
    pub(crate) of_other_account: bool,
    sent: Option<Sent>,
    /// When its call ended, unless its process died before.
    pub(crate) call_ended_at: Option<Duration>,
    /// The series of rejections that it belongs to.
    rejected_in: Option<(usize, u64)>,
}

/// What became of a submission, as far as it matters for whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It may have arrived.
    MayArrive,
    /// The provider refused it, or it never arrived.
    Failed,
    /// The provider's code panicked.
    Panicked,
    /// The process died.
    Died,
    /// The provider rejected the job itself.
    RejectedInput,
}

#[derive(Debug, Default, Clone, Copy)]
struct Interrupted {
    panics: u32,
    reclaims: u32,
}

/// The time within which another job must be accepted before and after a failure that counts.
const NEAR: Duration = Duration::from_mins(10);
/// How exactly stored times and simulated ones agree.
const SLACK: Duration = Duration::from_secs(1);

impl Evidence {
    pub(crate) fn claimed(
        &mut self,
        marker: Marker,
        origin: ClaimOrigin,
        (claimed_at, of_other_account): (Duration, bool),
    ) {
        let attempt = Attempt {
            claimed_at,
            reclaimed: false,
            origin,
            of_other_account,
            sent: None,
            call_ended_at: None,
            rejected_in: None,
        };
        self.attempts.insert(marker, attempt);
    }

    /// A claim was claimed again.
    pub(crate) fn reclaimed(&mut self, marker: Marker, origin: ClaimOrigin) {
        if let Some(attempt) = self.attempts.get_mut(&marker) {
            (attempt.reclaimed, attempt.origin) = (true, origin);
        }
        self.interrupted.entry(marker.job).or_default().reclaims += 1;
    }

    pub(crate) fn sent(&mut self, marker: Marker, what: Sent) {
        if let Some(attempt) = self.attempts.get_mut(&marker) {
            attempt.sent = Some(what);
        }
        if what == Sent::Panicked {
            self.interrupted.entry(marker.job).or_default().panics += 1;
        }
    }

    pub(crate) fn call_ended(&mut self, marker: Marker, at: Duration) {
        if let Some(attempt) = self.attempts.get_mut(&marker) {
            attempt.call_ended_at = Some(at);
        }
    }

    pub(crate) fn attempt(&self, marker: Marker) -> Option<Attempt> {
        self.attempts.get(&marker).copied()
    }

    /// Whether the provider rejected what the job asks for.
    pub(crate) fn was_rejected(&self, job: JobId) -> bool {
        self.of_job(job).any(|attempt| attempt.sent == Some(Sent::RejectedInput))
    }

    fn of_job(&self, job: JobId) -> impl Iterator<Item = &Attempt> {
        let all = Marker { job, attempt: 0 }..=Marker { job, attempt: u32::MAX };
        self.attempts.range(all).map(|(_, attempt)| attempt)
    }

    /// It is stored that an attempt ended as not arrived.
    pub(crate) fn not_arrived(&mut self, marker: Marker, at: Duration) {
        self.searched_from.insert(marker, at);
        let Some(attempt) = self.attempts.get(&marker) else { return };
        if attempt.reclaimed {
            // That it was interrupted is no fault of the job, whatever became of it.
            return;
        }
        match attempt.sent {
            Some(Sent::Failed) => self.failures.entry(marker.job).or_default().push(at),
            Some(Sent::MayArrive | Sent::Panicked | Sent::Died | Sent::RejectedInput) | None => {}
        }
        if attempt.origin == ClaimOrigin::New && attempt.sent != Some(Sent::Panicked) {
            // This dispatch came to its end by itself.
            self.interrupted.remove(&marker.job);
        }
    }

    /// It is stored that a provider has a job.
    pub(crate) fn accepted(&mut self, marker: Marker, at: Duration, provider: usize) {
        self.acceptances.push((at, provider, marker.job));
        self.interrupted.remove(&marker.job);
    }

    /// How often a job failed through its own fault, at most: so that another job's submission was
    /// accepted shortly before and shortly after.
    pub(crate) fn own_failures(&self, job: JobId, provider: usize) -> usize {
        let others = || {
            self.acceptances.iter().filter(move |it| it.1 == provider && it.2 != job).map(|it| it.0)
        };
        let near = NEAR + SLACK;
        let failures = self.failures.get(&job).map_or(&[] as &[Duration], Vec::as_slice);
        let is_own = |at: &&Duration| {
            others().any(|it| it <= **at && at.abs_diff(it) <= near)
                && others().any(|it| it >= **at && at.abs_diff(it) <= near)
        };
        failures.iter().filter(is_own).count()
    }

    /// Whether a job ended its dispatch as often as one may that goes on nevertheless.
    pub(crate) fn ended_its_dispatches(&self, job: JobId) -> bool {
        let Interrupted { panics, reclaims } =
            self.interrupted.get(&job).copied().unwrap_or_default();
        panics >= 3 || reclaims >= 10
    }

    /// What was rejected before does not count with what will be.
    pub(crate) fn end_series(&mut self, provider: usize) {
        *self.series.entry(provider).or_default() += 1;
    }

    /// A job is sent; how often it was so in this series, with this time.
    pub(crate) fn sent_in_series(&mut self, job: JobId, provider: usize) -> u32 {
        let series = self.series.get(&provider).copied().unwrap_or_default();
        let (latest, times) = self.sent_in_series.entry(job).or_insert((series, 0));
        if *latest != series {
            (*latest, *times) = (series, 0);
        }
        *times += 1;
        *times
    }

    /// The provider rejected an attempt because of its settings.
    pub(crate) fn rejected_for_settings(&mut self, marker: Marker, provider: usize) {
        let series = self.series.get(&provider).copied().unwrap_or_default();
        if let Some(attempt) = self.attempts.get_mut(&marker) {
            attempt.rejected_in = Some((provider, series));
        }
    }

    /// A job failed because of the settings: how many did so in this series; `None` when it was not
    /// rejected for them.
    pub(crate) fn failed_for_settings(&mut self, marker: Marker) -> Option<u32> {
        let series = self.attempts.get(&marker)?.rejected_in?;
        let failed = self.failed_in_series.entry(series).or_default();
        *failed += 1;
        Some(*failed)
    }

    /// The marker of an attempt is searched for again, counted from now.
    pub(crate) fn search_from(&mut self, marker: Marker, at: Duration) {
        self.searched_from.insert(marker, at);
    }

    pub(crate) fn searched_from(&self, marker: Marker) -> Option<Duration> {
        self.searched_from.get(&marker).copied()
    }

    /// A backup of this time was put back: what was to be searched for since is forgotten.
    pub(crate) fn forget_since(&mut self, backed_up_at: Duration) {
        self.searched_from.retain(|_, at| *at <= backed_up_at);
    }
}
