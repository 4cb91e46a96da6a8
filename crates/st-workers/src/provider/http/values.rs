//! What templates may refer to, and its values at the time of a call.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use st_store::Marker;

use crate::provider::{ListQuery, RemoteJob};

/// What templates of one call may refer to. `x.*` is anything below `x`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'v> {
    pub(super) names: &'static [&'static str],
    pub(super) vars: &'v Map<String, Value>,
}

/// A submission.
pub(super) const SUBMIT: &[&str] = &[
    "job.id",
    "job.correlation_id",
    "marker.text",
    "marker.dns",
    "input.*",
    "hardware.name",
    "hardware.sku",
    "vars.*",
];
/// The name of what is submitted.
pub(super) const NAME: &[&str] = &["job.id", "marker.text", "marker.dns", "vars.*"];
/// A call about one job.
pub(super) const JOB: &[&str] = &["job.id", "job.provider_id", "job.correlation_id", "vars.*"];
/// The second of the two calls that read a log.
pub(super) const TAKEN: &[&str] =
    &["job.id", "job.provider_id", "job.correlation_id", "taken", "vars.*"];
/// The list filtered by a marker.
pub(super) const FIND: &[&str] = &["job.id", "marker.text", "marker.dns", "vars.*"];
/// The list.
pub(super) const LIST: &[&str] = &["window.since", "window.until", "vars.*"];
/// A call about the account.
pub(super) const ACCOUNT: &[&str] = &["vars.*"];

impl<'v> Scope<'v> {
    pub(super) fn new(names: &'static [&'static str], vars: &'v Map<String, Value>) -> Self {
        Self { names, vars }
    }

    pub(super) fn has_var(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    pub(super) fn vars_listed(&self) -> String {
        let names: Vec<&str> = self.vars.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

/// The values of one call.
#[derive(Debug, Clone)]
pub(super) struct Values<'a> {
    vars: &'a Map<String, Value>,
    input: Option<&'a Value>,
    /// The small roots.
    others: Map<String, Value>,
}

impl<'a> Values<'a> {
    pub(super) fn new(vars: &'a Map<String, Value>) -> Self {
        Self { vars, input: None, others: Map::new() }
    }

    /// A job that is at the provider.
    pub(super) fn of_job(vars: &'a Map<String, Value>, job: &RemoteJob) -> Self {
        let about = json!({
            "id": job.id.to_string(),
            "provider_id": job.provider_job_id.as_str(),
            "correlation_id": job.correlation_id.as_str(),
        });
        Self::new(vars).with("job", about)
    }

    /// An attempt.
    pub(super) fn of_attempt(vars: &'a Map<String, Value>, marker: Marker) -> Self {
        let id = marker.job.to_string();
        let about = json!({"id": id, "correlation_id": st_log::get_correlation_id().as_str()});
        let markers = json!({"text": marker.to_string(), "dns": dns(marker)});
        Self::new(vars).with("job", about).with("marker", markers)
    }

    pub(super) fn with_input(self, input: &'a Value) -> Self {
        Self { input: Some(input), ..self }
    }

    pub(super) fn with_window(self, query: &ListQuery) -> Self {
        let bound = |time: Option<jiff::Timestamp>| time.map(|time| time.to_string());
        self.with("window", json!({"since": bound(query.since), "until": bound(query.until)}))
    }

    pub(super) fn with(mut self, root: &str, value: Value) -> Self {
        self.others.insert(root.to_owned(), value);
        self
    }

    /// What is there; `None` where there is nothing, or null.
    pub(super) fn get(&self, path: &[String]) -> Option<Cow<'_, Value>> {
        let (root, below) = path.split_first()?;
        let mut value = match root.as_str() {
            "vars" => {
                let (name, below) = below.split_first()?;
                return at(self.vars.get(name)?, below).map(Cow::Borrowed);
            }
            "input" => self.input?,
            other => self.others.get(other)?,
        };
        value = at(value, below)?;
        Some(Cow::Borrowed(value))
    }
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    let mut value = value;
    for part in path {
        value = match value {
            Value::Object(members) => members.get(part)?,
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(value).filter(|value| !value.is_null())
}

/// The marker as a name that Kubernetes, Slurm and others take: a DNS label of 41 characters or a few
/// more.
pub(super) fn dns(marker: Marker) -> String {
    format!("st-{}-{}", marker.job, marker.attempt)
}

/// Reads either form of a marker.
pub(super) fn parse_marker(text: &str) -> Option<Marker> {
    let marker = text.parse().ok();
    marker.or_else(|| {
        let (job, attempt) = text.strip_prefix("st-")?.rsplit_once('-')?;
        format!("{job}.{attempt}").parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use st_store::JobId;

    use super::*;

    #[test]
    fn both_forms_of_a_marker_are_read_and_nothing_else() {
        let marker = Marker { job: JobId::new(Timestamp::UNIX_EPOCH, [7; 10]), attempt: 12 };
        assert_eq!(parse_marker(&marker.to_string()), Some(marker));
        assert_eq!(parse_marker(&dns(marker)), Some(marker));
        assert!(dns(marker).len() <= 63);
        let job = marker.job.to_string();
        for bad in ["", "st-", "st-x-1", &job, &format!("st-{job}-"), &format!("st-{job}-0")] {
            assert_eq!(parse_marker(bad), None, "{bad}");
        }
    }
}
