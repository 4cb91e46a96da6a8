//! Escapes text, so that it cannot break out of its line, its quotes or the terminal.
//!
//! In addition to what JSON requires, all control characters, Unicode line separators and
//! bidirectional formatting characters are escaped: logs are read in terminals, and the value of a
//! field must not be able to forge a line or hide a command. Text is checked eight bytes at a time,
//! and runs without special characters are copied whole.

use std::fmt;

/// The maximum length of one formatted value, so that a value of unlimited length cannot exhaust
/// the memory.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << 20;

/// The context for which a text is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The inside of a JSON string.
    Json,
    /// The text format: quotes and backslashes are not escaped.
    Plain,
}

/// Appends `text`, escaped.
pub(crate) fn push(out: &mut Vec<u8>, text: &str, style: Style) {
    let bytes = text.as_bytes();
    let mut done = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        at += clean_run(rest, style);
        let Some(special) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let after = at + special.len_utf8();
        if needs_escape(special, style) {
            out.extend_from_slice(bytes.get(done..at).unwrap_or_default());
            push_escaped(out, special, style);
            done = after;
        }
        at = after;
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
}

/// The number of bytes at the start that need no escape; the next byte starts a character that has
/// to be checked.
fn clean_run(bytes: &[u8], style: Style) -> usize {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut clean = 0;
    for chunk in chunks {
        let found = suspects(u64::from_le_bytes(*chunk), style);
        if found != 0 {
            return clean + found.trailing_zeros() as usize / 8;
        }
        clean += 8;
    }
    clean + rest.iter().position(|it| is_suspect(*it, style)).unwrap_or(rest.len())
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = ONES << 7;

/// Sets the high bit of each byte that is not printable ASCII or is special in JSON. Bytes after
/// the first one may be marked wrongly, so only the first is meaningful.
fn suspects(word: u64, style: Style) -> u64 {
    let has_zero = |it: u64| it.wrapping_sub(ONES) & !it;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = has_zero(word ^ (ONES * 0x7f));
    let special = match style {
        Style::Json => has_zero(word ^ (ONES * 0x22)) | has_zero(word ^ (ONES * 0x5c)),
        Style::Plain => 0,
    };
    (control | delete | special | word) & HIGHS
}

fn is_suspect(byte: u8, style: Style) -> bool {
    !matches!(byte, b' '..=b'~') || (style == Style::Json && matches!(byte, b'"' | b'\\'))
}

fn needs_escape(it: char, style: Style) -> bool {
    is_unprintable(it) || (style == Style::Json && matches!(it, '"' | '\\'))
}

fn push_escaped(out: &mut Vec<u8>, it: char, style: Style) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short: &[u8] = match it {
        '"' => b"\\\"",
        '\\' => b"\\\\",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        _ => b"",
    };
    if !short.is_empty() {
        return out.extend_from_slice(short);
    }
    // All characters that are escaped fit into four digits.
    let code = u32::from(it);
    let digit = |shift: u32| HEX.get((code >> shift & 15) as usize).copied().unwrap_or(b'?');
    let digits = [digit(12), digit(8), digit(4), digit(0)];
    match style {
        Style::Json => {
            out.extend_from_slice(b"\\u");
            out.extend_from_slice(&digits);
        }
        Style::Plain => {
            let zeros = digits.iter().take(3).take_while(|it| **it == b'0').count();
            out.extend_from_slice(b"\\u{");
            out.extend_from_slice(digits.get(zeros..).unwrap_or_default());
            out.push(b'}');
        }
    }
}

/// Whether a character could mislead a reader on a terminal: control characters, line and paragraph
/// separators, and bidirectional formatting characters. Log lines contain them only escaped.
pub fn is_unprintable(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{2028}' | '\u{2029}')
        || matches!(it, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes formatted output without an intermediate copy. Returns an error once the output is too
/// long, so that formatting ends.
#[derive(Debug)]
pub(crate) struct EscapingWriter<'a> {
    out: &'a mut Vec<u8>,
    style: Style,
    room: usize,
    omitted: usize,
}

impl<'a> EscapingWriter<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>, style: Style) -> Self {
        Self { out, style, room: MAX_TEXT_BYTES, omitted: 0 }
    }

    /// Appends a marker if output was omitted, and returns whether it was.
    pub(crate) fn finish(self) -> bool {
        if self.omitted > 0 {
            push_marker(self.out, self.omitted);
        }
        self.omitted > 0
    }
}

