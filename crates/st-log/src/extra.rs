//! Merges the fields of spans, of the scope and of the event, so that each key occurs once.

use crate::json::COMMA;
use crate::json_members::{Member, bit, members};

/// The fields from one source, as JSON members.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) text: &'a [u8],
    /// The union of the bits of the keys.
    pub(crate) mask: u64,
}

impl Fields<'_> {
    pub(crate) const NONE: Fields<'static> = Fields { text: b"", mask: 0 };

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn has(&self, member: &Member<'_>) -> bool {
        bit(member.key) & self.mask != 0 && members(self.text).any(|it| it.key == member.key)
    }
}

/// Appends all fields, outermost first; of a repeated key, the innermost member is kept.
pub(crate) fn push_merged<const N: usize>(out: &mut Vec<u8>, all: [Fields<'_>; N]) {
    let start = out.len();
    for (at, fields) in all.iter().enumerate().filter(|(_, it)| !it.is_empty()) {
        let inner = all.get(at + 1..).unwrap_or_default();
        if inner.iter().all(|it| it.mask & fields.mask == 0) {
            push_comma(out, start);
            out.extend_from_slice(fields.text);
            continue;
        }
        for member in members(fields.text).filter(|it| !inner.iter().any(|inner| inner.has(it))) {
            push_comma(out, start);
            out.extend_from_slice(member.whole);
        }
    }
}

fn push_comma(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.extend_from_slice(COMMA);
    }
}
