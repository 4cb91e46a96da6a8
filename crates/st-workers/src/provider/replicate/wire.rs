//! The provider's JSON. Read leniently: every field but ID and status may be missing, null or new,
//! and one that cannot be read says nothing rather than failing the whole. The ID goes into URLs, so
//! an answer with one that could leave its place there is not read at all.

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use st_http::Response;
use st_store::Marker;

use crate::provider::ProviderError;

/// Longer results are data and not addresses.
const LONGEST_URL: usize = 2048;
const LONGEST_ERROR: usize = 2000;

/// A job of the provider.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Prediction {
    #[serde(deserialize_with = "only_safe")]
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) input: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) logs: Option<String>,
    #[serde(default)]
    created_at: Value,
    #[serde(default)]
    pub(super) started_at: Option<Value>,
    #[serde(default)]
    pub(super) completed_at: Option<Value>,
    #[serde(default, deserialize_with = "if_readable")]
    pub(super) metrics: Option<Metrics>,
    #[serde(default, deserialize_with = "if_readable")]
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
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AccountReply {
    #[serde(default)]
    pub(super) username: String,
}

impl Prediction {
    /// The marker in this field of its input, if it is one of ours.
    pub(super) fn marker(&self, field: &str) -> Option<Marker> {
        self.input.get(field)?.as_str()?.parse().ok()
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
            Value::Array(items) => items.iter().find(|item| item.is_string())?,
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

/// A value of another type than expected counts as missing.
fn if_readable<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

fn only_safe<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    match safe_id(&id) {
        Ok(_) => Ok(id),
        Err(_) => Err(Error::custom("an id with characters that do not belong in a url")),
    }
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
    fn what_a_cancellation_answers_is_read() {
        let over = read(
            r#"{"completed_at": "2023-08-16T19:33:27.215203Z", "error": null, "id": "xxi2",
                "created_at": "2023-08-16T19:33:27.135361Z", "input": {"a": true}, "logs": null,
                "metrics": {"predict_time": 3e-06}, "output": null, "status": "canceled",
                "started_at": "2023-08-16T19:33:27.215200Z", "webhook_completed": null,
                "urls": {"get": "https://api.replicate.com/v1/predictions/xxi2"}}"#,
        );
        assert_eq!((over.status.as_str(), over.logs.as_deref()), ("canceled", None));
        assert!(time(over.started_at.as_ref()) < time(over.completed_at.as_ref()));
    }

    #[test]
    fn a_field_of_an_odd_type_is_missing_and_spoils_nothing_else() {
        let odd = read(
            r#"{"id": "a1", "status": "succeeded", "model": 7, "logs": ["x"], "input": "none",
                "metrics": {"predict_time": "long"}, "data_removed": "yes", "created_at": 12,
                "output": [null, {"a": 1}, "https://replicate.delivery/x.tar"]}"#,
        );
        assert_eq!((odd.model.as_deref(), odd.logs.as_deref()), (None, None));
        assert!(odd.metrics.is_none() && odd.data_removed.is_none() && odd.created_at().is_none());
        assert_eq!(odd.output_url().as_deref(), Some("https://replicate.delivery/x.tar"));
    }

    #[test]
    fn a_page_without_results_is_not_an_empty_page() {
        serde_json::from_str::<Page>("{}").unwrap_err();
        let page: Page = serde_json::from_str(r#"{"results": []}"#).unwrap();
        assert!(page.results.is_empty() && page.next.is_none());
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
            let answer = serde_json::json!({"id": bad, "status": "starting"});
            let error = serde_json::from_value::<Prediction>(answer).unwrap_err();
            assert!(error.to_string().contains("do not belong in a url"), "{bad}: {error}");
        }
    }
}
