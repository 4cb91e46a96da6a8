//! A command that trains nothing and behaves like a training, for trying things out.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

const STEPS: u32 = 10;
const SECONDS: f64 = 5.0;
const MOST_STEPS: u32 = 10_000;
const MOST_SECONDS: f64 = 3600.0;

/// What it is asked for: `steps` (1 to 10000), `seconds` in all (0 to 3600), and `fail`: true, or
/// the step at which it fails.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    steps: u32,
    seconds: f64,
    fails_at: Option<u32>,
}

impl Plan {
    /// The plan, or what is wrong with it: the field and what is legal there.
    fn read(config: &Value) -> Result<Self, String> {
        let steps = match given(config, "steps") {
            None => STEPS,
            Some(steps) => whole(steps, MOST_STEPS).ok_or_else(|| {
                format!("\"steps\" must be a whole number from 1 to {MOST_STEPS}, not {steps}")
            })?,
        };
        let seconds = match given(config, "seconds") {
            None => SECONDS,
            Some(seconds) => {
                let legal = seconds.as_f64().filter(|it| (0.0..=MOST_SECONDS).contains(it));
                legal.ok_or_else(|| {
                    format!("\"seconds\" must be a number from 0 to {MOST_SECONDS}, not {seconds}")
                })?
            }
        };
        let fails_at = match given(config, "fail") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(steps),
            Some(step) => Some(whole(step, steps).ok_or_else(|| {
                format!("\"fail\" must be true, false or a step from 1 to {steps}, not {step}")
            })?),
        };
        Ok(Self { steps, seconds, fails_at })
    }
}

/// A field; null counts as absent.
fn given<'a>(config: &'a Value, field: &str) -> Option<&'a Value> {
    config.get(field).filter(|value| !value.is_null())
}

fn whole(value: &Value, most: u32) -> Option<u32> {
    let number = u32::try_from(value.as_u64()?).ok()?;
    (1..=most).contains(&number).then_some(number)
}

/// Says what is wrong with a job's input; fits behind a colon.
pub(super) fn check(input: &Value) -> Result<(), String> {
    Plan::read(input.get("config").unwrap_or(&Value::Null)).map(drop)
}

/// Prints `step n/m` lines to `out` as the plan in the input file says, and fails if that says so.
pub fn train(input: &Path, mut out: impl Write) -> ExitCode {
    let plan = match read(input) {
        Ok(plan) => plan,
        Err(error) => {
            let line = format!("the input cannot be read: {error}");
            return finish(&mut out, &line, ExitCode::FAILURE);
        }
    };
    let pause = Duration::from_secs_f64(plan.seconds / f64::from(plan.steps));
    for step in 1..=plan.steps {
        wait(pause);
        let loss = 1.0 / (1.0 + 0.1 * f64::from(step));
        let line = format!("step {step}/{} - loss: {loss:.4}", plan.steps);
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return ExitCode::FAILURE;
        }
        if plan.fails_at == Some(step) {
            let line = format!("error: failed at step {step}, as asked");
            return finish(&mut out, &line, ExitCode::FAILURE);
        }
    }
    finish(&mut out, "done: nothing was trained", ExitCode::SUCCESS)
}

fn read(input: &Path) -> io::Result<Plan> {
    let input: Value = serde_json::from_slice(&fs::read(input)?)?;
    Plan::read(input.get("config").unwrap_or(&Value::Null)).map_err(io::Error::other)
}

/// Prints the last line; a training that could not say how it ended has failed.
fn finish(out: &mut impl Write, line: &str, code: ExitCode) -> ExitCode {
    match writeln!(out, "{line}") {
        Ok(()) => code,
        Err(_closed) => ExitCode::FAILURE,
    }
}

#[expect(clippy::disallowed_methods, reason = "a process of its own, with one thread")]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_is_what_was_asked_for() {
        let plan = |config| Plan::read(&config).unwrap();
        let usual = Plan { steps: 10, seconds: 5.0, fails_at: None };
        assert_eq!(plan(json!({})), usual);
        assert_eq!(plan(json!({"steps": null, "fail": false, "rank": 16})), usual);
        let most = plan(json!({"steps": 10_000, "seconds": 3600, "fail": 7}));
        assert_eq!(most, Plan { steps: 10_000, seconds: 3600.0, fails_at: Some(7) });
        assert_eq!(plan(json!({"steps": 3, "fail": true})).fails_at, Some(3));
    }

    #[test]
    fn what_is_not_legal_is_named_with_what_is() {
        for (config, field, legal) in [
            (json!({"steps": "three"}), "\"steps\"", "from 1 to 10000, not \"three\""),
            (json!({"steps": 0}), "\"steps\"", "from 1 to 10000, not 0"),
            (json!({"steps": 2.5}), "\"steps\"", "not 2.5"),
            (json!({"steps": 10_001}), "\"steps\"", "not 10001"),
            (json!({"seconds": -1}), "\"seconds\"", "from 0 to 3600, not -1"),
            (json!({"seconds": "1"}), "\"seconds\"", "from 0 to 3600"),
            (json!({"steps": 3, "fail": 4}), "\"fail\"", "from 1 to 3, not 4"),
            (json!({"fail": "yes"}), "\"fail\"", "true, false or a step from 1 to 10"),
        ] {
            let fault = check(&json!({"config": config})).unwrap_err();
            assert!(fault.starts_with(field) && fault.contains(legal), "{fault}");
        }
    }

    #[test]
    fn it_prints_its_steps_and_fails_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("input.json");
        fs::write(&input, r#"{"config": {"steps": 3, "seconds": 0, "fail": 2}}"#).unwrap();
        let mut out = Vec::new();
        let code = train(&input, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("step 2/3") && text.contains("as asked"), "{text}");
    }
}