impl fmt::Write for EscapingWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = text.get(..text.floor_char_boundary(self.room)).unwrap_or(text);
        self.room -= kept.len();
        self.omitted += text.len() - kept.len();
        push(self.out, kept, self.style);
        if self.omitted == 0 { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Marks where a text was truncated. If formatting was ended early, more bytes may be missing.
pub(crate) fn push_marker(out: &mut Vec<u8>, omitted: usize) {
    out.extend_from_slice(b"...[truncated ");
    out.extend_from_slice(itoa::Buffer::new().format(omitted).as_bytes());
    out.extend_from_slice(b" bytes]");
}

/// The length of the longest prefix of an escaped text that fits and splits neither a character nor
/// an escape.
pub(crate) fn floor_boundary(escaped: &[u8], room: usize) -> usize {
    if escaped.len() <= room {
        return escaped.len();
    }
    let is_continuation = |at: usize| escaped.get(at).is_some_and(|it| it & 0xc0 == 0x80);
    let mut at = room;
    while at > 0 && is_continuation(at) {
        at -= 1;
    }
    // The longest escape is `\uXXXX`, so only the last bytes can begin one that is split.
    let from = at.saturating_sub(5);
    for start in from..at {
        if escaped.get(start) == Some(&b'\\') && begins_escape(escaped, start) {
            let len = if escaped.get(start + 1) == Some(&b'u') { 6 } else { 2 };
            if start + len > at {
                return start;
            }
        }
    }
    at
}

/// Whether the backslash begins an escape and is not itself escaped: it does if an even number of
/// backslashes precedes it.
fn begins_escape(escaped: &[u8], at: usize) -> bool {
    let before = escaped.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|it| **it == b'\\').count().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    fn escaped(text: &str, style: Style) -> String {
        let mut out = Vec::new();
        push(&mut out, text, style);
        String::from_utf8(out).unwrap()
    }

    /// A simple reference implementation.
    fn one_by_one(text: &str, style: Style) -> String {
        let mut out = Vec::new();
        for it in text.chars() {
            if needs_escape(it, style) {
                push_escaped(&mut out, it, style);
            } else {
                out.extend_from_slice(it.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_unsafe_character_is_escaped_at_every_place() {
        for it in (0..0x3000).filter_map(char::from_u32) {
            for before in 0..9 {
                let text = format!("{}{it}tail of some length", "x".repeat(before));
                for style in [Style::Json, Style::Plain] {
                    assert_eq!(escaped(&text, style), one_by_one(&text, style), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn people_see_what_was_there() {
        assert_eq!(
            escaped("a\"b\\c\n\u{1b}[31m\u{202e}é", Style::Plain),
            "a\"b\\c\\n\\u{1b}[31m\\u{202e}é"
        );
        assert_eq!(escaped("\0\u{85}\"", Style::Json), "\\u0000\\u0085\\\"");
    }

    #[test]
    fn a_text_without_end_is_cut_and_marked() {
        let mut out = Vec::new();
        let mut writer = EscapingWriter::new(&mut out, Style::Json);
        writer.write_str(&"x".repeat(MAX_TEXT_BYTES - 1)).unwrap();
        assert_eq!(writer.write_str("éé"), Err(fmt::Error));
        assert!(writer.finish());
        let end = String::from_utf8(out.split_off(MAX_TEXT_BYTES - 2)).unwrap();
        assert_eq!(end, "x...[truncated 4 bytes]");
    }

    proptest! {
        #[test]
        fn fast_and_slow_agree(text in any::<String>()) {
            prop_assert_eq!(escaped(&text, Style::Json), one_by_one(&text, Style::Json));
            let read: String = serde_json::from_str(&format!("\"{}\"", escaped(&text, Style::Json))).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn a_cut_text_is_still_the_start_of_it(
            text in "[a-c\\\\\"\u{0}\n\u{85}é\u{1f600}]{0,20}", room in 0_usize..60
        ) {
            let whole = escaped(&text, Style::Json);
            let at = floor_boundary(whole.as_bytes(), room);
            prop_assert!(at <= room);
            let start: String = serde_json::from_str(&format!("\"{}\"", whole.get(..at).unwrap())).unwrap();
            prop_assert!(text.starts_with(&start));
            // No more than one escape is lost.
            prop_assert!(at == whole.len() || at + 6 > room);
        }
    }
}
