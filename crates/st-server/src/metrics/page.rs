//! The families with their series at one moment, and their text.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;
use st_store::TimingCounts;

use super::family::{Family, Kind};

/// In which form the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// `OpenMetrics`, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Its content type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One number, or the numbers of one histogram.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    Timings(TimingCounts),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        Self::Real(value.as_secs_f64())
    }
}

impl From<TimingCounts> for Value {
    fn from(value: TimingCounts) -> Self {
        Self::Timings(value)
    }
}

/// One series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Series {
    labels: Vec<String>,
    value: Value,
}

/// The series with these values of its labels.
pub(super) fn series<const N: usize>(labels: [&str; N], value: impl Into<Value>) -> Series {
    Series { labels: labels.map(str::to_owned).to_vec(), value: value.into() }
}

/// All of it at one moment, in the order in which it was added.
#[derive(Debug, Default)]
pub(crate) struct Page(Vec<(&'static Family, Vec<Series>)>);

impl Page {
    /// Adds the series of a family, which may be none.
    pub(super) fn add(
        &mut self,
        family: &'static Family,
        series: impl IntoIterator<Item = Series>,
    ) {
        self.0.push((family, series.into_iter().collect()));
    }

    /// Adds a family of one series without labels.
    pub(super) fn one(&mut self, family: &'static Family, value: impl Into<Value>) {
        self.add(family, [series([], value)]);
    }

    /// Adds a family of one series without labels, or of none where the number is not known.
    pub(super) fn known(&mut self, family: &'static Family, value: Option<impl Into<Value>>) {
        self.add(family, value.map(|value| series([], value)));
    }

    /// The text.
    pub(crate) fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut text, &registry)?,
            Format::OpenMetrics => text::encode(&mut text, &registry)?,
        }
        Ok(text)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (family, all) in &self.0 {
            let (name, kind) = match family.kind {
                // The encoder adds it again.
                Kind::Counter => {
                    let name = family.name.strip_suffix("_total").unwrap_or(family.name);
                    (name, MetricType::Counter)
                }
                Kind::Gauge => (family.name, MetricType::Gauge),
                Kind::Histogram => (family.name, MetricType::Histogram),
            };
            let mut encoder = encoder.encode_descriptor(name, family.help, None, kind)?;
            for Series { labels, value } in all {
                let named = family.labels.iter().copied().zip(labels.iter().map(String::as_str));
                let named: Vec<(&str, &str)> = named.collect();
                value.encode(family.kind, encoder.encode_family(&named)?)?;
            }
        }
        Ok(())
    }
}

impl Value {
    fn encode(&self, kind: Kind, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        const NONE: Option<&Exemplar<NoLabelSet, f64>> = None;
        match (self, kind) {
            (Self::Whole(value), Kind::Counter) => encoder.encode_counter(value, NONE),
            (Self::Real(value), Kind::Counter) => encoder.encode_counter(value, NONE),
            (Self::Whole(value), Kind::Gauge) => encoder.encode_gauge(value),
            (Self::Real(value), Kind::Gauge) => encoder.encode_gauge(value),
            (Self::Timings(counts), Kind::Histogram) => {
                let bounds = counts.scale.bounds().iter().map(Duration::as_secs_f64);
                let bounds = bounds.chain([f64::INFINITY]);
                let classes: Vec<(f64, u64)> = bounds.zip(counts.classes.iter().copied()).collect();
                let sum = counts.sum.as_secs_f64();
                encoder.encode_histogram::<NoLabelSet>(sum, counts.count(), &classes, None)
            }
            (Self::Timings(_), Kind::Counter | Kind::Gauge)
            | (Self::Whole(_) | Self::Real(_), Kind::Histogram) => Err(fmt::Error),
        }
    }
}
