//! How long the provider wants to be left alone.

use std::time::Duration;

use http::HeaderMap;
use st_http::{delay_seconds, retry_after};

use crate::provider::LONGEST_RETRY_AFTER;

/// After "too many requests" without a time, and at least.
const SHORTEST: Duration = Duration::from_secs(1);

/// What `Retry-After` says: seconds, or a date relative to the answer's own. `None` where there is
/// none, or one that means nothing.
pub(super) fn by_header(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers).map(|wait| wait.min(LONGEST_RETRY_AFTER))
}

/// After "too many requests": by the header, by the provider's own header, or by what it says in
/// words.
pub(super) fn of_throttled(headers: &HeaderMap, detail: &str) -> Duration {
    let own = || delay_seconds(headers.get("ratelimit-reset")?.to_str().ok()?.trim());
    let wait = by_header(headers).or_else(own).or_else(|| in_words(detail));
    wait.unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST_RETRY_AFTER)
}

/// Digits and nothing else; a number too large for the type is a large number.
fn whole_seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// "in ~30s", "in 1 second": a number with a unit of time after "in". Any other number may be a
/// year, an ID or an error code.
fn in_words(detail: &str) -> Option<Duration> {
    let detail = detail.to_ascii_lowercase();
    let words: Vec<&str> = detail.split_whitespace().collect();
    let after_in = words.windows(2).enumerate().filter_map(|(index, pair)| match pair {
        ["in", number] => Some((number.trim_start_matches('~'), words.get(index + 2))),
        _ => None,
    });
    after_in.into_iter().find_map(|(number, next)| {
        let digits = number.find(|char: char| !char.is_ascii_digit()).unwrap_or(number.len());
        let (count, rest) = number.split_at_checked(digits)?;
        let unit = if rest.is_empty() { next.copied()? } else { rest };
        let seconds =
            seconds_of(unit.trim_end_matches(|char: char| !char.is_ascii_alphanumeric()))?;
        Some(whole_seconds(count)?.saturating_mul(seconds))
    })
}

fn seconds_of(unit: &str) -> Option<u32> {
    match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" => Some(60),
        "h" | "hour" | "hours" => Some(3600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    #[test]
    fn words_are_a_time_only_as_a_number_with_a_unit() {
        let table = [
            ("Request was throttled. Your rate limit resets in ~30s.", 30),
            ("Request was throttled. Expected available in 1 second.", 1),
            ("available in 5 seconds", 5),
            ("Try again in 20s, please", 20),
            ("come back in 2 minutes (in all)", 120),
            ("resets in 99999999999999999999 s", 3600),
            ("resets in 3h", 3600),
            ("in short: available in 7 sec!", 7),
            ("not before 2026", 1),
            ("in 2026", 1),
            ("in 2026 you may", 1),
            ("Error 1015. Ray ID: 8c2f1a77", 1),
            ("request 3600s is over", 1),
            ("in request 17s", 1),
            ("in 0s", 1),
            ("in", 1),
            ("in s", 1),
            ("", 1),
        ];
        for (detail, seconds) in table {
            let wait = of_throttled(&headers(&[]), detail);
            assert_eq!(wait, Duration::from_secs(seconds), "{detail}");
        }
    }

    #[test]
    fn headers_come_before_words() {
        let words = "resets in ~30s";
        let table: [(&[(&str, &str)], u64); 14] = [
            (&[("retry-after", "7"), ("ratelimit-reset", "2")], 7),
            (&[("retry-after", "  8 ")], 8),
            (&[("ratelimit-reset", "3")], 3),
            (&[("retry-after", "0")], 30),
            (&[("retry-after", "999999")], 3600),
            (&[("retry-after", "99999999999999999999999")], 3600),
            (&[("retry-after", "-5")], 30),
            (&[("retry-after", "1e12"), ("ratelimit-reset", "x")], 30),
            (&[("retry-after", "soon")], 30),
            (&[("retry-after", "2.5")], 3),
            (&[("retry-after", "3.000")], 3),
            (&[("retry-after", "99999999999999999999999.9")], 3600),
            (&[("retry-after", ".5")], 30),
            (&[("ratelimit-reset", "0.25")], 1),
        ];
        for (pairs, seconds) in table {
            let wait = of_throttled(&headers(pairs), words);
            assert_eq!(wait, Duration::from_secs(seconds), "{pairs:?}");
        }
    }

    #[test]
    fn a_date_counts_from_the_answers_own() {
        let then = ("retry-after", " Fri, 01 Jan 2027 00:01:30 GMT ");
        let now = ("date", "Fri, 01 Jan 2027 00:00:00 GMT");
        let at = |date| headers(&[then, ("date", date)]);
        let cases = [
            (at("Fri, 01 Jan 2027 00:00:00 GMT"), Some(90)),
            (at("Thu, 31 Dec 2026 00:00:00 GMT"), Some(3600)),
            (at("Fri, 01 Jan 2027 00:02:00 GMT"), None),
            (at("yesterday"), None),
            (headers(&[then]), None),
            (headers(&[("retry-after", "Friday, 01-Jan-27 00:01:30 GMT"), now]), Some(90)),
            (headers(&[("retry-after", "Fri Jan  1 00:01:30 2027"), now]), Some(90)),
            (headers(&[("retry-after", "Fri, 01 Jan 2027"), now]), None),
        ];
        for (headers, seconds) in cases {
            assert_eq!(by_header(&headers), seconds.map(Duration::from_secs), "{headers:?}");
        }
    }
}
