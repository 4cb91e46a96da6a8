//! Line for line from the log to the reader.
//!
//! Promises: a line is shown, left out or counted, whatever is in it. Leaves out: where lines come
//! from.

use std::io::{self, BufWriter, Write};

use super::escape;
use super::filter::Filter;
use super::lines::{LONGEST, Line};
use super::pretty::Pretty;
use super::wrapped;

/// Shows the lines that pass.
#[derive(Debug)]
pub(super) struct Viewer<W: Write> {
    filter: Filter,
    pretty: Pretty,
    out: BufWriter<W>,
    /// The text of one record, kept for its room.
    text: String,
    /// The text of a record that was within JSON, kept for its room.
    unwrapped: String,
    strangers: u64,
    cut: u64,
}

impl<W: Write> Viewer<W> {
    pub(super) fn new(filter: Filter, pretty: Pretty, out: W) -> Self {
        let out = BufWriter::with_capacity(64 * 1024, out);
        Self {
            filter,
            pretty,
            out,
            text: String::new(),
            unwrapped: String::new(),
            strangers: 0,
            cut: 0,
        }
    }

    pub(super) fn take(&mut self, line: Line<'_>) -> io::Result<()> {
        let text = String::from_utf8_lossy(line.bytes);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        // Files that were put together can have a byte order mark anywhere.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if line.cut {
            self.cut += 1;
            return if self.filter.is_open() { self.show_line(text) } else { Ok(()) };
        }
        if !self.filter.may_pass(text) {
            // Not worth reading for a count that is only a hint.
            self.strangers += u64::from(!text.contains('{') && !text.is_empty());
            return Ok(());
        }
        // Taken out for its room, so that the rest of this can be changed while it is read.
        let mut unwrapped = std::mem::take(&mut self.unwrapped);
        let shown = self.show(text, &mut unwrapped);
        self.unwrapped = unwrapped;
        shown
    }

    fn show(&mut self, text: &str, unwrapped: &mut String) -> io::Result<()> {
        let found = wrapped::read(text, unwrapped);
        if let Some(torn) = found.as_ref().and_then(|found| found.torn) {
            if self.filter.is_open() {
                self.show_line(torn)?;
            } else {
                self.strangers += 1;
            }
        }
        match found.map(|found| found.record) {
            Some(record) if self.filter.passes(&record) => {
                self.text.clear();
                self.pretty.write(&mut self.text, &record);
                self.out.write_all(self.text.as_bytes())
            }
            Some(_left_out) => Ok(()),
            None if self.filter.is_open() => self.show_line(text),
            None => {
                self.strangers += u64::from(!text.is_empty());
                Ok(())
            }
        }
    }

    /// Nothing stays behind here.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// What a reader should know of the lines that were not shown, or not whole.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.strangers > 0 {
            let lines = ["line that is no record", "lines that are no records"];
            notes.push(format!("left out {}", counted(self.strangers, lines)));
        }
        if self.cut > 0 {
            let what = if self.filter.is_open() { "cut" } else { "left out" };
            let mib = LONGEST / 1024 / 1024;
            notes.push(format!(
                "{what} {} longer than {mib} MiB",
                counted(self.cut, ["line", "lines"])
            ));
        }
        notes
    }

    /// As it is, but harmless.
    fn show_line(&mut self, line: &str) -> io::Result<()> {
        self.text.clear();
        escape::line(&mut self.text, line);
        self.text.push('\n');
        self.out.write_all(self.text.as_bytes())
    }
}

fn counted(count: u64, [one, many]: [&str; 2]) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
