//! Truncates records that are too long.
//!
//! Docker splits lines at 16 KiB, and half a record is not valid JSON. So a record above the limit
//! is truncated inside its longest texts, each of which then ends with a marker that gives the
//! number of missing bytes. The record stays valid JSON, with `"truncated": true` in `extra`.

use std::ops::Range;

use crate::escape::{floor_boundary, push_marker};
use crate::json::COMMA;
use crate::json_members::{Member, inside, items, members};
use crate::record::Sections;

const TRUNCATED: &[u8] = b"\"truncated\": true";
/// An upper bound of the length of a marker with its quotes.
const MARKER_BYTES: usize = 48;
/// Members up to this length are never truncated.
const SMALL_MEMBER_BYTES: usize = 128;
/// The length of an exception without its texts.
const EXCEPTION_OVERHEAD: usize =
    b", \"exception\": {\"type\": , \"message\": , \"chain\": []}".len();
/// Reserved for the start of an exception, which suffices to identify it.
const MIN_EXCEPTION_BYTES: usize = 320;

/// Truncates a JSON record, without its newline, to `max` bytes if its fixed parts leave room.
pub(crate) fn json(line: &mut Vec<u8>, sections: &Sections, max: usize) {
    let whole = std::mem::take(line);
    let part = |range: &Range<usize>| whole.get(range.clone()).unwrap_or_default();
    let (message, exception, stack) =
        (part(&sections.message), part(&sections.exception), part(&sections.stack));
    let extra = part(&sections.extra).strip_prefix(b", \"extra\": ").unwrap_or_default();
    let extra = inside(extra, b'{').unwrap_or_default();
    let truncatable = message.len() + exception.len() + stack.len() + part(&sections.extra).len();
    let fixed = whole.len() - truncatable + b", \"extra\": {}".len() + TRUNCATED.len();
    let mut room = max.saturating_sub(fixed);
    let extra_len = extra.len() + COMMA.len();
    // Small fields are the ones that searches use, so large texts must not displace them.
    let small = small_fields(extra).min(room / 4);
    let exception_start = exception.len().min(MIN_EXCEPTION_BYTES).min(room / 3);

    line.extend_from_slice(part(&(0..sections.message.start)));
    let before = line.len();
    let others = exception.len() + stack.len() + extra_len;
    push_truncated(line, message, share(room, message.len(), others, small + exception_start));
    room = room.saturating_sub(line.len() - before);
    line.extend_from_slice(part(&(sections.message.end..sections.exception.start)));
    let before = line.len();
    push_exception(line, exception, share(room, exception.len(), stack.len() + extra_len, small));
    room = room.saturating_sub(line.len() - before);
    let before = line.len();
    push_stack(line, stack, share(room, stack.len(), extra_len, small));
    room = room.saturating_sub(line.len() - before);
    line.extend_from_slice(b", \"extra\": {");
    push_members(line, extra, room);
    line.extend_from_slice(TRUNCATED);
    line.extend_from_slice(b"}}");
}

/// Truncates a line of the text format: its message, exception and stack, and the end of the line
/// if that is not enough.
pub(crate) fn text(line: &mut Vec<u8>, sections: &Sections, max: usize) {
    let whole = std::mem::take(line);
    let part = |range: Range<usize>| whole.get(range).unwrap_or_default();
    let (message, exception, stack) = (
        part(sections.message.clone()),
        part(sections.exception.clone()),
        part(sections.stack.clone()),
    );
    let fields = part(sections.stack.end..whole.len());
    line.extend_from_slice(part(0..sections.message.start));
    let mut others = message.len() + exception.len() + stack.len() + fields.len();
    for cut in [message, exception, stack] {
        others -= cut.len();
        let room = max.saturating_sub(line.len());
        push_truncated(line, cut, share(room, cut.len(), others, fields.len().min(room / 4)));
    }
    line.extend_from_slice(fields);
    if line.len() <= max {
        return;
    }
    let kept = floor_boundary(line, max.saturating_sub(MARKER_BYTES));
    let omitted = line.len() - kept;
    line.truncate(kept);
    push_marker(line, omitted);
}

/// The share of the room for one part: half of it, or more if the other parts need less. `kept` is
/// reserved for them.
fn share(room: usize, wanted: usize, others: usize, kept: usize) -> usize {
    let room = room.saturating_sub(kept);
    wanted.min((room / 2).max(room.saturating_sub(others.saturating_sub(kept))))
}

