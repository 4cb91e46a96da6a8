//! What may be stored as a job's input: JSON that every store gives back as it was.
//!
//! Promises: what passes [`check_input`] is read back equal from its own text, by `serde_json` and by
//! a database that knows no U+0000, and no reader of it runs out of stack or memory. The check itself
//! runs in bounded stack, whatever it is given. Leaves out: what the input means.

use std::fmt::{self, Write as _};

use serde_json::{Number, Value};
use thiserror::Error;

/// How many arrays and objects may stand within one another, the outermost counted. `serde_json`
/// reads 127; the rest is room for what a provider wraps around the input.
pub const MAX_DEPTH: usize = 100;

/// The largest input, in bytes of its text.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Keys that begin so are the reader's own: it takes an object that has one for a number, for JSON
/// within JSON, or for an error.
const RESERVED: &str = "$serde_json::private::";

/// An input that cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct InvalidInput {
    /// Where: a JSON pointer (RFC 6901), empty for the whole.
    pub pointer: String,
    /// What is wrong there.
    pub problem: InputProblem,
}

/// What is wrong with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InputProblem {
    /// An array or object too many.
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Too much text.
    #[error("is {bytes} bytes long, the longest may have {MAX_BYTES}")]
    TooLarge {
        /// The size of the whole as text.
        bytes: usize,
    },
    /// A character that not every store can keep.
    #[error("may not contain the character U+0000")]
    Nul,
    /// A key that the reader keeps for itself.
    #[error("may not have a key that begins with {RESERVED:?}")]
    Reserved,
    /// A fraction or a power of ten beyond the numbers of 64-bit floating point: programs read infinity, so
    /// that the job would run with a value that its submitter did not give. A whole number with all its
    /// digits may be as long: Python reads it exactly.
    #[error("is a number beyond the largest that programs read, about 1.8e308")]
    NumberTooLarge,
}

/// What an input is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Storage,
    Submission,
}

/// Whether a submitted input is fit to be run and can be stored; the first problem otherwise.
pub fn check_submitted_input(input: &Value) -> Result<(), InvalidInput> {
    check(input, Purpose::Submission)
}

/// Whether the input can be stored and read back; the first problem otherwise. What an older version
/// accepted passes, so that such a job can be run again.
pub fn check_input(input: &Value) -> Result<(), InvalidInput> {
    check(input, Purpose::Storage)
}

fn check(input: &Value, purpose: Purpose) -> Result<(), InvalidInput> {
    check_within(input, None, (1, purpose))?;
    // Only now: printing goes as deep as the value does.
    let bytes = length(input);
    if bytes > MAX_BYTES {
        return Err(InvalidInput {
            pointer: String::new(),
            problem: InputProblem::TooLarge { bytes },
        });
    }
    Ok(())
}

/// The way from the outermost value to one within it.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    up: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl Place<'_> {
    fn write(&self, pointer: &mut String) {
        if let Some(up) = self.up {
            up.write(pointer);
        }
        pointer.push('/');
        match self.step {
            Step::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => pointer.push_str(&index.to_string()),
        }
    }
}

/// Calls itself at most [`MAX_DEPTH`] times within one another.
fn check_within(
    value: &Value,
    place: Option<&Place<'_>>,
    (level, purpose): (usize, Purpose),
) -> Result<(), InvalidInput> {
    let fault = |place: Option<&Place<'_>>, problem| {
        let mut pointer = String::new();
        if let Some(place) = place {
            place.write(&mut pointer);
        }
        Err(InvalidInput { pointer, problem })
    };
    match value {
        Value::String(text) if text.contains('\0') => fault(place, InputProblem::Nul),
        Value::Number(number) if purpose == Purpose::Submission && is_infinite(number) => {
            fault(place, InputProblem::NumberTooLarge)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(_) | Value::Object(_) if level > MAX_DEPTH => {
            fault(place, InputProblem::TooDeep)
        }
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| {
            let here = Place { up: place, step: Step::Index(index) };
            check_within(item, Some(&here), (level + 1, purpose))
        }),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            let here = Place { up: place, step: Step::Key(key) };
            if key.contains('\0') {
                fault(Some(&here), InputProblem::Nul)
            } else if key.starts_with(RESERVED) {
                fault(place, InputProblem::Reserved)
            } else {
                check_within(member, Some(&here), (level + 1, purpose))
            }
        }),
    }
}

