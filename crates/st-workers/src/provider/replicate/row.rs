//! A prediction, by itself or as a row of the list. Read leniently: a field that is missing, null or
//! of another type says nothing and spoils nothing else. Only what is asked for is read, because
//! most rows of a list are data from strangers.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use st_store::{Marker, ProviderEnding, ProviderJobId, ProviderStatus};

use super::fields::{Field, lossy_text, pick, read};
use super::price::Prices;
use super::{MARKER, status};
use crate::provider::excerpt::{Keep, Shape};
use crate::provider::{ListedJob, Trace};

/// Replicate deletes the input, the output, the files and the log of a prediction one hour after its end
/// (its documentation, "Data retention").
const KEPT_FOR: Duration = Duration::from_hours(1);
/// Longer results are data and not addresses.
const LONGEST_URL: usize = 2048;
const LONGEST_ERROR: usize = 2000;
/// So many of the outputs are searched for an address.
const OUTPUTS: usize = 8;
/// Longer IDs make URLs that nothing accepts.
const LONGEST_ID: usize = 200;

/// Bytes of a text as it is written, quotes included, that can be as long as this many characters.
const fn written(characters: usize) -> usize {
    6 * characters + 2
}

/// A text of few words, such as an ID or a time.
pub(super) const WORD: Shape = Shape::text(Keep::Whole(written(LONGEST_ID)));
/// A field that is true or false; a text in its place is dropped.
pub(super) const FLAG: Shape = Shape::text(Keep::Whole(0));
const URL: Shape = Shape::text(Keep::Whole(2 * LONGEST_URL));
const ERROR: Shape = Shape::text(Keep::Start(written(LONGEST_ERROR)));

/// The fields that are read, and how much of each is needed.
const FIELDS: [(&str, Shape); 13] = [
    ("id", WORD),
    ("status", WORD),
    ("model", WORD),
    ("input", WORD.or_members(&[(MARKER, WORD)])),
    ("output", URL.or_items(&URL, OUTPUTS).or_members(&[("weights", URL)])),
    ("error", ERROR.or_container(16 * 1024)),
    ("created_at", WORD),
    ("started_at", WORD),
    ("completed_at", WORD),
    ("deadline", WORD),
    ("metrics", WORD.or_members(&[("predict_time", WORD)])),
    ("source", WORD),
    ("data_removed", FLAG),
];

/// What is kept of an answer about one job, or of a row.
pub(super) const JOB: Shape = WORD.or_members(&FIELDS);

/// A prediction whose fields were found and not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    id: Field<'a>,
    status: Field<'a>,
    model: Field<'a>,
    input: Field<'a>,
    output: Field<'a>,
    error: Field<'a>,
    created_at: Field<'a>,
    started_at: Field<'a>,
    completed_at: Field<'a>,
    deadline: Field<'a>,
    metrics: Field<'a>,
    source: Field<'a>,
    data_removed: Field<'a>,
}

/// What a row of the list is to us.
#[derive(Debug)]
pub(super) enum Sorted {
    /// It carries our marker or has lost whatever it carried.
    Candidate(Box<ListedJob>),
    /// It is certainly not ours.
    Foreign,
    /// It cannot be used.
    Unreadable,
}

#[derive(Deserialize)]
struct Metrics {
    /// Seconds.
    predict_time: Option<f64>,
}

