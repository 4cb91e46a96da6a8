//! What will go wrong in one simulated world. All of it is drawn from the seed, before anything
//! happens, except for what depends on the course of events.

use std::time::Duration;

use fastrand::Rng;
use jiff::SignedDuration;
use st_workers::provider::Cause;

use crate::clocks::ProviderClock;
use crate::draw::Draw;

/// What a provider promises is how long after the end of a call a submission can appear in its list.
/// These shares of that time are used up, at most, by a slow acceptance, by one after the end of
/// the call, and by the list; the rest is for a duplicate that follows within seconds.
pub(crate) const SLOW: f64 = 0.5;
pub(crate) const LATE: f64 = 0.6;
const LIST_LAG: f64 = 0.3;

/// From when to when something is so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Span {
    pub(crate) fn contains(self, at: Duration) -> bool {
        self.from <= at && at < self.to
    }
}

/// The plan of a world.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether requests may arrive later than the provider promises, and twice.
    pub(crate) wild: bool,
    /// How long users act and faults happen. After that everything works, and is to come to an end.
    pub(crate) active_for: Duration,
    pub(crate) providers: Vec<ProviderPlan>,
    pub(crate) lives: Vec<LifePlan>,
    /// When the store's calls fail now and then.
    pub(crate) store_faults: Vec<Span>,
    /// How often a call of the store is slow.
    pub(crate) slow_store: f64,
}

/// The plan of one provider.
#[derive(Debug)]
pub(crate) struct ProviderPlan {
    pub(crate) name: &'static str,
    /// How long after the end of a call a submission may still arrive, if the world is proper.
    pub(crate) may_arrive_for: Duration,
    pub(crate) clock: ProviderClock,
    pub(crate) phases: Vec<Phase>,
    pub(crate) rates: Rates,
    /// How long after its arrival a job appears in the list, at most.
    pub(crate) list_lag: Duration,
    /// How many jobs of strangers the list shows.
    pub(crate) strangers: usize,
    /// Whether the list ignores what times it is asked for.
    pub(crate) ignores_filters: bool,
    /// When people copy jobs by hand, at the provider.
    pub(crate) copies: Vec<Duration>,
    /// When the version in the settings is wrong, or missing.
    pub(crate) wrong_settings: Vec<(Span, bool)>,
}

/// How often something goes wrong with one request, apart from phases.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) lost_request: f64,
    pub(crate) lost_reply: f64,
    pub(crate) late: f64,
    /// Of the requests whose reply is lost.
    pub(crate) doubled: f64,
    pub(crate) slow: f64,
    pub(crate) hangs: f64,
    /// Of questions: an error of the provider's own, or 429.
    pub(crate) trouble: f64,
    /// Of pages of the list: rows repeated or out of order, the same `next` again.
    pub(crate) odd_page: f64,
    pub(crate) hidden_status: f64,
    pub(crate) older_status: f64,
    /// Of jobs: the provider loses them, and they end.
    pub(crate) forgotten: f64,
}

/// A time in which a provider behaves differently.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) span: Span,
    pub(crate) trouble: Trouble,
}

/// What is different in a phase.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// It cannot be reached.
    Outage,
    /// The same, for about a day.
    LastingOutage,
    /// Its name is not resolved, nearly always.
    Unresolved,
    /// It refuses every call because there are too many, and perhaps says for how long.
    Throttling { wish: Option<Duration> },
    /// It refuses submissions, questions or both.
    Refusal { cause: Cause, submissions: bool, questions: bool },
    /// The credentials are those of another account, which may not submit.
    OtherAccount,
    /// It knows no job by its ID.
    KnowsNothing,
    /// Everything that can go wrong with a request does so more often.
    Storm,
}

/// One life of the server.
#[derive(Debug)]
pub(crate) struct LifePlan {
    /// How it ends.
    pub(crate) end: LifeEnd,
    /// How long it lasts if nothing ends it before.
    pub(crate) at_most: Duration,
    /// How long the server is down after it.
    pub(crate) pause: Duration,
    /// How wrong the machine's clock is from the next life on, if it is set meanwhile.
    pub(crate) clock_after: Option<SignedDuration>,
    /// The clock is set while the life goes on: how long after its beginning, and how wrong it is then.
    pub(crate) step: Option<(Duration, SignedDuration)>,
    /// What is done with the database after it.
    pub(crate) database: Database,
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LifeEnd {
    /// The process dies at this call to the store or a provider, before or after its effect.
    DiesAtCall { call: u64, after_effect: bool },
    /// The process dies in the end.
    Dies,
    /// It is stopped in the end.
    Stops,
}

/// What is done with the database between two lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Database {
    Kept,
    BackedUp,
    /// The last backup replaces it, if there is one.
    Restored,
}

