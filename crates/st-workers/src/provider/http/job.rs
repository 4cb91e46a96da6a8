//! A job in an answer: its ID, its status in our words, its times, its cost.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use st_store::{JobId, JobStatus, ProviderEnding, ProviderJobId, ProviderStatus};

use super::pointer::{Pointer, scalar};
use super::reading::{IdAt, NumberAt, TimeAt};
use super::rule::{Condition, Test};
use super::section::{Faults, Place, Section};
use super::values::parse_marker;
use crate::provider::{NoPrice, OutputFile, OutputList};

/// Longer texts of errors are cut.
const LONGEST_ERROR: usize = 2000;
/// Longer results are data and not addresses.
const LONGEST_OUTPUT: usize = 2048;
const LONGEST_WORD: usize = 100;

const STATES: [(&str, JobStatus); 5] = [
    ("queued", JobStatus::Queued),
    ("running", JobStatus::Running),
    ("completed", JobStatus::Completed),
    ("failed", JobStatus::Failed),
    ("cancelled", JobStatus::Cancelled),
];

/// The words for how the provider ended a job by itself.
pub(super) const ENDINGS: [(&str, ProviderEnding); 2] =
    [("aborted", ProviderEnding::Aborted), ("preempted", ProviderEnding::Preempted)];

/// What the provider's word for a status means.
#[derive(Debug, Clone)]
struct StatusRule {
    means: JobStatus,
    /// How the provider ended it, where it did so by itself.
    ending: Option<ProviderEnding>,
    condition: Condition,
}

/// How a job is read.
#[derive(Debug, Clone)]
pub(super) struct JobShape {
    id: IdAt,
    marker: Option<Pointer>,
    status: Vec<StatusRule>,
    created_at: Option<TimeAt>,
    started_at: Option<TimeAt>,
    finished_at: Option<TimeAt>,
    seconds: Option<NumberAt>,
    cost: Option<CostAt>,
    error: Vec<Pointer>,
    output: Option<Pointer>,
}

/// Whose job it is that the provider has under an ID of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Ours,
    /// The ID was used again.
    Another,
    /// The marker is absent or cannot be read, which proves nothing.
    NotKnown,
}

/// An amount, or a count with its price.
#[derive(Debug, Clone)]
struct CostAt {
    /// Added up.
    parts: Vec<NumberAt>,
    price: Option<String>,
}

/// What one unit costs, in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Price {
    PerSecond(f64),
    PerUnit(f64),
}

/// The prices, by name: of hardware, of counted things, and `default`.
pub(super) type Prices = BTreeMap<String, Price>;

