//! What a family of series is called, what it counts, and by what.

/// How a family is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises, until the next start.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts durations by classes.
    Histogram,
}

impl Kind {
    /// The word for it in documents.
    #[cfg(test)]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Series of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family {
    /// The name as it is shown; that of a counter ends with `_total`.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

type Text = &'static str;

/// A family of counters.
pub(super) const fn counter(name: Text, labels: &'static [Text], help: Text) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

/// A family of gauges.
pub(super) const fn gauge(name: Text, labels: &'static [Text], help: Text) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

/// A family of histograms.
pub(super) const fn histogram(name: Text, labels: &'static [Text], help: Text) -> Family {
    Family { name, kind: Kind::Histogram, labels, help }
}
