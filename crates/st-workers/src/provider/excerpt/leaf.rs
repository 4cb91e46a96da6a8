//! A value that is passed over or kept as it is written.

use memchr::memchr2;

/// How much of a value is kept. Bytes as written, quotes and escapes included.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) enum Keep {
    /// The value is left out.
    Nothing,
    /// The whole where it is not longer.
    Whole(usize),
    /// Of a text so much of its beginning.
    Start(usize),
    /// Of a text so much of its end, after `...` where it is not the whole.
    End(usize),
}

/// Replaces a text that is too long, or the part of it that is dropped.
const ELLIPSIS: &[u8] = b"...";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lexeme {
    Text,
    /// A number or a literal.
    Scalar,
    Object,
    Array,
}

#[derive(Debug)]
pub(super) struct Leaf {
    lexeme: Lexeme,
    keep: Keep,
    /// Where it begins among what is kept.
    start: usize,
    /// Whether a part of it was dropped.
    cut: bool,
    position: Position,
}

/// Where in the value the next byte is.
#[derive(Debug, Default)]
struct Position {
    /// Open objects and arrays.
    nesting: usize,
    in_text: bool,
    /// The byte before was a backslash.
    escaped: bool,
}

impl Leaf {
    pub(super) fn new(lexeme: Lexeme, keep: Keep, start: usize) -> Self {
        Self { lexeme, keep, start, cut: false, position: Position::default() }
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Reads the bytes of the value, the first one included. Returns those behind it once it ended.
    pub(super) fn feed<'b>(&mut self, bytes: &'b [u8], kept: &mut Vec<u8>) -> Option<&'b [u8]> {
        let end = match self.lexeme {
            Lexeme::Scalar => bytes.iter().position(|byte| !is_of_scalar(*byte)),
            Lexeme::Text | Lexeme::Object | Lexeme::Array => self.position.end(bytes),
        };
        let (own, behind) = bytes.split_at_checked(end.unwrap_or(bytes.len()))?;
        self.keep(own, kept);
        end?;
        self.close(kept);
        Some(behind)
    }

    fn keep(&mut self, own: &[u8], kept: &mut Vec<u8>) {
        let limit = match self.keep {
            Keep::Nothing => return,
            Keep::Whole(limit) | Keep::Start(limit) | Keep::End(limit) => limit,
        };
        if let Keep::End(limit) = self.keep {
            kept.extend_from_slice(own);
            // At twice the limit, so that each byte is moved once.
            if kept.len() - self.start > limit.saturating_mul(2) {
                self.drop_front(limit, kept);
            }
            return;
        }
        if self.cut {
            return;
        }
        let room = limit.saturating_sub(kept.len() - self.start);
        if let Some(fits) = own.get(..room).filter(|fits| fits.len() < own.len()) {
            self.cut = true;
            if let Keep::Start(_) = self.keep {
                kept.extend_from_slice(fits);
                let text = kept.get(self.start + 1..).unwrap_or_default();
                let whole = self.start + 1 + last_boundary(text, text.len().saturating_sub(1));
                kept.truncate(whole);
                kept.push(b'"');
            } else {
                kept.truncate(self.start);
                self.elide(kept);
            }
        } else {
            kept.extend_from_slice(own);
        }
    }

    fn close(&mut self, kept: &mut Vec<u8>) {
        let Keep::End(limit) = self.keep else { return };
        if kept.len() - self.start > limit {
            self.drop_front(limit, kept);
        }
        if self.cut {
            let text = self.start + 1;
            kept.splice(text..text, ELLIPSIS.iter().copied());
        }
    }

    /// Leaves about so many bytes of a text.
    fn drop_front(&mut self, limit: usize, kept: &mut Vec<u8>) {
        let from = self.start + 1;
        let text = kept.get(from..).unwrap_or_default();
        let dropped = first_boundary(text, text.len().saturating_sub(limit));
        kept.drain(from..from + dropped);
        self.cut |= dropped > 0;
    }

    /// Nothing that could be taken for absent or null.
    fn elide(&self, kept: &mut Vec<u8>) {
        match self.lexeme {
            Lexeme::Object => kept.extend_from_slice(b"{}"),
            Lexeme::Array => kept.extend_from_slice(b"[]"),
            Lexeme::Text | Lexeme::Scalar => {
                kept.push(b'"');
                kept.extend_from_slice(ELLIPSIS);
                kept.push(b'"');
            }
        }
    }
}

impl Position {
    /// Where the value ends, counted from the beginning of these bytes; `None` when it goes on.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..)?;
            let found = if self.escaped || rest.is_empty() {
                0
            } else if self.in_text {
                memchr2(b'"', b'\\', rest)?
            } else {
                rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?
            };
            let byte = *rest.get(found)?;
            at += found + 1;
            if self.escaped {
                self.escaped = false;
                continue;
            }
            match byte {
                b'\\' => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' => self.nesting += 1,
                _ => self.nesting = self.nesting.saturating_sub(1),
            }
            if self.nesting == 0 && !self.in_text && !self.escaped {
                return Some(at);
            }
        }
    }
}

fn is_of_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// The first place at `from` or after it where a text can be cut.
fn first_boundary(text: &[u8], from: usize) -> usize {
    let mut at = 0;
    while at < from {
        at += unit(text.get(at..).unwrap_or_default());
    }
    at.min(text.len())
}

/// The last place at `until` or before it where a text can be cut.
fn last_boundary(text: &[u8], until: usize) -> usize {
    let mut at = 0;
    loop {
        let next = at + unit(text.get(at..).unwrap_or_default());
        if next > until {
            return at;
        }
        at = next;
    }
}

/// Bytes of the character or the escape at the beginning, at least one.
fn unit(text: &[u8]) -> usize {
    match text {
        [b'\\', b'u', ..] => 6,
        [b'\\', ..] => 2,
        [_, rest @ ..] => {
            let is_inside = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
            1 + rest.iter().take(3).take_while(is_inside).count()
        }
        [] => 1,
    }
}
