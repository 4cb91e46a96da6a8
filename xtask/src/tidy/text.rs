//! Rust source with parts blanked, so that a check does not take a comment for code.
//!
//! Promises: blanking keeps every line break, so line numbers stay true. Understands nested block
//! comments, raw and byte strings, and the difference between a character and a lifetime.
//! Leaves out: everything else of the grammar.

use std::iter::Peekable;
use std::str::Chars;

/// What stays readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Code only; comments and the insides of literals are blank.
    Code,
    /// Code and literals; comments are blank.
    CodeAndLiterals,
}

/// The source with all that `keep` does not name turned into spaces.
pub(super) fn blank(source: &str, keep: Keep) -> String {
    let mut blanker = Blanker { rest: source.chars().peekable(), out: String::new(), keep };
    blanker.run();
    blanker.out
}

/// The same length of blank lines for each part that only tests compile: what follows
/// `#[cfg(test)]`, up to the end of that item. Relies on rustfmt for where an item ends.
pub(super) fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        out.push_str(if line == "#[cfg(test)]" { "" } else { line });
        out.push('\n');
        if line == "#[cfg(test)]" {
            for skipped in lines.by_ref() {
                out.push('\n');
                if skipped.ends_with(';') || skipped == "}" {
                    break;
                }
            }
        }
    }
    out
}

/// Whether `word` stands in `line` on its own, not as part of a longer name.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        let ends_open = word.ends_with(|last| !in_name(last));
        !before.is_some_and(in_name) && (ends_open || !after.is_some_and(in_name))
    })
}

fn in_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

struct Blanker<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    keep: Keep,
}

impl Blanker<'_> {
    fn run(&mut self) {
        while let Some(character) = self.rest.next() {
            match (character, self.rest.peek().copied()) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#')) if !self.inside_name() => self.raw(),
                ('\'', _) => self.character_or_lifetime(),
                _ => self.out.push(character),
            }
        }
    }

    fn inside_name(&self) -> bool {
        // `br` and `cr` open raw strings as `r` does; any other letter before makes it a name.
        let mut before = self.out.chars().rev();
        match before.next() {
            Some('b' | 'c') => before.next().is_some_and(in_name),
            other => other.is_some_and(in_name),
        }
    }

    fn hide(&mut self, character: char) {
        self.out.push(if character == '\n' { '\n' } else { ' ' });
    }

    fn literal(&mut self, character: char) {
        if self.keep == Keep::CodeAndLiterals {
            self.out.push(character);
        } else {
            self.hide(character);
        }
    }

    fn line_comment(&mut self) {
        self.hide('/');
        while let Some(character) = self.rest.next_if(|next| *next != '\n') {
            self.hide(character);
        }
    }

    fn block_comment(&mut self) {
        self.hide('/');
        let mut depth = 0_u32;
        let mut previous = '/';
        while let Some(character) = self.rest.next() {
            self.hide(character);
            match (previous, character) {
                ('/', '*') => depth += 1,
                ('*', '/') if depth == 1 => return,
                ('*', '/') => depth -= 1,
                _ => {
                    previous = character;
                    continue;
                }
            }
            // Both halves are used up: the slash of `*/` must not open the next comment.
            previous = ' ';
        }
    }

    fn string(&mut self) {
        self.out.push('"');
        while let Some(character) = self.rest.next() {
            match character {
                '"' => return self.out.push('"'),
                '\\' => {
                    self.literal(character);
                    if let Some(escaped) = self.rest.next() {
                        self.literal(escaped);
                    }
                }
                _ => self.literal(character),
            }
        }
    }

    fn raw(&mut self) {
        self.out.push('r');
        let mut hashes = 0_usize;
        while self.rest.next_if_eq(&'#').is_some() {
            self.out.push('#');
            hashes += 1;
        }
        // Otherwise it is a raw name such as `r#type`.
        if self.rest.next_if_eq(&'"').is_none() {
            return;
        }
        self.out.push('"');
        let mut closing = None;
        for character in self.rest.by_ref() {
            closing = match (character, closing) {
                ('"', _) => Some(0),
                ('#', Some(seen)) => Some(seen + 1),
                _ => None,
            };
            let shown = self.keep == Keep::CodeAndLiterals || character == '\n';
            self.out.push(if shown { character } else { ' ' });
            if closing == Some(hashes) {
                return;
            }
        }
    }

    fn character_or_lifetime(&mut self) {
        self.out.push('\'');
        let mut ahead = self.rest.clone();
        let (first, second) = (ahead.next(), ahead.next());
        let escaped = first == Some('\\');
        if !escaped && second != Some('\'') {
            return;
        }
        // The character itself first: it may be a quote, as in '\''.
        for _ in 0..if escaped { 2 } else { 1 } {
            if let Some(character) = self.rest.next() {
                self.literal(character);
            }
        }
        for character in self.rest.by_ref() {
            if character == '\'' {
                self.out.push('\'');
                return;
            }
            self.out.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Keep, blank, has_word, without_tests};

    fn code(source: &str) -> String {
        blank(source, Keep::Code)
    }

    #[test]
    fn comments_and_literals_are_blank_and_code_stays() {
        for (source, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("a /*/ b */ c", "a          c"),
            ("f(\"x\\\"y\", z)", "f(\"    \", z)"),
            ("r#\"a\"b\"# c", "r#\"      c"),
            ("br\"\\\" c", "br\"   c"),
            ("r#type.x", "r#type.x"),
            ("for\"x\"", "for\" \""),
            ("&'a str, '\"', '\\'', '\\u{41}', b'x'", "&'a str, ' ', '  ', '      ', b' '"),
            ("\"// no\" // yes", "\"     \"       "),
        ] {
            assert_eq!(code(source), expected, "{source}");
        }
        assert_eq!(blank("\"s\" // c", Keep::CodeAndLiterals), "\"s\"     ");
    }

    #[test]
    fn line_numbers_survive() {
        let source = "/* a\nb */\n\"c\nd\"\n#[cfg(test)]\nmod tests {\n    x\n}\ny";
        let blanked = without_tests(&code(source));
        assert_eq!(blanked.lines().position(|line| line == "y"), Some(8));
        assert!(!blanked.contains('x'));
    }

    #[test]
    fn only_the_test_item_is_cut_off() {
        let cut = without_tests("#[cfg(test)]\nmod tests;\nfn kept() {}");
        assert_eq!(cut, "\n\nfn kept() {}\n");
    }

    #[test]
    fn words_are_whole_names() {
        assert!(has_word("use hyper::body", "hyper"));
        assert!(!has_word("use hyper_util::rt", "hyper"));
        assert!(has_word("time::sleep(x)", "sleep("));
        assert!(!has_word("no_sleep(x)", "sleep("));
    }
}