/// Whether programs read the number as infinity.
fn is_infinite(number: &Number) -> bool {
    number.as_f64().is_none() && number.to_string().contains(['.', 'e', 'E'])
}

/// How many bytes the value has as text, without making it.
fn length(value: &Value) -> usize {
    struct Counter(usize);

    impl fmt::Write for Counter {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.saturating_add(text.len());
            Ok(())
        }
    }

    let mut counter = Counter(0);
    match write!(counter, "{value}") {
        Ok(()) => counter.0,
        // What cannot be printed cannot be stored either.
        Err(fmt::Error) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn problem(input: &Value) -> (String, InputProblem) {
        let InvalidInput { pointer, problem } = check_input(input).unwrap_err();
        (pointer, problem)
    }

    /// Arrays within one another, the innermost empty.
    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!([]), |inner, _| Value::Array(vec![inner]))
    }

    #[test]
    fn the_deepest_that_passes_is_read_back_and_one_more_is_refused() {
        let deepest = nested(MAX_DEPTH);
        assert_eq!(check_input(&deepest), Ok(()));
        assert_eq!(serde_json::from_str::<Value>(&deepest.to_string()).unwrap(), deepest);
        let (pointer, what) = problem(&json!({"a": deepest}));
        assert_eq!(what, InputProblem::TooDeep);
        assert_eq!(pointer, format!("/a{}", "/0".repeat(MAX_DEPTH - 1)));
        // Scalars take no level.
        let scalar = (0..MAX_DEPTH).fold(json!(1), |inner, _| json!({"k": inner}));
        assert_eq!(check_input(&scalar), Ok(()));
    }

    #[test]
    fn no_depth_runs_out_of_stack() {
        let deep = nested(1_000_000);
        assert_eq!(problem(&deep).1, InputProblem::TooDeep);
        // Dropping it would.
        std::mem::forget(deep);
    }

    #[test]
    fn the_largest_that_passes_has_the_limit_as_text() {
        let of = |bytes: usize| json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())});
        assert_eq!(check_input(&of(MAX_BYTES)), Ok(()));
        let bytes = MAX_BYTES + 1;
        assert_eq!(problem(&of(bytes)), (String::new(), InputProblem::TooLarge { bytes }));
        // Six bytes of text for each character.
        let escaped = json!(["\u{1}".repeat(MAX_BYTES / 6 + 1)]);
        assert_eq!(
            problem(&escaped).1,
            InputProblem::TooLarge { bytes: escaped.to_string().len() }
        );
    }

    #[test]
    fn nul_is_refused_in_values_and_keys_under_its_place() {
        for (input, place) in [
            (json!("\0"), ""),
            (json!({"config": {"a/b": [1, {"c~d": "x\0y"}]}}), "/config/a~1b/1/c~0d"),
            (json!({"config": {"x\0": 1}}), "/config/x\0"),
        ] {
            assert_eq!(problem(&input), (place.to_owned(), InputProblem::Nul));
        }
        assert_eq!(check_input(&json!({"\u{1}": "\\u0000 \u{7f}"})), Ok(()));
    }

    #[test]
    fn keys_that_the_reader_takes_for_its_own_are_refused() {
        for key in ["$serde_json::private::Number", "$serde_json::private::RawValue"] {
            let input = json!({"a": [{"b": 1, key: "1"}]});
            assert_eq!(problem(&input), ("/a/0".to_owned(), InputProblem::Reserved));
        }
    }

    #[test]
    fn a_number_that_is_read_as_infinity_is_refused() {
        let long = format!("{}.5", "9".repeat(400));
        for text in ["1e400", "-1e309", "1.8e308", "1e99999999999999999999", &long] {
            // Without the feature that keeps digits, it is no number.
            let Ok(input) = serde_json::from_str::<Value>(&format!(r#"{{"a": [0, {text}]}}"#))
            else {
                continue;
            };
            let InvalidInput { pointer, problem } = check_submitted_input(&input).unwrap_err();
            assert_eq!((pointer.as_str(), problem), ("/a/1", InputProblem::NumberTooLarge));
            assert_eq!(check_input(&input), Ok(()), "an older version may have stored it");
        }
        let whole = "9".repeat(400);
        for text in ["1.7e308", "-1.7e308", "1e-400", &whole] {
            let Ok(input) = serde_json::from_str(text) else { continue };
            assert_eq!(check_submitted_input(&input), Ok(()), "{text}");
        }
    }

    #[test]
    fn messages_are_for_people() {
        let said = [
            (InputProblem::TooDeep, "is nested deeper than 100 levels"),
            (
                InputProblem::TooLarge { bytes: 5_000_000 },
                "is 5000000 bytes long, the longest may have 4194304",
            ),
            (InputProblem::Nul, "may not contain the character U+0000"),
            (
                InputProblem::NumberTooLarge,
                "is a number beyond the largest that programs read, about 1.8e308",
            ),
        ];
        for (problem, text) in said {
            assert_eq!(InvalidInput { pointer: "/a".to_owned(), problem }.to_string(), text);
        }
    }

    /// A number in any legal spelling.
    fn number() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (any::<bool>(), 0..1000_u32, any::<u64>(), any::<u64>(), -400..400_i32).prop_map(
                |(minus, whole, more, after, exponent)| {
                    let minus = if minus { "-" } else { "" };
                    let text = format!("{minus}1{whole}{more}.{after}E{exponent}");
                    // Without the feature that keeps digits, some are no numbers.
                    serde_json::from_str(&text).unwrap_or(Value::Null)
                }
            ),
        ]
    }

    fn text() -> impl Strategy<Value = String> {
        let characters = prop_oneof![
            20 => any::<char>(),
            5 => prop::char::range('\u{1}', ' '),
            1 => Just('\0'),
        ];
        let text = prop::collection::vec(characters, 0..6);
        prop_oneof![
            30 => text.prop_map(String::from_iter),
            1 => Just("$serde_json::private::Number".to_owned()),
        ]
    }

    fn input() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number(),
            text().prop_map(Value::from)
        ];
        let tree = leaf.prop_recursive(6, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text(), inner, 0..5)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        });
        (tree, 0..130_usize)
            .prop_map(|(tree, levels)| (0..levels).fold(tree, |inner, _| json!([inner])))
    }

    proptest! {
        #[test]
        fn what_passes_is_read_back_equal(input in input()) {
            if check_input(&input).is_ok() {
                let text = input.to_string();
                let read: Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(read.to_string(), text);
                prop_assert_eq!(read, input);
            }
        }

        #[test]
        fn what_is_refused_is_refused_for_what_stands_at_the_pointer(input in input()) {
            if let Err(InvalidInput { pointer, problem }) = check_submitted_input(&input) {
                let found = input.pointer(&pointer).unwrap();
                let says = |text: &str| text.contains('\0');
                let stands_there = match problem {
                    InputProblem::TooDeep => pointer.matches('/').count() == MAX_DEPTH,
                    InputProblem::TooLarge { .. } => false,
                    InputProblem::Nul => says(&pointer) || found.as_str().is_some_and(says),
                    InputProblem::Reserved => found.to_string().contains("$serde_json"),
                    InputProblem::NumberTooLarge => found.as_number().is_some_and(is_infinite),
                };
                prop_assert!(stands_there, "{problem} at {pointer:?}");
            }
        }
    }
}
