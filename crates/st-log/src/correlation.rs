//! Correlation IDs, which identify all log lines of one unit of work.
//!
//! The character set is restricted so that an ID needs no escaping in JSON, in an HTTP header or
//! for `grep`. An ID belongs to a scope; see the module `scope`.

use std::fmt;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use http::HeaderName;

use crate::scope::{Scope, local};
use crate::value::{ToValue, Value};

/// The HTTP header that carries a correlation ID in both directions.
pub const CORRELATION_ID_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// The maximum length of an ID in characters.
const MAX_LEN: usize = 128;
/// Longer IDs are shared instead of stored inline. Generated IDs fit, and a scope stays small
/// enough to be swapped in and out at every poll.
const MAX_INLINE_LEN: usize = 22;

/// Identifies a request or a background cycle in every log line it causes.
///
/// 1 to 128 characters of `A-Z a-z 0-9 . _ - + / = :`. Cheap to clone.
#[derive(Clone)]
pub struct CorrelationId(Text);

#[derive(Clone)]
enum Text {
    Inline { len: u8, bytes: [u8; MAX_INLINE_LEN] },
    Shared(Arc<str>),
}

/// The error for a text that is not a valid correlation ID. It does not contain the text, which may
/// be hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a correlation ID: legal are 1 to {MAX_LEN} of A-Z a-z 0-9 . _ - + / = :")]
#[non_exhaustive]
pub struct InvalidCorrelationId;

impl CorrelationId {
    /// Validates an ID that came from outside the program.
    pub fn parse(text: &str) -> Result<Self, InvalidCorrelationId> {
        let legal = (1..=MAX_LEN).contains(&text.len()) && text.bytes().all(is_legal);
        if legal { Ok(Self(Text::new(text))) } else { Err(InvalidCorrelationId) }
    }

    /// Generates an ID of 12 lower-case hexadecimal digits. It is not cryptographically random.
    pub fn generate() -> Self {
        // Does not panic where the thread-local generator is already destroyed, as when the thread exits.
        let bits = (fastrand::Rng::new().u64(..) ^ process_seed()) & 0xffff_ffff_ffff;
        Self(Text::new(&format!("{bits:012x}")))
    }

    /// The ID of this process, for lines that belong to no scope.
    pub(crate) fn of_process() -> &'static Self {
        static ID: OnceLock<CorrelationId> = OnceLock::new();
        ID.get_or_init(Self::generate)
    }

    /// The ID as text, unchanged from what was parsed.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Inline { bytes, len } => {
                let text = bytes.get(..usize::from(*len));
                text.and_then(|it| str::from_utf8(it).ok()).unwrap_or_default()
            }
            Text::Shared(text) => text,
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Inline { bytes, len } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Text::Shared(text) => text.as_bytes(),
        }
    }
}

impl Text {
    fn new(text: &str) -> Self {
        let mut bytes = [0; MAX_INLINE_LEN];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(text.as_bytes());
                Self::Inline { len, bytes }
            }
            _ => Self::Shared(text.into()),
        }
    }
}

/// Random bits that differ between processes. The generator is seeded with the time and the thread
/// ID only, which are the same in processes that start together.
fn process_seed() -> u64 {
    static BITS: OnceLock<u64> = OnceLock::new();
    *BITS.get_or_init(|| RandomState::new().hash_one(()))
}

fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+/=:".contains(&byte)
}

/// Returns the current scope's correlation ID, and generates one if it has none.
///
/// Outside of tasks and scopes, the ID applies to the thread until it is cleared.
pub fn get_correlation_id() -> CorrelationId {
    local::write(|active| active.id.get_or_insert_with(CorrelationId::generate).clone())
        .unwrap_or_else(CorrelationId::generate)
}

/// Returns the current scope's correlation ID, if it has one.
pub fn current_correlation_id() -> Option<CorrelationId> {
    local::read(|active| active.id.clone()).flatten()
}

/// Sets the correlation ID of the current scope until the scope ends.
pub fn set_correlation_id(id: CorrelationId) {
    set_id(Some(id));
}

/// Removes the correlation ID of the current scope.
pub fn clear_correlation_id() {
    set_id(None);
}

/// Runs `work` with a correlation ID; for a future, use [`InScope`](crate::InScope).
pub fn with_correlation_id<R>(id: CorrelationId, work: impl FnOnce() -> R) -> R {
    Scope::capture().with_correlation_id(id).in_scope(work)
}

/// Sets the ID only if it differs, so that clearing an absent ID does not create a scope.
fn set_id(id: Option<CorrelationId>) {
    if current_correlation_id() != id {
        local::write(|active| active.id = id);
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidCorrelationId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CorrelationId").field(&self.as_str()).finish()
    }
}

impl AsRef<str> for CorrelationId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl ToValue for CorrelationId {
    fn to_value(&self) -> Value<'_> {
        self.as_str().to_value()
    }
}

impl PartialEq for CorrelationId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CorrelationId {}

impl Hash for CorrelationId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for CorrelationId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CorrelationId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_legal_is_kept() {
        let longest = "x".repeat(MAX_LEN);
        for text in ["a", "abc123def456", "A-Z.a_z+0/9=:", &"u".repeat(MAX_INLINE_LEN), &longest] {
            let id = CorrelationId::parse(text).unwrap();
            assert_eq!(id.as_str(), text);
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse::<CorrelationId>().unwrap(), id);
        }
    }

    #[test]
    fn what_is_not_legal_is_refused_and_not_repeated() {
        let too_long = "x".repeat(MAX_LEN + 1);
        for text in ["", "a b", "a\r\nSet-Cookie: evil", "é", "\"", "a,b", &too_long] {
            let error = CorrelationId::parse(text).unwrap_err();
            assert!(text.len() < 3 || !error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn generated_ones_are_twelve_lower_case_hex_digits_and_differ() {
        let ids: std::collections::BTreeSet<_> =
            (0..1000).map(|_| CorrelationId::generate()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(id.as_str().len(), 12);
            assert!(id.as_str().bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f')));
        }
    }

    #[test]
    fn padding_is_respected() {
        let id = CorrelationId::parse("abc").unwrap();
        assert_eq!(format!("[{id:>5}]"), "[  abc]");
        assert_eq!(format!("{id:?}"), "CorrelationId(\"abc\")");
    }
}
