//! How long a server wants to be left alone.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// What `Retry-After` says: seconds, also with a fraction, which is rounded up; or a date, relative to
/// the `Date` of the same response, so that no clock here counts. `None` where there is no such header,
/// it means nothing, or the time is over.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = delay_seconds(value).or_else(|| {
        let date = |text: &str| httpdate::parse_http_date(text.trim()).ok();
        let now = date(headers.get(DATE)?.to_str().ok()?)?;
        date(value)?.duration_since(now).ok()
    })?;
    Some(wait).filter(|wait| !wait.is_zero())
}

/// A number of seconds in a header, of which some servers write fractions; rounded up. `None` for
/// anything else; a number too large for the type is a large number.
pub fn delay_seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let begun = whole_seconds(fraction)? > Duration::ZERO;
    Some(whole_seconds(whole)?.saturating_add(Duration::from_secs(begun.into())))
}

fn whole_seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &'static str)]) -> Option<u64> {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        retry_after(&pairs.collect()).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_are_digits_with_a_fraction_or_without() {
        let table = [
            ("7", Some(7)),
            ("  8 ", Some(8)),
            ("2.5", Some(3)),
            ("3.000", Some(3)),
            ("0.25", Some(1)),
            ("0", None),
            ("-5", None),
            ("1e12", None),
            (".5", None),
            ("5.", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", Some(u64::MAX)),
            ("99999999999999999999999.9", Some(u64::MAX)),
        ];
        for (text, seconds) in table {
            assert_eq!(read(&[("retry-after", text)]), seconds, "{text}");
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_date_in_any_form_counts_from_that_of_the_response() {
        let now = ("date", "Fri, 01 Jan 2027 00:00:00 GMT");
        for date in [
            " Fri, 01 Jan 2027 00:01:30 GMT ",
            "Friday, 01-Jan-27 00:01:30 GMT",
            "Fri Jan  1 00:01:30 2027",
        ] {
            assert_eq!(read(&[("retry-after", date), now]), Some(90), "{date}");
            assert_eq!(read(&[("retry-after", date)]), None, "without a date to count from");
            let later = ("date", "Fri, 01 Jan 2027 00:02:00 GMT");
            assert_eq!(read(&[("retry-after", date), later]), None, "over already");
        }
        assert_eq!(read(&[("retry-after", "Fri, 01 Jan 2027"), now]), None);
    }
}
