//! Text from a log, made harmless for a terminal.
//!
//! Promises: no control character, line separator or mark that turns the reading direction comes
//! out as itself. Leaves out: telling an escape from a text that looks like one.

use std::fmt::Write;

use st_log::is_unprintable;

/// Appends a text for people; what needs no escape stays as it is, also quotes and backslashes.
pub(super) fn plain(out: &mut String, text: &str) {
    each(out, text, |out, it| out.extend(it.escape_default()));
}

/// As [`plain`], for a whole line: its tabs stay, as they only set it apart.
pub(super) fn line(out: &mut String, text: &str) {
    each(out, text, |out, it| match it {
        '\t' => out.push(it),
        it => out.extend(it.escape_default()),
    });
}

/// Appends text that is JSON, or the inside of one of its strings, and stays so.
pub(super) fn json(out: &mut String, text: &str) {
    each(out, text, |out, it| {
        // All that is unsafe is below U+FFFF. A String takes everything that is written to it.
        let written = write!(out, "\\u{:04x}", u32::from(it));
        debug_assert_eq!(written, Ok(()));
    });
}

fn each(out: &mut String, text: &str, unsafe_one: impl Fn(&mut String, char)) {
    if text.bytes().all(|it| matches!(it, b' '..=b'~')) {
        return out.push_str(text);
    }
    for it in text.chars() {
        if is_unprintable(it) { unsafe_one(out, it) } else { out.push(it) }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_unprintable, json, line, plain};

    fn written(write: fn(&mut String, &str), text: &str) -> String {
        let mut out = String::new();
        write(&mut out, text);
        out
    }

    #[test]
    fn an_escape_is_the_character_by_its_name() {
        let text = "a\tb\n\u{1b}[31m\u{9b}\u{202e}\u{7f} \"é\" \\";
        assert_eq!(written(plain, text), "a\\tb\\n\\u{1b}[31m\\u{9b}\\u{202e}\\u{7f} \"é\" \\");
        assert_eq!(written(line, "a\tb\u{7}"), "a\tb\\u{7}");
        assert_eq!(written(json, "\"\u{9b}\u{2066}é\""), "\"\\u009b\\u2066é\"");
    }

    #[test]
    fn nothing_unsafe_comes_out_of_any_character() {
        let all: String = ('\0'..=char::MAX).collect();
        for write in [plain, line, json] {
            let out = written(write, &all);
            let unsafe_ones: String = out.chars().filter(|it| is_unprintable(*it)).collect();
            assert!(unsafe_ones.is_empty() || unsafe_ones == "\t", "{unsafe_ones:?}");
        }
        let marks = "\u{0}\u{1f}\u{7f}\u{80}\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\
                     \u{202e}\u{2066}\u{2069}";
        assert!(marks.chars().all(is_unprintable));
        assert!(!"aé–\u{a0}\u{200d}\u{2065}\u{206a}😀".chars().any(is_unprintable));
    }
}
