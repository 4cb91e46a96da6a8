//! What a request asked for, as one short text: the same for requests that ask for the same, however
//! they were written.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use st_store::ProviderName;

/// What was asked, so that the same key with another request is noticed.
pub(super) fn of(provider: &ProviderName, body: &Map<String, Value>) -> String {
    let mut body = body.clone();
    body.remove("idempotency_key");
    let mut body = Value::Object(body);
    body.sort_all_objects();
    plain_numbers(&mut body);
    let text = format!("{provider}\n{body}");
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Writes every fraction in one way, so that `1.5`, `1.50` and `15e-1` are the same request. A whole
/// number stays apart from a fraction that equals it, as programs take `1` and `1.0` for two things.
fn plain_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(plain) = decimal(number.as_str()).and_then(|it| it.parse().ok()) {
                *number = plain;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_numbers),
        Value::Object(members) => members.values_mut().for_each(plain_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The digits of a fraction without zeros at their ends, and its power of ten; `None` for a whole
/// number, and where the power is out of all bounds.
fn decimal(number: &str) -> Option<String> {
    let (mantissa, power) = match number.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i64>().ok()?),
        None if number.contains('.') => (number, 0),
        None => return None,
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let shift = i64::try_from(digits.len() - significant.len()).ok()?;
    let power = power.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(shift)?;
    match significant.trim_start_matches('0') {
        "" => Some(format!("{sign}0e0")),
        significant => Some(format!("{sign}{significant}e{power}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use st_api::input::parse_json;

    fn digest_of(body: &str) -> String {
        let body = parse_json(body.as_bytes()).unwrap();
        of(&ProviderName::new("local"), body.as_object().unwrap())
    }

    #[test]
    fn equal_requests_have_one_digest_however_they_are_written() {
        for (one, other) in [
            (r#"{"a": 1.5, "b": 2}"#, r#"{"b":2,"a":1.50}"#),
            (r#"{"a": [15e-1]}"#, r#"{"a": [0.15E1]}"#),
            (r#"{"a": 1E5}"#, r#"{"a": 100000.0}"#),
            (r#"{"a": 0.0}"#, r#"{"a": 0e9}"#),
            (r#"{"a": 1.0}"#, r#"{"a": 10.00e-1}"#),
            (r#"{"a": "\u0061"}"#, r#"{"a": "a", "idempotency_key": "k"}"#),
        ] {
            assert_eq!(digest_of(one), digest_of(other), "{one} {other}");
        }
        for (one, other) in [
            (r#"{"a": 1}"#, r#"{"a": 1.0}"#),
            (r#"{"a": 1.5}"#, r#"{"a": "15e-1"}"#),
            (r#"{"a": 1.5}"#, r#"{"a": -1.5}"#),
            (r#"{"a": 1.5}"#, r#"{"a": 15.0}"#),
            (r#"{"a": 1e400}"#, r#"{"a": 1e401}"#),
            (r#"{"a": 1e99999999999999999999}"#, r#"{"a": 1e99999999999999999998}"#),
            (r#"{"a": 0.1}"#, r#"{"a": 0.1000000000000000055511151231257827}"#),
            (
                r#"{"a": 123456789012345678901234567890}"#,
                r#"{"a": 123456789012345678901234567891}"#,
            ),
        ] {
            assert_ne!(digest_of(one), digest_of(other), "{one} {other}");
        }
    }
}
