//! Text that cannot break out of its line, its quotes or the terminal.
//!
//! Besides what JSON demands, this escapes all control characters, the line separators of Unicode
//! and the marks that turn the reading direction: a log is read in terminals, and a forged line or
//! a hidden command must not come out of a field.

use std::fmt::{self, Write};

/// Writes the inside of a JSON string.
pub(crate) fn json(out: &mut impl Write, text: &str) -> fmt::Result {
    each(out, text, |out, it| match it {
        '"' => out.write_str("\\\""),
        '\\' => out.write_str("\\\\"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        it if is_unsafe(it) => write!(out, "\\u{:04x}", u32::from(it)),
        it => out.write_char(it),
    })
}

/// Writes a text for people; what needs no escape stays as it is, also quotes and backslashes.
pub(crate) fn plain(out: &mut impl Write, text: &str) -> fmt::Result {
    each(out, text, |out, it| {
        if is_unsafe(it) { write!(out, "{}", it.escape_default()) } else { out.write_char(it) }
    })
}

fn each<W: Write>(
    out: &mut W,
    text: &str,
    write: impl Fn(&mut W, char) -> fmt::Result,
) -> fmt::Result {
    let harmless = |it: &u8| matches!(it, b' '..=b'~') && !matches!(it, b'"' | b'\\');
    if text.as_bytes().iter().all(harmless) {
        return out.write_str(text);
    }
    text.chars().try_for_each(|it| write(out, it))
}

fn is_unsafe(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{2028}' | '\u{2029}')
        || matches!(it, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