/// Appends the inside of a string, truncated to `room` bytes.
fn push_truncated(line: &mut Vec<u8>, escaped: &[u8], room: usize) {
    if escaped.len() <= room {
        return line.extend_from_slice(escaped);
    }
    let kept = floor_boundary(escaped, room.saturating_sub(MARKER_BYTES));
    line.extend_from_slice(escaped.get(..kept).unwrap_or_default());
    push_marker(line, escaped.len() - kept);
}

fn push_string(line: &mut Vec<u8>, string: &[u8], room: usize) {
    line.push(b'"');
    push_truncated(line, inside(string, b'"').unwrap_or_default(), room.saturating_sub(2));
    line.push(b'"');
}

fn push_exception(line: &mut Vec<u8>, exception: &[u8], room: usize) {
    let object = exception.strip_prefix(b", \"exception\": ").and_then(|it| inside(it, b'{'));
    let (Some(object), true) = (object, exception.len() > room) else {
        return line.extend_from_slice(exception);
    };
    let value =
        |key: &[u8]| members(object).find(|it| it.key == key).map_or(&b"\"\""[..], |it| it.value);
    let kind = value(b"type");
    // Without room for the start of its message, an exception is useless.
    let Some(room) =
        room.checked_sub(EXCEPTION_OVERHEAD + kind.len()).filter(|it| *it > 2 * MARKER_BYTES)
    else {
        return;
    };
    line.extend_from_slice(b", \"exception\": {\"type\": ");
    line.extend_from_slice(kind);
    line.extend_from_slice(b", \"message\": ");
    let before = line.len();
    let chain = value(b"chain").len().saturating_sub(2);
    push_string(line, value(b"message"), (room / 2).max(room.saturating_sub(chain)));
    let mut room = room.saturating_sub(line.len() - before);
    line.extend_from_slice(b", \"chain\": [");
    for (at, cause) in items(inside(value(b"chain"), b'[').unwrap_or_default()).enumerate() {
        if room < 2 * MARKER_BYTES {
            break;
        }
        let before = line.len();
        if at > 0 {
            line.extend_from_slice(COMMA);
        }
        push_string(line, cause, room / 2);
        room = room.saturating_sub(line.len() - before);
    }
    line.extend_from_slice(b"]}");
}

fn push_stack(line: &mut Vec<u8>, stack: &[u8], room: usize) {
    const NAME: &[u8] = b", \"stack_info\": ";
    if let Some(string) = stack.strip_prefix(NAME)
        && room > NAME.len() + MARKER_BYTES
    {
        line.extend_from_slice(NAME);
        push_string(line, string, room - NAME.len());
    }
}

/// The length of a member with its separator.
fn cost(member: &Member<'_>) -> usize {
    member.whole.len() + COMMA.len()
}

/// The total length of the small members.
fn small_fields(extra: &[u8]) -> usize {
    members(extra).map(|it| cost(&it)).filter(|it| *it <= SMALL_MEMBER_BYTES).sum()
}

/// Appends the members, each followed by a comma. Small ones are kept whole while there is room;
/// the others share the rest.
fn push_members(line: &mut Vec<u8>, extra: &[u8], mut room: usize) {
    let all = || members(extra).filter(|it| it.key != b"truncated");
    let small = SMALL_MEMBER_BYTES.max(room / all().count().max(1));
    let wanted: usize = all().map(|it| cost(&it)).filter(|it| *it <= small).sum();
    let large = all().filter(|it| cost(it) > small).count().max(1);
    let each = room.saturating_sub(wanted) / large;
    for member in all() {
        let before = line.len();
        if cost(&member) <= small.max(each) {
            if cost(&member) > room {
                continue;
            }
            line.extend_from_slice(member.whole);
        } else {
            let name = member.whole.len() - member.value.len();
            let Some(room) = each.checked_sub(name + COMMA.len()).filter(|it| *it >= MARKER_BYTES)
            else {
                continue;
            };
            line.extend_from_slice(member.whole.get(..name).unwrap_or_default());
            if member.value.first() == Some(&b'"') {
                push_string(line, member.value, room);
            } else {
                line.push(b'"');
                push_marker(line, member.value.len());
                line.push(b'"');
            }
        }
        line.extend_from_slice(COMMA);
        room = room.saturating_sub(line.len() - before);
    }
}
