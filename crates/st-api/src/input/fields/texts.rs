//! Texts of requests and of messages about them.

use serde_json::Value;
use st_store::InputProblem;

use super::FieldFault;

/// How far a name may be from a legal one to be taken for it.
const NEAR: usize = 3;

/// A client may send a number of any length; an error quotes no more of its digits than these.
pub(super) const SHOWN: usize = 40;

/// Whether it is an absolute http or https URL with a host.
pub fn is_http_url(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// A text as an error may show it: not where there may be a password or a token in it, as there may be
/// in a URL.
pub fn quoted(text: &str) -> String {
    if text.contains(['@', '?']) { "(not shown)".to_owned() } else { format!("{text:?}") }
}

/// The legal name that was probably meant.
pub fn nearest<'a>(word: &str, legal: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = legal.into_iter().map(|it| (strsim::osa_distance(word, it), it));
    let near = near.filter(|(distance, it)| *distance <= NEAR.min(it.len() / 2));
    near.min().map(|(_, it)| it)
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            text.split_at_checked(end).map_or("", |(start, _)| start).to_owned() + "..."
        }
        None => text,
    }
}

/// What is wrong with a text that was given outside of an object.
pub fn text_fault(name: &str, text: &str) -> Option<FieldFault> {
    text.contains('\0').then(|| nul(format!("/{}", escape(name))))
}

fn nul(pointer: String) -> FieldFault {
    FieldFault { pointer, message: InputProblem::Nul.to_string() }
}

/// Notes every U+0000 in a member and within it. Both parsers limit the depth.
pub(super) fn find_nul(pointer: &str, key: &str, value: &Value, faults: &mut Vec<FieldFault>) {
    let in_text = matches!(value, Value::String(text) if text.contains('\0'));
    if in_text || key.contains('\0') {
        faults.push(nul(pointer.to_owned()));
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_nul(&format!("{pointer}/{index}"), "", item, faults);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                find_nul(&format!("{pointer}/{}", escape(key)), key, member, faults);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Escapes a name for use in a JSON pointer (RFC 6901).
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}
