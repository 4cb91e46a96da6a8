//! How much is kept of which part of an answer.

use super::leaf::{Keep, Lexeme};

/// Bytes of a number or a literal.
const LONGEST_SCALAR: usize = 1024;

/// The members of an object that are kept; the others are left out.
pub(in crate::provider) type Members = &'static [(&'static str, Shape)];

/// How much is kept of a value, by what the value turns out to be.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Shape {
    text: Keep,
    object: Object,
    array: Array,
}

#[derive(Debug, Clone, Copy)]
enum Object {
    Whole(usize),
    Members(Members),
}

#[derive(Debug, Clone, Copy)]
enum Array {
    Whole(usize),
    Items { item: &'static Shape, most: usize },
}

/// What to do with a value that begins.
#[derive(Debug)]
pub(super) enum Part {
    Members(Members),
    Items { item: &'static Shape, most: usize },
    Leaf(Lexeme, Keep),
}

impl Shape {
    /// Of a text so much. Numbers and literals are kept, objects and arrays emptied.
    pub(in crate::provider) const fn text(keep: Keep) -> Self {
        Self { text: keep, object: Object::Members(&[]), array: Array::Whole(0) }
    }

    /// An object or array as well, where it has at most `bytes`.
    pub(in crate::provider) const fn or_container(self, bytes: usize) -> Self {
        Self { object: Object::Whole(bytes), array: Array::Whole(bytes), ..self }
    }

    /// Of an object these members.
    pub(in crate::provider) const fn or_members(self, members: Members) -> Self {
        Self { object: Object::Members(members), ..self }
    }

    /// Of an array the first `most` items.
    pub(in crate::provider) const fn or_items(self, item: &'static Self, most: usize) -> Self {
        Self { array: Array::Items { item, most }, ..self }
    }
}

/// What to do with a value that begins with `byte`; `None` where none can.
pub(super) fn part(shape: Option<&Shape>, byte: u8) -> Option<Part> {
    let lexeme = match byte {
        b'{' => Lexeme::Object,
        b'[' => Lexeme::Array,
        b'"' => Lexeme::Text,
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Lexeme::Scalar,
        _ => return None,
    };
    let Some(Shape { text, object, array }) = shape else {
        return Some(Part::Leaf(lexeme, Keep::Nothing));
    };
    Some(match (lexeme, object, array) {
        (Lexeme::Object, Object::Members(members), _) => Part::Members(members),
        (Lexeme::Array, _, Array::Items { item, most }) => Part::Items { item, most: *most },
        (Lexeme::Object, Object::Whole(bytes), _) | (Lexeme::Array, _, Array::Whole(bytes)) => {
            Part::Leaf(lexeme, Keep::Whole(*bytes))
        }
        (Lexeme::Text, ..) => Part::Leaf(lexeme, *text),
        (Lexeme::Scalar, ..) => Part::Leaf(lexeme, Keep::Whole(LONGEST_SCALAR)),
    })
}
