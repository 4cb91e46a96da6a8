//! Records that are too long.
//!
//! Docker splits a line at 16 KiB, and half a record is no JSON. So a record that is longer than it
//! may be is cut where it hurts least: inside its longest texts, each of which then says how much
//! of it is missing. The record stays whole, with `"truncated": true` in `extra`.

use std::ops::Range;

use crate::draft::Places;
use crate::escape::{floor_boundary, push_marker};
use crate::json::COMMA;
use crate::members::{Member, inside, items, members};

const TRUNCATED: &[u8] = b"\"truncated\": true";
/// A marker with its quotes.
const MARKER: usize = 48;
/// A member that is never cut.
const SMALL: usize = 128;
/// What an exception has besides its texts.
const EXCEPTION_NAMES: usize = b", \"exception\": {\"type\": , \"message\": , \"chain\": []}".len();
/// Enough of an exception to tell what it is.
const EXCEPTION_START: usize = 320;

/// Cuts a JSON record, without its newline, to at most `max` bytes, if that is at all possible.
pub(crate) fn json(line: &mut Vec<u8>, places: &Places, max: usize) {
    let whole = std::mem::take(line);
    let part = |range: &Range<usize>| whole.get(range.clone()).unwrap_or_default();
    let (message, exception, stack) =
        (part(&places.message), part(&places.exception), part(&places.stack));
    let extra = part(&places.extra).strip_prefix(b", \"extra\": ").unwrap_or_default();
    let extra = inside(extra, b'{').unwrap_or_default();
    let cuttable = message.len() + exception.len() + stack.len() + part(&places.extra).len();
    let fixed = whole.len() - cuttable + b", \"extra\": {}".len() + TRUNCATED.len();
    let mut room = max.saturating_sub(fixed);
    let extra_len = extra.len() + COMMA.len();
    // What is small is what lines are found by, so no large text takes its place.
    let small = small_fields(extra).min(room / 4);
    let exception_start = exception.len().min(EXCEPTION_START).min(room / 3);

    line.extend_from_slice(part(&(0..places.message.start)));
    let before = line.len();
    let others = exception.len() + stack.len() + extra_len;
    push_cut(line, message, share(room, message.len(), others, small + exception_start));
    room = room.saturating_sub(line.len() - before);
    line.extend_from_slice(part(&(places.message.end..places.exception.start)));
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

/// Cuts a line of text: its message, its exception and its stack, and the end of the line where that
/// is not enough.
pub(crate) fn text(line: &mut Vec<u8>, places: &Places, max: usize) {
    let whole = std::mem::take(line);
    let part = |range: Range<usize>| whole.get(range).unwrap_or_default();
    let (message, exception, stack) =
        (part(places.message.clone()), part(places.exception.clone()), part(places.stack.clone()));
    let fields = part(places.stack.end..whole.len());
    line.extend_from_slice(part(0..places.message.start));
    let mut others = message.len() + exception.len() + stack.len() + fields.len();
    for cut in [message, exception, stack] {
        others -= cut.len();
        let room = max.saturating_sub(line.len());
        push_cut(line, cut, share(room, cut.len(), others, fields.len().min(room / 4)));
    }
    line.extend_from_slice(fields);
    if line.len() <= max {
        return;
    }
    let kept = floor_boundary(line, max.saturating_sub(MARKER));
    let left_out = line.len() - kept;
    line.truncate(kept);
    push_marker(line, left_out);
}

/// What a part may take: half of the room, or more where the others do not need it, but nothing of
/// what is kept for them.
fn share(room: usize, wanted: usize, others: usize, kept: usize) -> usize {
    let room = room.saturating_sub(kept);
    wanted.min((room / 2).max(room.saturating_sub(others.saturating_sub(kept))))
}

/// Appends the inside of a string.
fn push_cut(line: &mut Vec<u8>, escaped: &[u8], room: usize) {
    if escaped.len() <= room {
        return line.extend_from_slice(escaped);
    }
    let kept = floor_boundary(escaped, room.saturating_sub(MARKER));
    line.extend_from_slice(escaped.get(..kept).unwrap_or_default());
    push_marker(line, escaped.len() - kept);
}

fn push_string(line: &mut Vec<u8>, string: &[u8], room: usize) {
    line.push(b'"');
    push_cut(line, inside(string, b'"').unwrap_or_default(), room.saturating_sub(2));
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
    // Without room for a start of the message it would tell nothing.
    let Some(room) = room.checked_sub(EXCEPTION_NAMES + kind.len()).filter(|it| *it > 2 * MARKER)
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
        if room < 2 * MARKER {
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
        && room > NAME.len() + MARKER
    {
        line.extend_from_slice(NAME);
        push_string(line, string, room - NAME.len());
    }
}

/// The member with its separator.
fn cost(member: &Member<'_>) -> usize {
    member.whole.len() + COMMA.len()
}

/// What the small members take.
fn small_fields(extra: &[u8]) -> usize {
    members(extra).map(|it| cost(&it)).filter(|it| *it <= SMALL).sum()
}

/// Appends the members, each with a comma behind it. The small ones stay whole, as many as there is
/// room for; the others share what is left.
fn push_members(line: &mut Vec<u8>, extra: &[u8], mut room: usize) {
    let all = || members(extra).filter(|it| it.key != b"truncated");
    let small = SMALL.max(room / all().count().max(1));
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
            let Some(room) = each.checked_sub(name + COMMA.len()).filter(|it| *it >= MARKER) else {
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
