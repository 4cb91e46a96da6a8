//! Durations, rates and sizes as people write them.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::provider::rate::Rate;

/// The longest duration that is taken.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// Such as `10m`, `500ms` or `1.5s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let legal = "expected a duration such as 500ms, 30s, 10m, 24h or 7d".to_owned();
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(legal),
    };
    let number: f64 = number.parse().map_err(|_no_number| legal.clone())?;
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_range| legal.clone())?;
    if duration.is_zero() || duration > LONGEST { Err(legal) } else { Ok(duration) }
}

/// Such as `1000/10s`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let legal = || "expected a rate such as 1000/10s or 60/1m".to_owned();
    let (calls, per) = text.split_once('/').ok_or_else(legal)?;
    let calls: NonZeroU32 = calls.trim().parse().map_err(|_no_number| legal())?;
    let per = duration(per.trim()).map_err(|_no_duration| legal())?;
    Ok(Rate { calls, per })
}

/// Reads a size such as `10MiB`, `10MB` or `512KiB`, in bytes. The error says what is legal.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let legal = || "expected a size such as 512KiB, 10MiB or 10MB".to_owned();
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        "GiB" => 1024 * 1024 * 1024,
        "TiB" => 1024 * 1024 * 1024 * 1024,
        _ => return Err(legal()),
    };
    let number: usize = number.parse().map_err(|_no_number| legal())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_nothing_else() {
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        for bad in ["", "10", "m", "10 m", "-1s", "0s", "1e9s", "99999d", "1.2.3s", "10min"] {
            assert!(duration(bad).unwrap_err().contains("10m"), "{bad}");
        }
        assert_eq!(
            rate("1000/10s"),
            Ok(Rate { calls: NonZeroU32::new(1000).unwrap(), per: Duration::from_secs(10) })
        );
        for bad in ["", "10", "0/1s", "-1/1s", "10/0s", "10/x", "99999999999/1s"] {
            assert!(rate(bad).unwrap_err().contains("1000/10s"), "{bad}");
        }
        assert_eq!((parse_size("10MiB"), parse_size("10MB")), (Ok(10 << 20), Ok(10_000_000)));
        assert_eq!((parse_size("50GiB"), parse_size("1TiB")), (Ok(50 << 30), Ok(1 << 40)));
        assert_eq!(
            (parse_size("2GB"), parse_size("1TB")),
            (Ok(2_000_000_000), Ok(10_usize.pow(12)))
        );
        for bad in ["", "10", "MB", "0MB", "99999999999999999999B", "99999999999999MiB", "1.5MB"] {
            assert!(parse_size(bad).unwrap_err().contains("10MiB"), "{bad}");
        }
    }
}
