//! The five predicates: `is`, `any`, `above`, `present`, `and`.

use serde_json::Value;

use super::pointer::Pointer;
use super::section::{Faults, Place, Section};

/// What must be true of a value for a rule to match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) at: Pointer,
    pub(super) test: Test,
    pub(super) and: Vec<Self>,
}

/// A predicate of one value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// It is one of these; of a list, an item is.
    Is(Vec<Value>),
    /// It is a list with an item of which all of these are true.
    Any(Vec<(Pointer, Value)>),
    /// It is a greater number.
    Above(f64),
    /// It is there and not null, or is not.
    Present(bool),
}

impl Condition {
    /// Reads the keys of a condition out of a rule that has others.
    pub(super) fn from(section: &mut Section<'_, '_>) -> Option<Self> {
        let at = section.require("at", Pointer::read);
        let is = section.get("is");
        let any = section.get("any");
        let above = section.get("above");
        let present = section.get("present");
        let and = section.read_each("and", Self::read);
        let given = [&is, &any, &above, &present].into_iter().flatten().count();
        if given != 1 {
            section.fault_here("needs one of is, any, above and present beside at");
            return None;
        }
        let faults = &mut *section.faults;
        let test = if let Some(is) = is {
            let words: Vec<Value> =
                is.one_or_many().iter().filter_map(|it| plain(it, faults)).collect();
            if words.is_empty() {
                return is.fault(faults, "needs at least one word");
            }
            Test::Is(words)
        } else if let Some(any) = any {
            Test::Any(members(&any, faults)?)
        } else if let Some(above) = above {
            Test::Above(above.number(faults)?)
        } else {
            Test::Present(present?.boolean(faults)?)
        };
        Some(Self { at: at?, test, and })
    }

    /// Reads an object that is a condition and nothing else.
    pub(super) fn read(place: &Place<'_>, faults: &mut Faults) -> Option<Self> {
        let mut section = place.section(faults)?;
        let condition = Self::from(&mut section);
        section.finish();
        condition
    }

    /// Whether it is true of this value.
    pub(super) fn holds(&self, of: &Value) -> bool {
        let value = self.at.get(of);
        let holds = match &self.test {
            Test::Is(words) => value.is_some_and(|value| match value {
                Value::Array(items) => items.iter().any(|item| is_one(item, words)),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => is_one(value, words),
            }),
            Test::Any(members) => value.and_then(Value::as_array).is_some_and(|items| {
                let all = |item: &Value| {
                    members.iter().all(|(at, word)| at.get(item).is_some_and(|it| same(it, word)))
                };
                items.iter().any(all)
            }),
            Test::Above(limit) => value.and_then(Value::as_f64).is_some_and(|it| it > *limit),
            Test::Present(wanted) => value.is_some() == *wanted,
        };
        holds && self.and.iter().all(|condition| condition.holds(of))
    }

    /// Whether whatever this matches was matched by `earlier` before.
    pub(super) fn is_shadowed_by(&self, earlier: &Self) -> bool {
        if !earlier.and.is_empty() || earlier.at != self.at {
            return false;
        }
        match (&earlier.test, &self.test) {
            (Test::Is(before), Test::Is(now)) => now.iter().all(|word| is_one(word, before)),
            (Test::Present(true), Test::Is(_) | Test::Any(_) | Test::Above(_)) => true,
            (one, two) => one == two,
        }
    }
}

fn is_one(value: &Value, words: &[Value]) -> bool {
    words.iter().any(|word| same(value, word))
}

/// Numbers are compared by their value: `7` is `7.0`.
fn same(one: &Value, two: &Value) -> bool {
    match (one.as_f64(), two.as_f64()) {
        (Some(one), Some(two)) => one.total_cmp(&two).is_eq(),
        _ => one == two,
    }
}

fn plain(place: &Place<'_>, faults: &mut Faults) -> Option<Value> {
    match place.value {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(place.value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            place.expected(faults, "text, a number or a boolean")
        }
    }
}

fn members(place: &Place<'_>, faults: &mut Faults) -> Option<Vec<(Pointer, Value)>> {
    let members = place.value.as_object().filter(|members| !members.is_empty());
    let Some(members) = members else {
        return place
            .expected(faults, "an object of pointers and values such as {/type: Complete}");
    };
    let mut read = Vec::new();
    for (at, word) in members {
        let name = Value::String(at.clone());
        let at = Pointer::read(&Place { value: &name, ..place.below(at, word) }, faults);
        read.push(at.zip(plain(&place.below(name.as_str().unwrap_or_default(), word), faults)));
    }
    read.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(value: &Value) -> Result<Condition, String> {
        let mut faults = Faults::default();
        let place = Place { value, pointer: String::new() };
        let read = Condition::read(&place, &mut faults);
        match faults.0.first() {
            None => Ok(read.unwrap()),
            Some(fault) => Err(format!("{}: {}", fault.pointer, fault.message)),
        }
    }

    #[test]
    fn each_predicate_holds_of_what_it_says() {
        let doc = json!({
            "word": "RUNNING", "words": ["RUNNING", "COMPLETING"], "n": 1, "zero": 0, "null": null,
            "list": [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}],
        });
        for (rule, holds) in [
            (json!({"at": "/word", "is": "RUNNING"}), true),
            (json!({"at": "/word", "is": "running"}), false),
            (json!({"at": "/words", "is": ["X", "COMPLETING"]}), true),
            (json!({"at": "/n", "is": 1.0}), true),
            (json!({"at": "/n", "is": "1"}), false),
            (json!({"at": "/none", "is": "RUNNING"}), false),
            (json!({"at": "/list", "any": {"/type": "A", "/status": "True"}}), true),
            (json!({"at": "/list", "any": {"/type": "B", "/status": "True"}}), false),
            (json!({"at": "/word", "any": {"/type": "B"}}), false),
            (json!({"at": "/n", "above": 0}), true),
            (json!({"at": "/zero", "above": 0}), false),
            (json!({"at": "/word", "above": 0}), false),
            (json!({"at": "/null", "present": true}), false),
            (json!({"at": "/null", "present": false}), true),
            (json!({"at": "/zero", "present": true}), true),
            (json!({"at": "/n", "above": 0, "and": [{"at": "/zero", "above": 0}]}), false),
            (json!({"at": "/n", "above": 0, "and": {"at": "/word", "present": true}}), true),
        ] {
            assert_eq!(condition(&rule).unwrap().holds(&doc), holds, "{rule}");
        }
    }

    #[test]
    fn a_condition_is_one_predicate_and_its_keys() {
        for (rule, said) in [
            (json!({"is": "x"}), "/at: is required"),
            (json!({"at": "/x"}), ": needs one of is, any, above and present"),
            (json!({"at": "/x", "is": "x", "above": 1}), ": needs one of"),
            (json!({"at": "x", "is": "x"}), "/at: \"x\" is not legal"),
            (json!({"att": "/x", "at": "/x", "is": "x"}), "/att: unknown key, did you mean \"at\""),
            (json!({"at": "/x", "is": []}), "/is: needs at least one word"),
            (json!({"at": "/x", "is": [{}]}), "/is/0: expected text, a number or a boolean"),
            (json!({"at": "/x", "any": {"type": "x"}}), "/any/type: \"type\" is not legal"),
            (json!({"at": "/x", "above": "1"}), "/above: expected a number, found text"),
            (json!({"at": "/x", "present": 1}), "/present: expected true or false"),
        ] {
            let error = condition(&rule).unwrap_err();
            assert!(error.starts_with(said), "{rule}: {error}");
        }
    }
}
