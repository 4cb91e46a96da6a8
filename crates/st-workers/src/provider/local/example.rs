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
    fn read(config: &Value) -> Self {
        let whole = |value: &Value| value.as_u64().map(|it| u32::try_from(it).unwrap_or(u32::MAX));
        let steps = config.get("steps").and_then(whole).unwrap_or(STEPS).clamp(1, MOST_STEPS);
        let seconds = config.get("seconds").and_then(Value::as_f64).unwrap_or(SECONDS);
        let fails_at = match config.get("fail") {
            Some(Value::Bool(true)) => Some(steps),
            Some(step @ Value::Number(_)) => whole(step).map(|step| step.clamp(1, steps)),
            Some(
                Value::Bool(false)
                | Value::Null
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_),
            )
            | None => None,
        };
        Self { steps, seconds: seconds.clamp(0.0, MOST_SECONDS), fails_at }
    }
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
    Ok(Plan::read(input.get("config").unwrap_or(&Value::Null)))
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
    fn a_plan_is_kept_within_bounds() {
        let usual = Plan { steps: 10, seconds: 5.0, fails_at: None };
        assert_eq!(Plan::read(&json!({})), usual);
        let wild = Plan::read(&json!({"steps": 0, "seconds": 1e9, "fail": 7}));
        assert_eq!(wild, Plan { steps: 1, seconds: 3600.0, fails_at: Some(1) });
        assert_eq!(Plan::read(&json!({"steps": 3, "fail": true})).fails_at, Some(3));
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