impl Plan {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let wild = random.chance(0.2);
        let active_for = if random.chance(0.8) {
            random.minutes(30.0..120.0)
        } else {
            random.minutes(120.0..480.0)
        };
        let names: &[&'static str] = if random.bool() { &["alpha"] } else { &["alpha", "beta"] };
        let providers =
            names.iter().map(|name| provider(random, name, active_for).wilder_if(wild)).collect();
        let lives = lives(random, active_for);
        let count = random.usize(0..3);
        let store_faults = (0..count).map(|_| span(random, active_for, 1.0..15.0)).collect();
        Self { wild, active_for, providers, lives, store_faults, slow_store: random.rate(0.2) }
    }

    /// Whether nothing goes wrong with questions to a provider, or with the store, at this time.
    pub(crate) fn is_quiet(&self, provider: usize, (from, to): (Duration, Duration)) -> bool {
        let overlaps = |span: &Span| span.from <= to && from <= span.to;
        let plan = &self.providers[provider];
        let rates = &plan.rates;
        let one_page = plan.strangers < 100;
        rates.trouble == 0.0
            && rates.hangs == 0.0
            && self.slow_store == 0.0
            && (one_page || rates.odd_page == 0.0)
            && !plan.phases.iter().any(|phase| overlaps(&phase.span))
            && !self.store_faults.iter().any(overlaps)
    }

    /// Whether a backup is ever put back.
    pub(crate) fn restores(&self) -> bool {
        self.lives.iter().any(|life| life.database == Database::Restored)
    }
}

/// A span that begins within `within` and lasts `minutes`; it ends with `within`.
fn span(random: &mut Rng, within: Duration, minutes: std::ops::Range<f64>) -> Span {
    let from = random.seconds(0.0..within.as_secs_f64());
    let to = (from + random.minutes(minutes)).min(within);
    Span { from, to }
}

fn provider(random: &mut Rng, name: &'static str, active_for: Duration) -> ProviderPlan {
    let may_arrive_for =
        if random.chance(0.7) { Duration::from_mins(2) } else { random.minutes(2.0..6.0) };
    let strangers = match random.u8(0..10) {
        0..4 => 0,
        4..9 => random.usize(1..120),
        _ => random.usize(300..2500),
    };
    let copies = if random.chance(0.3) { random.usize(1..5) } else { 0 };
    let wrong = if random.chance(0.3) { random.usize(1..3) } else { 0 };
    ProviderPlan {
        name,
        may_arrive_for,
        clock: clock(random, active_for),
        phases: phases(random, active_for),
        rates: rates(random),
        list_lag: if random.bool() {
            Duration::ZERO
        } else {
            random.seconds(0.5..LIST_LAG * may_arrive_for.as_secs_f64())
        },
        strangers,
        ignores_filters: random.chance(0.15),
        copies: (0..copies).map(|_| random.seconds(600.0..active_for.as_secs_f64())).collect(),
        wrong_settings: (0..wrong)
            .map(|_| (span(random, active_for, 5.0..40.0), random.chance(0.3)))
            .collect(),
    }
}

impl ProviderPlan {
    /// The same, with enough requests that are late if the world is wild.
    fn wilder_if(mut self, wild: bool) -> Self {
        if wild {
            self.rates.late = self.rates.late.max(0.15);
        }
        self
    }
}

fn rates(random: &mut Rng) -> Rates {
    Rates {
        lost_request: random.rate(0.3),
        lost_reply: random.rate(0.3),
        late: random.rate(0.3),
        doubled: random.rate(0.6),
        slow: random.rate(0.2),
        hangs: random.rate(0.02),
        trouble: random.rate(0.1),
        odd_page: random.rate(0.3),
        hidden_status: random.rate(0.05),
        older_status: random.rate(0.05),
        forgotten: if random.chance(0.1) { 0.05 } else { 0.0 },
    }
}

