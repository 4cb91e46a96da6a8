//! How a value is read out of an answer: text, a number, a time.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::pointer::{Pointer, scalar};
use super::section::{Faults, Place};

/// A number: `/pointer` or `{at, times, zero}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NumberAt {
    at: Pointer,
    times: f64,
    zero_is_absent: bool,
}

/// A time: `{at, as, zero}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeAt {
    at: Pointer,
    form: TimeForm,
    zero_is_absent: bool,
}

/// A text or a number as text: `/pointer` or `{at, last_segment}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdAt {
    at: Pointer,
    /// Of `a/b/c` only `c`.
    last_segment: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeForm {
    Rfc3339,
    EpochSeconds,
    EpochMillis,
}

const FORMS: [(&str, TimeForm); 3] = [
    ("rfc3339", TimeForm::Rfc3339),
    ("epoch_s", TimeForm::EpochSeconds),
    ("epoch_ms", TimeForm::EpochMillis),
];

fn zero(place: &Place<'_>, faults: &mut Faults) -> Option<bool> {
    place.word(faults, &[("absent", true)])
}

impl NumberAt {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        if place.value.is_string() {
            let at = Pointer::read(place, faults)?;
            return Some(Self { at, times: 1.0, zero_is_absent: false });
        }
        let mut section = place.section(faults)?;
        let at = section.require("at", Pointer::read);
        let times = section.read("times", Place::number);
        let zero_is_absent = section.read("zero", zero).is_some();
        section.finish();
        Some(Self { at: at?, times: times.unwrap_or(1.0), zero_is_absent })
    }

    /// The number, also one that is written as text; `None` for what is none.
    pub(super) fn get(&self, of: &Value) -> Option<f64> {
        let number: f64 = scalar(self.at.get(of)?)?.trim().parse().ok()?;
        let is_absent = self.zero_is_absent && number == 0.0;
        Some(number * self.times).filter(|number| number.is_finite() && !is_absent)
    }
}

impl TimeAt {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        if !place.value.is_object() {
            return place.expected(faults, "an object such as {at: /created_at, as: rfc3339}");
        }
        let mut section = place.section(faults)?;
        let at = section.require("at", Pointer::read);
        let form = section.require("as", |place, faults| place.word(faults, &FORMS));
        let zero_is_absent = section.read("zero", zero).is_some();
        section.finish();
        Some(Self { at: at?, form: form?, zero_is_absent })
    }

    pub(super) fn get(&self, of: &Value) -> Option<Timestamp> {
        let text = scalar(self.at.get(of)?)?;
        let per_second = match self.form {
            TimeForm::Rfc3339 => return text.parse().ok(),
            TimeForm::EpochSeconds => 1.0,
            TimeForm::EpochMillis => 1000.0,
        };
        let number: f64 = text.trim().parse().ok()?;
        if self.zero_is_absent && number == 0.0 {
            return None;
        }
        let since = SignedDuration::try_from_secs_f64(number / per_second).ok()?;
        Timestamp::UNIX_EPOCH.checked_add(since).ok()
    }
}

impl IdAt {
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        if place.value.is_string() {
            let at = Pointer::read(place, faults)?;
            return Some(Self { at, last_segment: false });
        }
        let mut section = place.section(faults)?;
        let at = section.require("at", Pointer::read);
        let last = section.read("last_segment", Place::boolean);
        section.finish();
        Some(Self { at: at?, last_segment: last.unwrap_or(false) })
    }

    pub(super) fn get(&self, of: &Value) -> Option<String> {
        let text = self.at.text(of)?;
        let id = if self.last_segment { text.rsplit('/').next()?.to_owned() } else { text };
        Some(id).filter(|id| is_usable_id(id))
    }
}

/// An ID that is longer, or holds what no path and no log line should, is not used.
fn is_usable_id(id: &str) -> bool {
    const LONGEST: usize = 500;
    let is_short = (1..=LONGEST).contains(&id.len()) && id != "." && id != "..";
    is_short && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read<T>(
        value: &Value,
        read: impl FnOnce(&Place<'_>, &mut Faults) -> Option<T>,
    ) -> Result<T, String> {
        let mut faults = Faults::default();
        let read = read(&Place { value, pointer: String::new() }, &mut faults);
        match faults.0.first() {
            None => Ok(read.unwrap()),
            Some(fault) => Err(format!("{}: {}", fault.pointer, fault.message)),
        }
    }

    #[test]
    fn times_are_read_in_three_forms() {
        let at = |form: &str, value: Value| {
            let time = read(&json!({"at": "/t", "as": form, "zero": "absent"}), TimeAt::read);
            time.unwrap().get(&json!({"t": value})).map(|time| time.to_string())
        };
        let expected = Some("2026-11-26T09:00:00.25Z".to_owned());
        assert_eq!(at("rfc3339", json!("2026-11-26T10:00:00.25+01:00")), expected);
        assert_eq!(at("epoch_s", json!(1_795_683_600.25)), expected);
        assert_eq!(at("epoch_s", json!("1795683600.25")), expected);
        assert_eq!(at("epoch_ms", json!(1_795_683_600_250_u64)), expected);
        for nothing in [json!(0), json!(null), json!("soon"), json!(1e300), json!({})] {
            assert_eq!(at("epoch_s", nothing.clone()), None, "{nothing}");
        }
        let error = read(&json!({"at": "/t", "as": "epoch"}), TimeAt::read).unwrap_err();
        assert_eq!(error, "/as: \"epoch\" is not legal, expected rfc3339, epoch_s, epoch_ms");
    }

    #[test]
    fn numbers_are_read_also_from_text_and_scaled() {
        let number = read(&json!({"at": "/n", "times": 0.001}), NumberAt::read).unwrap();
        let near = |value: Value, expected: f64| {
            let found = number.get(&json!({"n": value})).unwrap();
            assert!((found - expected).abs() < 1e-9, "{found}");
        };
        near(json!(1437), 1.437);
        near(json!("2000"), 2.0);
        for nothing in [json!(null), json!("x"), json!([1]), json!("inf")] {
            assert_eq!(number.get(&json!({"n": nothing})), None);
        }
    }

    #[test]
    fn an_id_is_text_or_a_number_and_fits_a_path() {
        let id =
            |how: Value, value: Value| read(&how, IdAt::read).unwrap().get(&json!({"id": value}));
        assert_eq!(id(json!("/id"), json!(7)).as_deref(), Some("7"));
        let last = json!({"at": "/id", "last_segment": true});
        assert_eq!(id(last, json!("accounts/a/jobs/x")).as_deref(), Some("x"));
        for bad in [json!(""), json!(null), json!(".."), json!("a\nb"), json!("x".repeat(501))] {
            assert_eq!(id(json!("/id"), bad.clone()), None, "{bad}");
        }
    }
}
