//! The provider's JSON. Read leniently: every field but ID and status may be missing, null or new,
//! and one that cannot be read says nothing rather than failing the whole.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use st_http::Response;

use crate::provider::ProviderError;

/// Longer results are data and not addresses.
const LONGEST_URL: usize = 2048;
const LONGEST_ERROR: usize = 2000;

/// A job of the provider.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Prediction {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) input: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    pub(super) logs: Option<String>,
    #[serde(default)]
    created_at: Value,
    #[serde(default)]
    pub(super) started_at: Option<Value>,
    #[serde(default)]
    pub(super) completed_at: Option<Value>,
    #[serde(default)]
    pub(super) metrics: Option<Metrics>,
    #[serde(default)]
    pub(super) data_removed: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Metrics {
    /// Seconds.
    #[serde(default)]
    pub(super) predict_time: Option<f64>,
}

/// A page of the list, newest first.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) results: Vec<Prediction>,
    #[serde(default)]
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AccountReply {
    pub(super) username: String,
}

impl Prediction {
    pub(super) fn carries(&self, field: &str, marker: &str) -> bool {
        self.input.get(field).and_then(Value::as_str) == Some(marker)
    }

    pub(super) fn created_at(&self) -> Option<Timestamp> {
        time(Some(&self.created_at))
    }

    pub(super) fn error_text(&self) -> Option<String> {
        let text = match &self.error {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                other.to_string()
            }
        };
        let text: String = text.chars().take(LONGEST_ERROR).collect();
        Some(text).filter(|text| !text.is_empty())
    }

    /// Where the result is: the output, or the first of several.
    pub(super) fn output_url(&self) -> Option<String> {
        let first = match &self.output {
            Value::Array(items) => items.first()?,
            Value::Object(fields) => fields.get("weights")?,
            single @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => single,
        };
        let url = first.as_str()?;
        (url.len() <= LONGEST_URL).then(|| url.to_owned())
    }
}

/// A time of any precision; `None` where it cannot be read.
pub(super) fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// An ID that can stand in a URL.
pub(super) fn safe_id(id: &str) -> Result<&str, ProviderError> {
    let legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if !id.is_empty() && id.chars().all(legal) { Ok(id) } else { Err(ProviderError::NotFound) }
}

/// Reads a successful answer.
pub(super) fn decode<T: DeserializeOwned>(response: &Response) -> Result<T, ProviderError> {
    response.json().map_err(|error| ProviderError::Transient {
        message: "the provider's answer cannot be read".to_owned(),
        retry_after: None,
        source: Some(Box::new(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Prediction {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_early_reply_with_most_fields_missing_is_read() {
        let early = read(r#"{"id": "a1", "status": "starting", "webhook_completed": null}"#);
        assert_eq!((early.error_text(), early.output_url()), (None, None));
        assert_eq!(early.created_at(), None);
    }

    #[test]
    fn a_real_reply_is_read_whatever_its_precision() {
        let done = read(
            r#"{"id": "a1", "status": "succeeded", "version": "hidden", "logs": null,
                "created_at": "2023-10-05T12:23:08.36078514Z", "error": null,
                "started_at": "2023-10-05T12:23:15.329Z", "completed_at": "not a time",
                "metrics": {"predict_time": 3e-06, "total_time": 1.5},
                "output": ["https://replicate.delivery/x.tar", "y"], "data_removed": false}"#,
        );
        assert!(done.created_at().is_some() && time(done.started_at.as_ref()).is_some());
        assert_eq!(time(done.completed_at.as_ref()), None);
        assert_eq!(done.output_url().as_deref(), Some("https://replicate.delivery/x.tar"));
        assert!((done.metrics.unwrap().predict_time.unwrap() - 3e-06).abs() < 1e-12);
    }

    #[test]
    fn data_is_no_address_and_an_odd_error_is_text() {
        let data = format!("data:image/png;base64,{}", "A".repeat(5000));
        let text =
            serde_json::json!({"id": "a", "status": "failed", "output": data, "error": {"a": 1}});
        let prediction: Prediction = serde_json::from_value(text).unwrap();
        assert_eq!(prediction.output_url(), None);
        assert_eq!(prediction.error_text().as_deref(), Some("{\"a\":1}"));
    }

    #[test]
    fn an_id_that_could_leave_its_place_is_refused() {
        assert_eq!(safe_id("abc-12_X").unwrap(), "abc-12_X");
        for bad in ["", "../x", "a/b", "a?b", "ä"] {
            assert!(matches!(safe_id(bad), Err(ProviderError::NotFound)), "{bad}");
        }
    }
}