fn clock(random: &mut Rng, active_for: Duration) -> ProviderClock {
    let offset = |random: &mut Rng| match random.u8(0..4) {
        0 | 1 => SignedDuration::from_secs(random.i64(-60..60)),
        2 => SignedDuration::from_mins(random.i64(-30..30)),
        _ => SignedDuration::from_mins(random.i64(-300..300)),
    };
    let mut wrong_by = vec![(Duration::ZERO, offset(random))];
    if random.chance(0.2) {
        let mut moments: Vec<Duration> = (0..random.usize(1..4))
            .map(|_| random.seconds(0.0..active_for.as_secs_f64()))
            .collect();
        moments.sort();
        wrong_by.extend(moments.into_iter().map(|at| (at, offset(random))));
    }
    ProviderClock { wrong_by }
}

fn phases(random: &mut Rng, active_for: Duration) -> Vec<Phase> {
    let mut phases = Vec::new();
    for _ in 0..random.usize(0..6) {
        let trouble = match random.u8(0..10) {
            0..3 => Trouble::Outage,
            3..6 => refusal(random),
            6..8 => Trouble::OtherAccount,
            _ => Trouble::Storm,
        };
        let minutes = if random.chance(0.3) { 0.1..2.0 } else { 3.0..60.0 };
        phases.push(Phase { span: span(random, active_for, minutes), trouble });
    }
    if random.chance(0.3) {
        // One of less than ten minutes at most: after that a job may be believed to be gone.
        let span = span(random, active_for, 1.0..9.0);
        phases.push(Phase { span, trouble: Trouble::KnowsNothing });
    }
    phases
}

fn refusal(random: &mut Rng) -> Trouble {
    let cause = *random.pick(&[
        Cause::Credentials,
        Cause::Account,
        Cause::Throttled,
        Cause::Throttled,
        Cause::Trouble,
    ]);
    let (submissions, questions) = *random.pick(&[(true, true), (true, false), (false, true)]);
    // An error of the provider's own leaves it unknown whether a submission arrived.
    let submissions = submissions && cause != Cause::Trouble;
    Trouble::Refusal { cause, submissions, questions: questions || !submissions }
}

fn lives(random: &mut Rng, active_for: Duration) -> Vec<LifePlan> {
    let mut lives = Vec::new();
    let count = if random.chance(0.2) { 0 } else { random.usize(1..9) };
    let backups = count > 1 && random.chance(0.4);
    // The store in memory gets a backup back only where its clock was never set.
    let steady = backups && random.chance(0.7);
    for number in 0..count {
        let length = random.seconds(0.0..2.0 * active_for.as_secs_f64() / count as f64);
        let end = match random.u8(0..10) {
            0..5 => LifeEnd::DiesAtCall {
                call: if random.bool() { random.u64(1..60) } else { random.u64(60..3000) },
                after_effect: random.bool(),
            },
            5..8 => LifeEnd::Dies,
            _ => LifeEnd::Stops,
        };
        let pause = match random.u8(0..10) {
            0..6 => random.seconds(0.0..20.0),
            6..9 => random.minutes(0.5..20.0),
            _ => random.minutes(20.0..180.0),
        };
        let database = match random.u8(0..4) {
            0 if backups => Database::Kept,
            _ if backups && number % 2 == 0 => Database::BackedUp,
            _ if backups => Database::Restored,
            _ => Database::Kept,
        };
        let (while_down, while_up) = if steady { (0.0, 0.0) } else { (0.2, 0.15) };
        let clock_after = random.chance(while_down).then(|| machine_step(random));
        let step = random
            .chance(while_up)
            .then(|| (random.seconds(0.0..length.as_secs_f64() + 1.0), machine_step(random)));
        lives.push(LifePlan { end, at_most: length, pause, clock_after, step, database });
    }
    lives
}

/// How wrong the machine's clock is after it was set.
fn machine_step(random: &mut Rng) -> SignedDuration {
    match random.u8(0..10) {
        0..4 => SignedDuration::from_secs(random.i64(-900..900)),
        4..7 => SignedDuration::from_mins(random.i64(-600..600)),
        7 | 8 => SignedDuration::from_hours(random.i64(-24 * 20..24 * 20)),
        _ => SignedDuration::from_hours(24 * 365 * 13),
    }
}
