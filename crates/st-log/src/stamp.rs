//! The time of a line. The date and the second are written down once a second, not once a line.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::Offset;

/// Remembers the last second.
#[derive(Debug)]
pub(crate) struct Stamp {
    second: i64,
    /// `2024-01-15T10:30:00`
    text: [u8; 19],
}

/// A moment in UTC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    second: i64,
    milli: u32,
}

impl Now {
    #[expect(clippy::disallowed_methods, reason = "the one place where a line gets its time")]
    pub(crate) fn read() -> Self {
        // A clock before 1970 is not worth a line's failure.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(since.as_secs()).unwrap_or_default();
        Self { second, milli: since.subsec_millis() }
    }
}

impl Stamp {
    pub(crate) fn new() -> Self {
        let mut stamp = Self { second: -1, text: *b"1970-01-01T00:00:00" };
        stamp.at(0);
        stamp
    }

    /// Appends `2024-01-15T10:30:00.000Z`.
    pub(crate) fn push_json(&mut self, out: &mut Vec<u8>, now: Now) {
        self.at(now.second);
        out.extend_from_slice(&self.text);
        let [hundreds, tens, ones] =
            [now.milli / 100, now.milli / 10 % 10, now.milli % 10].map(digit);
        out.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
    }

    /// Appends `2024-01-15 10:30:00`.
    pub(crate) fn push_text(&mut self, out: &mut Vec<u8>, now: Now) {
        self.at(now.second);
        let start = out.len();
        out.extend_from_slice(&self.text);
        if let Some(between) = out.get_mut(start + 10) {
            *between = b' ';
        }
    }

    fn at(&mut self, second: i64) {
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
        let mut stamp = Stamp::new();
        let mut out = Vec::new();
        for (second, milli) in
            [(1_705_314_600, 7), (1_705_314_600, 999), (951_827_696, 0), (1_705_314_601, 50)]
        {
            stamp.push_json(&mut out, Now { second, milli });
            out.push(b' ');
            stamp.push_text(&mut out, Now { second, milli });
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
