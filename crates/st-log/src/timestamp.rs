//! Cached timestamps: date and time of day are formatted once per second, not once per record.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::Offset;

/// The text of the last formatted second.
#[derive(Debug)]
pub(crate) struct TimestampCache {
    second: i64,
    /// `2024-01-15T10:30:00`
    text: [u8; 19],
}

/// A time in UTC with millisecond precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UtcTime {
    second: i64,
    milli: u32,
}

impl UtcTime {
    #[expect(clippy::disallowed_methods, reason = "the only place where records are timestamped")]
    pub(crate) fn now() -> Self {
        // A clock before 1970 must not make logging fail.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or_default();
        Self { second, milli: since.subsec_millis() }
    }
}

impl TimestampCache {
    pub(crate) fn new() -> Self {
        let mut cache = Self { second: -1, text: *b"1970-01-01T00:00:00" };
        cache.update(0);
        cache
    }

    /// Appends `2024-01-15T10:30:00.000Z`.
    pub(crate) fn push_json(&mut self, out: &mut Vec<u8>, now: UtcTime) {
        self.update(now.second);
        out.extend_from_slice(&self.text);
        let [hundreds, tens, ones] =
            [now.milli / 100, now.milli / 10 % 10, now.milli % 10].map(digit);
        out.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
    }

    /// Appends `2024-01-15 10:30:00`.
    pub(crate) fn push_text(&mut self, out: &mut Vec<u8>, now: UtcTime) {
        self.update(now.second);
        let start = out.len();
        out.extend_from_slice(&self.text);
        if let Some(between) = out.get_mut(start + 10) {
            *between = b' ';
        }
    }

    fn update(&mut self, second: i64) {
        if self.second == second {
            return;
        }
        self.second = second;
        let at = Offset::UTC.to_datetime(Timestamp::from_second(second).unwrap_or_default());
        let year = u32::from(at.year().unsigned_abs());
        let two = |it: i8| u32::from(it.unsigned_abs());
        let parts =
            [two(at.month()), two(at.day()), two(at.hour()), two(at.minute()), two(at.second())];
        let ends = [6, 9, 12, 15, 18];
        let mut put = |place: usize, value: u32| {
            if let Some(it) = self.text.get_mut(place) {
                *it = digit(value);
            }
        };
        for (place, power) in [(0, 1000), (1, 100), (2, 10), (3, 1)] {
            put(place, year / power % 10);
        }
        for (end, part) in ends.into_iter().zip(parts) {
            put(end - 1, part / 10);
            put(end, part % 10);
        }
    }
}

fn digit(value: u32) -> u8 {
    u8::try_from(value % 10).map_or(b'?', |it| b'0' + it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_both_formats() {
        let mut cache = TimestampCache::new();
        let mut out = Vec::new();
        for (second, milli) in
            [(1_705_314_600, 7), (1_705_314_600, 999), (951_827_696, 0), (1_705_314_601, 50)]
        {
            cache.push_json(&mut out, UtcTime { second, milli });
            out.push(b' ');
            cache.push_text(&mut out, UtcTime { second, milli });
            out.push(b'\n');
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2024-01-15T10:30:00.007Z 2024-01-15 10:30:00\n\
             2024-01-15T10:30:00.999Z 2024-01-15 10:30:00\n\
             2000-02-29T12:34:56.000Z 2000-02-29 12:34:56\n\
             2024-01-15T10:30:01.050Z 2024-01-15 10:30:01\n"
        );
    }
}
