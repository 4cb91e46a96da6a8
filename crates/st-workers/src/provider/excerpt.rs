//! Reduces a JSON object to the parts that are wanted, while it arrives. Answers hold logs, images
//! and whole data sets, much of it from strangers; in memory is only what is kept.
//!
//! The excerpt is JSON again and read as if the answer had been small. What is too long is replaced
//! by something of its own type that says nothing and is neither absent nor null: a text or a number
//! by `"..."`, an object by `{}`, an array by `[]`. What is left out is not checked to be JSON.

mod leaf;
mod shape;

pub(super) use leaf::Keep;
use leaf::{Leaf, Lexeme};
pub(super) use shape::Shape;
use shape::{Members, Part, part};

/// A longer name, as it is written, is treated as unknown.
const LONGEST_NAME: usize = 128;
/// A body that is not an object is an error message; this many bytes of it are kept.
const OTHER_WORDS: usize = 64 * 1024;

/// More would have to be kept than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parts of it that are needed have more than {0} bytes")]
pub(super) struct TooLarge(usize);

/// An excerpt while it is made.
#[derive(Debug)]
pub(super) struct Excerpt {
    kept: Vec<u8>,
    limit: usize,
    root: &'static Shape,
    /// The containers around the current position whose parts are chosen; no more than a shape has.
    open: Vec<Container>,
    state: State,
}

#[derive(Debug)]
struct Container {
    contents: Contents,
    empty: bool,
}

#[derive(Debug, Clone, Copy)]
enum Contents {
    Members(Members),
    Items { item: &'static Shape, left: usize },
}

#[derive(Debug)]
enum State {
    Start,
    /// It is no object. So many more bytes are kept.
    Other(usize),
    /// Before a name or an item.
    Next {
        may_end: bool,
    },
    Name(Leaf),
    Colon(Option<&'static Shape>),
    /// Before a value; without a shape nothing of it is kept.
    Value(Option<&'static Shape>),
    Leaf(Leaf),
    /// Behind a value.
    After,
    /// Behind the object.
    Done,
    /// It is no JSON from here on. The excerpt stays unterminated, so that it is unreadable.
    Broken,
}

impl Excerpt {
    /// An excerpt of an object, of which at most `limit` bytes are kept in all.
    pub(super) fn new(root: &'static Shape, limit: usize) -> Self {
        Self { kept: Vec::new(), limit, root, open: Vec::new(), state: State::Start }
    }

    /// Reads the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while !bytes.is_empty() && self.kept.len() <= self.limit {
            bytes = self.step(bytes);
        }
        if self.kept.len() > self.limit { Err(TooLarge(self.limit)) } else { Ok(()) }
    }

    /// The excerpt, with a replacement character for what is no text. It is no JSON when the body was
    /// none or is not complete.
    pub(super) fn finish(self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }

    /// Reads as far as one state reaches. Returns what is behind it.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Name(name) => return self.name(name, bytes),
            State::Leaf(leaf) => return self.leaf(leaf, bytes),
            State::Other(left) => {
                let now = bytes.get(..left).unwrap_or(bytes);
                self.kept.extend_from_slice(now);
                self.state = State::Other(left - now.len());
                return &[];
            }
            State::Broken => return &[],
            between if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => self.state = between,
            State::Start if byte == b'{' => return self.value(Some(self.root), bytes),
            State::Start => {
                self.state = State::Other(OTHER_WORDS);
                return bytes;
            }
            State::Next { may_end } => return self.next(may_end, bytes),
            State::Colon(shape) if byte == b':' => self.state = State::Value(shape),
            State::Value(shape) => return self.value(shape, bytes),
            State::After if byte == b',' => self.state = State::Next { may_end: false },
            State::After => self.close(byte),
            // Two values are no answer; with this byte they are not read as one.
            State::Done => self.kept.push(byte),
            State::Colon(_) => {}
        }
        rest
    }

    fn next<'b>(&mut self, may_end: bool, bytes: &'b [u8]) -> &'b [u8] {
        let start = self.kept.len();
        match (self.open.last_mut(), bytes) {
            (Some(_), [b']' | b'}', rest @ ..]) if may_end => {
                self.close(bytes.first().copied().unwrap_or_default());
                rest
            }
            (Some(Container { contents: Contents::Members(_), .. }), [b'"', ..]) => {
                self.name(Leaf::new(Lexeme::Text, Keep::Whole(LONGEST_NAME), start), bytes)
            }
            (Some(Container { contents: Contents::Items { item, left }, empty }), _) => {
                let shape = (*left > 0).then_some(*item);
                *left = left.saturating_sub(1);
                if shape.is_some() && !std::mem::replace(empty, false) {
                    self.kept.push(b',');
                }
                self.value(shape, bytes)
            }
            _ => &[],
        }
    }

    /// Ends the innermost container, where this is its end.
    fn close(&mut self, byte: u8) {
        let ends = self.open.last().is_some_and(|container| match container.contents {
            Contents::Members(_) => byte == b'}',
            Contents::Items { .. } => byte == b']',
        });
        if ends {
            self.open.pop();
            self.kept.push(byte);
            self.state = if self.open.is_empty() { State::Done } else { State::After };
        }
    }

    fn name<'b>(&mut self, mut name: Leaf, bytes: &'b [u8]) -> &'b [u8] {
        let Some(behind) = name.feed(bytes, &mut self.kept) else {
            self.state = State::Name(name);
            return &[];
        };
        let written = self.kept.split_off(name.start());
        let read: Option<String> = serde_json::from_slice(&written).ok();
        let mut shape = None;
        if let Some(Container { contents: Contents::Members(members), empty }) =
            self.open.last_mut()
            && let Some(read) = read
            && let Some((_, wanted)) = members.iter().find(|(name, _)| *name == read)
        {
            if !std::mem::replace(empty, false) {
                self.kept.push(b',');
            }
            self.kept.extend_from_slice(&written);
            self.kept.push(b':');
            shape = Some(wanted);
        }
        self.state = State::Colon(shape);
        behind
    }

    fn value<'b>(&mut self, shape: Option<&'static Shape>, bytes: &'b [u8]) -> &'b [u8] {
        let Some((&byte, rest)) = bytes.split_first() else { return bytes };
        let contents = match part(shape, byte) {
            Some(Part::Leaf(lexeme, keep)) => {
                return self.leaf(Leaf::new(lexeme, keep, self.kept.len()), bytes);
            }
            Some(Part::Members(members)) => Contents::Members(members),
            Some(Part::Items { item, most }) => Contents::Items { item, left: most },
            None => return &[],
        };
        self.kept.push(byte);
        self.open.push(Container { contents, empty: true });
        self.state = State::Next { may_end: true };
        rest
    }

    fn leaf<'b>(&mut self, mut leaf: Leaf, bytes: &'b [u8]) -> &'b [u8] {
        let behind = leaf.feed(bytes, &mut self.kept);
        self.state = if behind.is_some() { State::After } else { State::Leaf(leaf) };
        behind.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
