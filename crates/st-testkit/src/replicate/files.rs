//! What jobs made, as files: whole, or from a byte on for one who has the beginning of this version.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::RecordedRequest;

/// A file that is served.
#[derive(Debug, Clone)]
pub(super) struct ServedFile {
    pub(super) bytes: Vec<u8>,
    pub(super) etag: Option<&'static str>,
}

pub(super) fn answer(file: &ServedFile, asked: &RecordedRequest) -> Response {
    let whole = file.bytes.len();
    let range = asked.header("range").and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-'));
    let start: Option<usize> = range.and_then(|start| start.parse().ok());
    // For one who has another version, the range means nothing.
    let same = asked.header("if-range").is_none_or(|version| Some(version) == file.etag);
    let start = start.filter(|_| same);
    let mut response = match start.map(|start| (start, file.bytes.get(start..))) {
        None => Response::new(Body::from(file.bytes.clone())),
        Some((start, Some(rest))) if start < whole => {
            let mut response = Response::new(Body::from(rest.to_vec()));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{whole}", whole - 1);
            set(&mut response, "content-range", &range);
            response
        }
        Some(_) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            set(&mut response, "content-range", &format!("bytes */{whole}"));
            response
        }
    };
    if let Some(etag) = file.etag {
        set(&mut response, "etag", etag);
    }
    response
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