impl<'a> Row<'a> {
    /// A prediction; `None` when the text is no JSON object.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        let [
            id,
            status,
            model,
            input,
            output,
            error,
            created_at,
            started_at,
            completed_at,
            deadline,
            metrics,
            source,
            data_removed,
        ] = pick(json, FIELDS.map(|(name, _)| name)).ok()?;
        Some(Self {
            id,
            status,
            model,
            input,
            output,
            error,
            created_at,
            started_at,
            completed_at,
            deadline,
            metrics,
            source,
            data_removed,
        })
    }

    /// Its ID; `None` when that cannot be a part of a URL.
    pub(super) fn id(&self) -> Option<String> {
        // The most characters that a text of this length can have, however it is escaped.
        let short = self.id.filter(|id| id.get().len() <= written(LONGEST_ID));
        read::<String>(short).filter(|id| is_safe_id(id))
    }

    /// The provider's word for its status; `None` where that is no text.
    pub(super) fn word(&self) -> Option<String> {
        read(self.status)
    }

    pub(super) fn created_at(&self) -> Option<Timestamp> {
        time(self.created_at)
    }

    /// The provider deletes what a job was given and printed an hour after its end.
    pub(super) fn is_deleted(&self) -> bool {
        read(self.data_removed) == Some(true)
    }

    /// What the list says about it, for one who searches for markers. A marker and an ID are enough:
    /// that a submission arrived must not be missed because of an odd field beside them.
    pub(super) fn sorted(&self, prices: &Prices, now: Option<Timestamp>) -> Sorted {
        let Some(status) = self.to_status(prices, now) else { return Sorted::Unreadable };
        let trace = match self.marker() {
            Some(marker) => Trace::Marker { marker, by_hand: self.is_by_hand() },
            None if self.is_deleted() => Trace::Deleted,
            None if self.word().is_none() => return Sorted::Unreadable,
            None => return Sorted::Foreign,
        };
        let created_at = self.created_at();
        Sorted::Candidate(Box::new(ListedJob { status, created_at, trace }))
    }

    /// `None` without an ID that can be used. A model whose price is not known has no cost. `now`: the
    /// provider's time, where it is known.
    pub(super) fn to_status(
        self,
        prices: &Prices,
        now: Option<Timestamp>,
    ) -> Option<ProviderStatus> {
        let status = self.word().and_then(|word| status::parse_status(&word));
        Some(ProviderStatus {
            provider_job_id: ProviderJobId::new(self.id()?),
            status,
            started_at: time(self.started_at),
            completed_at: time(self.completed_at),
            cost_usd: self.cost(prices),
            error_message: self.why(),
            output_url: self.output_url(),
            ending: self.ending(),
            results_kept_for: status
                .filter(|status| status.is_terminal())
                .map(|_| self.kept_for(now)),
        })
    }

    /// How long its log and its output can still be read, by the provider's own times alone. Where they
    /// do not say when it ended, that was just now.
    fn kept_for(&self, now: Option<Timestamp>) -> Duration {
        if self.is_deleted() {
            return Duration::ZERO;
        }
        let Some((ended, now)) = time(self.completed_at).zip(now) else { return KEPT_FOR };
        let since = Duration::try_from(now.duration_since(ended)).unwrap_or(Duration::ZERO);
        KEPT_FOR.saturating_sub(since)
    }

    /// What it cost, by the model that ran: what was asked for may be something else.
    fn cost(&self, prices: &Prices) -> Option<f64> {
        let seconds = read::<Metrics>(self.metrics)?.predict_time?;
        let model: String = read(self.model)?;
        Some(seconds.max(0.0) * prices.per_second(&model)?)
    }

    /// Why it failed, or why the provider ended it.
    fn why(&self) -> Option<String> {
        let error = self.error_text();
        let Some(ended) = self.ended_by_provider() else { return error };
        let why = error.as_deref().unwrap_or(ended);
        Some(format!("the provider ended it: {why}"))
    }

    /// Why the provider ended it, where that was not a cancellation.
    fn ended_by_provider(&self) -> Option<&'static str> {
        match self.word()?.as_str() {
            "aborted" => Some("its time was over before it began"),
            "canceled" if self.is_past_deadline() => Some("it took longer than its time limit"),
            _ => None,
        }
    }

    /// A job whose time limit ended it is not to be run once more: it would take as long again.
    fn ending(&self) -> Option<ProviderEnding> {
        (self.word()? == "aborted").then_some(ProviderEnding::Aborted)
    }

    fn is_past_deadline(&self) -> bool {
        let times = time(self.deadline).zip(time(self.completed_at));
        times.is_some_and(|(deadline, ended)| {
            // Two clocks of the provider's wrote them.
            deadline.duration_since(ended) <= SignedDuration::from_secs(1)
        })
    }

    fn marker(&self) -> Option<Marker> {
        let [marker] = pick(self.input?.get(), [MARKER]).ok()?;
        read::<String>(marker)?.parse().ok()
    }

    /// The marker of the attempt that it came from, unless a person copied it by hand.
    pub(super) fn own_marker(&self) -> Option<Marker> {
        self.marker().filter(|_| !self.is_by_hand())
    }

    /// Made in the provider's web page, such as a copy of a job of ours.
    fn is_by_hand(&self) -> bool {
        read::<String>(self.source).as_deref() == Some("web")
    }

    fn error_text(&self) -> Option<String> {
        let error = self.error.filter(|error| error.get() != "null")?;
        let text = lossy_text(Some(error)).unwrap_or_else(|| error.get().to_owned());
        let text: String = text.chars().take(LONGEST_ERROR).collect();
        Some(text).filter(|text| !text.is_empty())
    }

    /// Where the result is: the output, or the first of several.
    fn output_url(&self) -> Option<String> {
        let output = self.output?;
        match output.get().as_bytes().first()? {
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(output.get()).ok()?;
                url(items.into_iter().find(|item| item.get().starts_with('"')))
            }
            b'{' => {
                let [weights] = pick(output.get(), ["weights"]).ok()?;
                url(weights)
            }
            _ => url(Some(output)),
        }
    }
}

/// A text that is an address. A model may print words instead.
fn url(field: Field<'_>) -> Option<String> {
    let short = field.filter(|field| field.get().len() <= 6 * LONGEST_URL + 2);
    let url: String = read(short)?;
    let fits = url.len() <= LONGEST_URL;
    (fits && (url.starts_with("https://") || url.starts_with("http://"))).then_some(url)
}

/// A time of any precision; `None` where it cannot be read.
fn time(field: Field<'_>) -> Option<Timestamp> {
    read::<String>(field)?.parse().ok()
}

/// Whether an ID can be a part of a URL's path without leaving its place there.
pub(super) fn is_safe_id(id: &str) -> bool {
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    (1..=LONGEST_ID).contains(&id.len()) && id.chars().all(legal)
}

#[cfg(test)]
mod tests;