impl JobShape {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let id = section.require("id", IdAt::read);
        let marker = section.read("marker", Pointer::read);
        let status = states(&mut section);
        let created_at = section.read("created_at", TimeAt::read);
        let started_at = section.read("started_at", TimeAt::read);
        let finished_at = section.read("finished_at", TimeAt::read);
        let seconds = section.read("seconds", NumberAt::read);
        let cost = section.read("cost", CostAt::read);
        let error = section.read_each("error", Pointer::read);
        let output = section.read("output", Pointer::read);
        section.finish();
        Some(Self {
            id: id?,
            marker,
            status: status?,
            created_at,
            started_at,
            finished_at,
            seconds,
            cost,
            error,
            output,
        })
    }

    /// The name of the price that its cost is counted with.
    pub(super) fn counted_price(&self) -> Option<&str> {
        self.cost.as_ref()?.price.as_deref()
    }

    /// Whether its cost is by the time that it ran.
    pub(super) fn is_priced_by_time(&self) -> bool {
        self.cost.is_none() && self.seconds.is_some()
    }

    pub(super) fn id(&self, job: &Value) -> Option<String> {
        self.id.get(job)
    }

    /// The status in our words; `None` where no rule matches.
    pub(super) fn status(&self, job: &Value) -> Option<JobStatus> {
        self.rule(job).map(|rule| rule.means)
    }

    fn rule(&self, job: &Value) -> Option<&StatusRule> {
        self.status.iter().find(|rule| rule.condition.holds(job))
    }

    /// Whether a status can say that the provider ended the job by itself.
    pub(super) fn has_ending(&self, ending: ProviderEnding) -> bool {
        self.status.iter().any(|rule| rule.ending == Some(ending))
    }

    /// The provider's own word for its status, where no rule knows it.
    pub(super) fn word(&self, job: &Value) -> Option<String> {
        let found = self.status.iter().find_map(|rule| rule.condition.at.get(job))?;
        let word = scalar(found).unwrap_or_else(|| found.to_string());
        Some(word.chars().take(LONGEST_WORD).collect())
    }

    pub(super) fn created_at(&self, job: &Value) -> Option<Timestamp> {
        self.created_at.as_ref()?.get(job)
    }

    /// Whether a list of such jobs shows when they were made.
    pub(super) fn has_creation(&self) -> bool {
        self.created_at.is_some()
    }

    /// Whose job it is, where that is read with each status. `at`: where the marker is in a row of a
    /// list, which may have another form than the answer about one job.
    pub(super) fn owner(&self, job: &Value, at: Option<&Pointer>, ours: JobId) -> Owner {
        let Some(own) = &self.marker else { return Owner::Ours };
        match at.unwrap_or(own).text(job).as_deref().and_then(parse_marker) {
            Some(marker) if marker.job == ours => Owner::Ours,
            Some(_) => Owner::Another,
            None => Owner::NotKnown,
        }
    }

    /// Whether the answer shows which of our jobs it is about, where the description requires that.
    pub(super) fn shows_owner(&self, job: &Value, at: Option<&Pointer>) -> bool {
        let marker = |own| at.unwrap_or(own).text(job).as_deref().and_then(parse_marker);
        self.marker.as_ref().is_none_or(|own| marker(own).is_some())
    }

    /// All of it, under this ID.
    pub(super) fn report(
        &self,
        job: &Value,
        id: &str,
        prices: &Prices,
        hardware: Option<&str>,
    ) -> ProviderStatus {
        let time = |at: &Option<TimeAt>| at.as_ref().and_then(|at| at.get(job));
        ProviderStatus {
            provider_job_id: ProviderJobId::new(id),
            status: self.status(job),
            started_at: time(&self.started_at),
            completed_at: time(&self.finished_at),
            cost_usd: self.cost(job, prices, hardware),
            error_message: self.error_text(job),
            output_url: self.output_text(job),
            ending: self.rule(job).and_then(|rule| rule.ending),
            results_kept_for: None,
        }
    }

    /// In US dollars; `None` where a part of it is not known.
    fn cost(&self, job: &Value, prices: &Prices, hardware: Option<&str>) -> Option<f64> {
        if let Some(cost) = &self.cost {
            let parts: Option<Vec<f64>> = cost.parts.iter().map(|part| part.get(job)).collect();
            let amount: f64 = parts?.into_iter().sum();
            let Some(name) = &cost.price else { return Some(amount.max(0.0)) };
            let Some(Price::PerUnit(price)) = prices.get(name) else { return None };
            return Some((amount * price).max(0.0));
        }
        let seconds = self.seconds.as_ref()?.get(job)?;
        Some((seconds * per_second(prices, hardware)?).max(0.0))
    }

    /// What a second costs of a job that asks for this hardware.
    pub(super) fn price_per_second(
        &self,
        prices: &Prices,
        hardware: Option<&str>,
    ) -> Result<f64, NoPrice> {
        if self.cost.is_some() {
            return Err(NoPrice::new("the provider says what a job cost only when it has run"));
        }
        if self.seconds.is_none() {
            return Err(NoPrice::new("the provider's description does not say what jobs cost"));
        }
        per_second(prices, hardware).ok_or_else(|| {
            let of = hardware.map_or_else(String::new, |name| format!("{name:?} nor "));
            NoPrice::new(format!(
                "the provider's description has no price by the second of {of}default"
            ))
        })
    }

    fn error_text(&self, job: &Value) -> Option<String> {
        let error = self.error.iter().find_map(|at| at.get(job))?;
        let text = scalar(error).unwrap_or_else(|| error.to_string());
        let text: String = text.chars().take(LONGEST_ERROR).collect();
        Some(text).filter(|text| !text.is_empty())
    }

    /// A result that is text. Anything else is data, which is not kept.
    fn output_text(&self, job: &Value) -> Option<String> {
        let text = self.output.as_ref()?.get(job)?.as_str()?;
        let is_short = (1..=LONGEST_OUTPUT).contains(&text.len());
        (is_short && !text.contains(char::is_control)).then(|| text.to_owned())
    }

    /// The file that it made. What the description names as the output is always meant to be its address.
    pub(super) fn outputs(&self, job: &Value) -> OutputList {
        let Some(text) = self.output_text(job) else { return OutputList::default() };
        let files: Vec<OutputFile> = OutputFile::at(&text).into_iter().collect();
        let left_out = usize::from(files.is_empty());
        OutputList { files, left_out }
    }
}

