//! How long the provider wants to be left alone, as a description says where to read it.

use std::time::Duration;

use http::header::DATE;
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::pointer::Pointer;
use super::section::{Faults, Place};
use super::units;
use crate::provider::LONGEST_RETRY_AFTER;
use crate::provider::server_time::parse_date;

/// Where the time to wait is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WaitAt {
    Fixed(Duration),
    /// The first of these headers that can be read.
    Header(Vec<HeaderName>, Unit),
    Body(Pointer, Unit),
}

/// The unit of a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
}

const UNITS: [(&str, Unit); 2] = [("s", Unit::Seconds), ("ms", Unit::Millis)];

impl WaitAt {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        if place.value.is_string() {
            return place.parsed(faults, units::duration).map(Self::Fixed);
        }
        let mut section = place.section(faults)?;
        let has_header = section.has("header");
        let names = section.read_each("header", |place, faults| {
            place.parsed(faults, |text| {
                HeaderName::from_bytes(text.as_bytes())
                    .map_err(|_no_name| "expected the name of a header".to_owned())
            })
        });
        let at = section.read("at", Pointer::read);
        let unit = section.read("unit", |place, faults| place.word(faults, &UNITS));
        let unit = unit.unwrap_or(Unit::Seconds);
        let read = match (has_header, at) {
            (true, None) => Some(Self::Header(names, unit)),
            (false, Some(at)) => Some(Self::Body(at, unit)),
            (true, Some(_)) | (false, None) => {
                section.fault_here("needs either header or at");
                None
            }
        };
        section.finish();
        read
    }

    fn get(&self, headers: &HeaderMap, body: Option<&Value>) -> Option<Duration> {
        match self {
            Self::Fixed(wait) => Some(*wait),
            Self::Header(names, unit) => names.iter().find_map(|name| {
                let text = headers.get(name)?.to_str().ok()?.trim();
                // The name says it where the description does not.
                let unit = if name.as_str().ends_with("-ms") { Unit::Millis } else { *unit };
                in_text(text, unit).or_else(|| until(text, headers))
            }),
            Self::Body(at, unit) => in_text(&at.text(body?)?, *unit),
        }
    }
}

/// The first of these that says how long; at most an hour.
pub(super) fn first(
    waits: &[WaitAt],
    headers: &HeaderMap,
    body: Option<&Value>,
) -> Option<Duration> {
    let wait = waits.iter().find_map(|wait| wait.get(headers, body))?;
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// `Retry-After`, where a description says nothing else.
pub(super) fn usual(headers: &HeaderMap) -> Option<Duration> {
    let names = vec![http::header::RETRY_AFTER];
    first(&[WaitAt::Header(names, Unit::Seconds)], headers, None)
}

/// A bare number in its unit, a number with its unit such as `6m0s`, or the `t=55` of a `RateLimit`.
fn in_text(text: &str, unit: Unit) -> Option<Duration> {
    let seconds = |number: f64| {
        let scale = if unit == Unit::Millis { 1000.0 } else { 1.0 };
        Duration::try_from_secs_f64(number / scale).ok()
    };
    let bare = text.parse().ok().and_then(seconds);
    let wait = bare.or_else(|| with_units(text)).or_else(|| {
        let mut parts = text.split([';', ',']).map(str::trim);
        let reset = parts.find_map(|part| part.strip_prefix("t="))?;
        seconds(reset.parse().ok()?)
    })?;
    Some(wait).filter(|wait| !wait.is_zero())
}

fn with_units(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let behind = rest.get(number..)?;
        let unit = behind.find(|char: char| char.is_ascii_digit()).unwrap_or(behind.len());
        let (part, left) = rest.split_at_checked(number + unit)?;
        // A part of nothing is no fault here: 6m0s.
        if part.trim_end_matches(char::is_alphabetic).parse::<f64>().ok()? > 0.0 {
            total = total.saturating_add(units::duration(part).ok()?);
        }
        rest = left;
    }
    Some(total)
}

/// A date, relative to the answer's own.
fn until(text: &str, headers: &HeaderMap) -> Option<Duration> {
    let now = parse_date(headers.get(DATE)?.to_str().ok()?)?;
    let wait = Duration::try_from(parse_date(text)?.duration_since(now)).ok()?;
    Some(wait).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waits(value: &Value) -> Vec<WaitAt> {
        let mut faults = Faults::default();
        let place = Place { value, pointer: String::new() };
        let waits = place.one_or_many().into_iter();
        let waits = waits.filter_map(|place| WaitAt::read(&place, &mut faults)).collect();
        assert_eq!(faults.0, []);
        waits
    }

    fn wait(how: &Value, pairs: &[(&'static str, &'static str)], body: &Value) -> Option<u64> {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = pairs.collect();
        first(&waits(how), &headers, Some(body))
            .map(|wait| u64::try_from(wait.as_millis()).unwrap())
    }

    #[test]
    fn every_form_of_a_wait_is_read() {
        let none = json!({});
        let header = json!({"header": ["retry-after-ms", "Retry-After", "x-reset"]});
        for (pairs, millis) in [
            (vec![("retry-after-ms", "1500"), ("retry-after", "9")], Some(1500)),
            (vec![("retry-after", "2.5")], Some(2500)),
            (vec![("retry-after-ms", "soon"), ("retry-after", "9")], Some(9000)),
            (vec![("x-reset", "6m0s")], Some(360_000)),
            (vec![("x-reset", "1s")], Some(1000)),
            (vec![("x-reset", "\"api\";r=0;t=55")], Some(55_000)),
            (vec![("retry-after", "999999")], Some(3_600_000)),
            (
                vec![
                    ("retry-after", "Fri, 01 Jan 2027 00:01:30 GMT"),
                    ("date", "Fri, 01 Jan 2027 00:00:00 GMT"),
                ],
                Some(90_000),
            ),
            (vec![("retry-after", "Fri, 01 Jan 2027 00:01:30 GMT")], None),
            (vec![("retry-after", "0")], None),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "NaN")], None),
            (vec![], None),
        ] {
            assert_eq!(wait(&header, &pairs, &none), millis, "{pairs:?}");
        }
        let body = json!([{"header": "Retry-After"}, {"at": "/details/retryAfterSeconds"}]);
        assert_eq!(wait(&body, &[], &json!({"details": {"retryAfterSeconds": 3}})), Some(3000));
        assert_eq!(wait(&json!("10m"), &[], &none), Some(600_000));
        let millis = json!({"at": "/wait", "unit": "ms"});
        assert_eq!(wait(&millis, &[], &json!({"wait": "250"})), Some(250));
    }
}
