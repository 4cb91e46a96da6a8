//! A log as it is read, cut into lines.
//!
//! Promises: a line is given once, when its end is there, and never more than [`LONGEST`] of it is
//! held. Leaves out: what a line means.

use std::io;

/// More of one line is not kept, bytes.
pub(super) const LONGEST: usize = 1024 * 1024;

/// A line without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    /// There was more of it.
    pub(super) cut: bool,
}

/// What has been read of a line whose end has not.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    cut: bool,
}

impl Lines {
    /// Gives the lines that end in this part of the log.
    pub(super) fn feed(
        &mut self,
        part: &[u8],
        mut take: impl FnMut(Line<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        for piece in part.split_inclusive(|it| *it == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(bytes) if self.held.is_empty() && bytes.len() <= LONGEST => {
                    take(Line { bytes, cut: false })?;
                }
                Some(bytes) => {
                    self.hold(bytes);
                    self.give(&mut take)?;
                }
                None => self.hold(piece),
            }
        }
        Ok(())
    }

    /// Gives the line that has no end, as after this there is nothing.
    pub(super) fn finish(
        &mut self,
        mut take: impl FnMut(Line<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.held.is_empty() { Ok(()) } else { self.give(&mut take) }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.held.len());
        self.cut |= bytes.len() > room;
        self.held.extend(bytes.iter().take(room));
    }

    fn give(&mut self, take: &mut impl FnMut(Line<'_>) -> io::Result<()>) -> io::Result<()> {
        let taken = take(Line { bytes: &self.held, cut: self.cut });
        self.held.clear();
        self.cut = false;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Lines};

    /// The lines of these parts, then what is left at the end.
    fn lines(parts: &[&[u8]]) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        for part in parts {
            lines
                .feed(part, |line| {
                    found.push((String::from_utf8_lossy(line.bytes).into_owned(), line.cut));
                    Ok(())
                })
                .unwrap();
        }
        found.push(("end".to_owned(), false));
        lines
            .finish(|line| {
                found.push((String::from_utf8_lossy(line.bytes).into_owned(), line.cut));
                Ok(())
            })
            .unwrap();
        found
    }

    #[test]
    fn a_line_is_given_when_its_end_is_there() {
        let found = lines(&[b"a\n\nb", b"", b"c", b"\nd\ne"]);
        let found: Vec<_> = found.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(found, ["a", "", "bc", "d", "end", "e"]);
        assert_eq!(lines(&[b"a\n"]).len(), 2);
    }

    #[test]
    fn no_more_of_a_line_is_kept_than_is_allowed() {
        let long = vec![b'x'; LONGEST];
        let mut longer = vec![b'y'; LONGEST + 1];
        longer.extend(b"\nz\n");
        let found = lines(&[&long, b"\n", &long, b"x", b"x\nsho", b"rt\n", &longer]);
        let found: Vec<_> = found.iter().map(|(line, cut)| (line.len(), *cut)).collect();
        assert_eq!(
            found,
            [
                (LONGEST, false),
                (LONGEST, true),
                (5, false),
                (LONGEST, true),
                (1, false),
                (3, false)
            ]
        );
    }
}
