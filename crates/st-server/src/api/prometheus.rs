//! Metrics over HTTP: for Prometheus, and in the forms of the original's command line.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use st_api::metrics::{MetricsStatus, PrometheusInfo, PrometheusText};

use super::Api;
use crate::http::front::Arrival;
use crate::http::problem::Problem;
use crate::http::route::{Call, json};
use crate::metrics::{self, Format};

/// Where Prometheus reads.
const ENDPOINT: &str = "/metrics";

/// What an answer can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text(Format),
    Json,
}

pub(crate) async fn text(
    State(api): State<Api>,
    arrival: Extension<Arrival>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&api, &arrival, accepted(&headers).find(|form| *form != Form::Json)).await
}

pub(crate) async fn text_or_json(
    State(api): State<Api>,
    arrival: Extension<Arrival>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer(&api, &arrival, accepted(&headers).next()).await
}

/// A client that accepts none of the forms gets Prometheus' text format.
async fn answer(api: &Api, arrival: &Arrival, form: Option<Form>) -> Result<Response, Problem> {
    let page = metrics::page(api, &arrival.front).await;
    let format = match form {
        Some(Form::Text(format)) => format,
        Some(Form::Json) | None => Format::Prometheus,
    };
    let text = page.text(format).map_err(|error| Problem::internal().caused_by(error))?;
    if form == Some(Form::Json) {
        return Ok(json(&PrometheusText { metrics: text }));
    }
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}

/// The forms that a client accepts, the one that it likes best first.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = Form> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut forms: Vec<(f32, Form)> =
        values.flat_map(|value| value.split(',')).filter_map(form).collect();
    // What is liked as well stays in the order of the header.
    forms.sort_by(|(one, _), (two, _)| two.total_cmp(one));
    forms.into_iter().map(|(_, form)| form)
}

/// One of the forms, and how well it is liked; `None` for what an answer cannot be.
fn form(range: &str) -> Option<(f32, Form)> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (mut quality, mut version) = (1.0, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            "q" => quality = value.trim().parse::<f32>().ok().filter(|it| it.is_finite())?,
            "version" => version = Some(value.trim().trim_matches('"')),
            _ => {}
        }
    }
    let form = match (media.as_str(), version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Form::Text(Format::OpenMetrics),
        ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => {
            Form::Text(Format::Prometheus)
        }
        ("application/json", _) => Form::Json,
        _ => return None,
    };
    (quality > 0.0).then_some((quality, form))
}

pub(crate) async fn status((): (), _call: Call) -> Result<MetricsStatus, Problem> {
    Ok(MetricsStatus {
        enabled: true,
        prometheus_enabled: true,
        prometheus_endpoint: ENDPOINT.to_owned(),
        collectors: metrics::GROUPS.iter().map(|group| group.name.to_owned()).collect(),
    })
}

pub(crate) async fn info((): (), _call: Call) -> Result<PrometheusInfo, Problem> {
    let families = metrics::GROUPS.iter().flat_map(|group| group.families);
    Ok(PrometheusInfo {
        endpoint: ENDPOINT.to_owned(),
        enabled: true,
        metric_families: families.map(|family| family.name.to_owned()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_form_is_the_one_that_the_client_likes_best() {
        let text = Form::Text(Format::Prometheus);
        let open = Form::Text(Format::OpenMetrics);
        for (accept, best) in [
            ("*/*", Some(text)),
            ("text/plain; version=0.0.4", Some(text)),
            ("text/plain;version=9", None),
            ("application/json", Some(Form::Json)),
            ("application/json;q=0", None),
            ("image/png", None),
            ("text/plain;q=0.5, APPLICATION/JSON;q=0.9", Some(Form::Json)),
            (
                "application/openmetrics-text;version=1.0.0,\
                 application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Some(open),
            ),
            ("application/openmetrics-text; version=\"2.0.0\", text/plain;q=0.1", Some(text)),
            ("text/plain;q=NaN", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(accepted(&headers).next(), best, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()).next(), None);
    }
}