impl CostAt {
    fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let has_price = place.value.as_object().is_some_and(|it| it.contains_key("price"));
        if !has_price {
            let parts = place.one_or_many().into_iter();
            let parts: Vec<_> = parts.map(|part| NumberAt::read(&part, faults)).collect();
            let parts = parts.into_iter().collect::<Option<_>>()?;
            return Some(Self { parts, price: None });
        }
        let mut section = place.section(faults)?;
        let at = section.require("at", Pointer::read);
        let price = section.require("price", Place::text);
        section.finish();
        let at = Value::String(at?.as_str().to_owned());
        let part = NumberAt::read(&place.below("at", &at), faults)?;
        Some(Self { parts: vec![part], price: price.map(str::to_owned) })
    }
}

fn states(section: &mut Section<'_, '_>) -> Option<Vec<StatusRule>> {
    let Some(place) = section.get("status") else {
        section.fault(
            "status",
            "is required: a list of rules such as {means: running, at: /status, is: RUNNING}",
        );
        return None;
    };
    let faults = &mut *section.faults;
    let mut rules: Vec<StatusRule> = Vec::new();
    let mut all_read = true;
    for place in place.one_or_many() {
        let Some(rule) = state(&place, faults) else {
            all_read = false;
            continue;
        };
        if rules.iter().any(|earlier| rule.condition.is_shadowed_by(&earlier.condition)) {
            place.fault::<()>(faults, "never matches: a rule above it matches all of it");
        }
        rules.push(rule);
    }
    for (word, status) in STATES {
        let is_there = rules.iter().any(|rule| rule.means == status);
        let needed = matches!(status, JobStatus::Completed | JobStatus::Failed);
        if all_read && needed && !is_there {
            place.fault::<()>(faults, format!("no rule means {word}, so no job could end so"));
        }
    }
    all_read.then_some(rules)
}

fn state(place: &Place<'_>, faults: &mut Faults) -> Option<StatusRule> {
    let mut section = place.section(faults)?;
    let means = section.require("means", |place, faults| place.word(faults, &STATES));
    let condition = Condition::from(&mut section);
    if let Some(Condition { test: Test::Any(_), at, .. }) = &condition
        && at.as_str().is_empty()
    {
        section.fault("at", "names the list that is searched");
    }
    let ending = section.read("ended", |place, faults| place.word(faults, &ENDINGS));
    let is_over = matches!(means, Some(JobStatus::Failed | JobStatus::Cancelled) | None);
    if ending.is_some() && !is_over {
        section.fault("ended", "is only for a rule that means failed or cancelled");
    }
    section.finish();
    Some(StatusRule { means: means?, ending, condition: condition? })
}

/// That of the hardware, else the default one; in US dollars.
fn per_second(prices: &Prices, hardware: Option<&str>) -> Option<f64> {
    let by_hardware = hardware.and_then(|name| prices.get(name));
    match by_hardware.or_else(|| prices.get("default")) {
        Some(Price::PerSecond(price)) => Some(*price),
        Some(Price::PerUnit(_)) | None => None,
    }
}

impl Price {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let mut amount = |key: &'static str| {
            section.read(key, |place, faults| {
                let amount = place.number(faults)?;
                if amount < 0.0 { place.fault(faults, "may not be negative") } else { Some(amount) }
            })
        };
        let per_second = amount("usd_per_second").map(Self::PerSecond);
        let per_unit = amount("usd_per_unit").map(Self::PerUnit);
        let per_million = amount("usd_per_million").map(|usd| Self::PerUnit(usd / 1e6));
        let given: Vec<Self> = [per_second, per_unit, per_million].into_iter().flatten().collect();
        if given.len() != 1 {
            section.fault_here("needs one of usd_per_second, usd_per_unit and usd_per_million");
        }
        section.finish();
        given.first().copied()
    }
}
