//! What a request says: its body and the name in its path, read within limits.

use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams};
use bytes::BytesMut;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use crate::api::Api;
use crate::http::problem::Problem;
use st_api::input::{parse_json, text_fault};
use st_api::problem::Code;

/// The largest body that is read, in bytes.
const LIMIT: usize = 1024 * 1024;
/// How long its client may take to send it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A JSON object. A missing body is an empty object, whatever its type is said to be. Anything else must
/// be declared as `application/json`, which a page of another origin cannot send without asking first.
pub(crate) async fn body_of(
    parts: &Parts,
    body: axum::body::Body,
) -> Result<Map<String, Value>, Problem> {
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    if !is_json(parts) {
        return Err(Problem::not_json());
    }
    let value = parse_json(&bytes).map_err(|fault| {
        let detail = format!("the request body is not JSON: {}", fault.message);
        Problem::new(Code::MalformedJson, detail)
    })?;
    match value {
        Value::Object(object) => Ok(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Problem::invalid_field("", "expected an object"))
        }
    }
}

/// Reads a body into one buffer: a piece of it keeps the whole buffer that it arrived in.
async fn read(mut body: axum::body::Body) -> Result<BytesMut, Problem> {
    let deadline = Instant::now() + DEADLINE;
    let mut bytes = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await;
        let frame = frame.map_err(|_elapsed| Problem::slow_body(DEADLINE))?;
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|error| {
            let detail = format!("the request body could not be read: {error}");
            Problem::new(Code::UnreadableBody, detail)
        })?;
        // Trailers are the other kind of frame; nobody asked for them.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > LIMIT.saturating_sub(bytes.len()) {
            return Err(Problem::too_large(LIMIT));
        }
        bytes.extend_from_slice(&data);
    }
}

fn is_json(parts: &Parts) -> bool {
    let Some(value) = parts.headers.get(CONTENT_TYPE) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// What the path names; each of ours names one thing.
pub(crate) async fn name_of(parts: &mut Parts, state: &Api) -> Result<String, Problem> {
    let parameters = RawPathParams::from_request_parts(parts, state).await.map_err(|error| {
        Problem::new(Code::BadPath, format!("the path cannot be read: {error}"))
    })?;
    let (kind, name) = parameters.iter().next().ok_or_else(Problem::internal)?;
    match text_fault(kind, name) {
        None => Ok(name.to_owned()),
        Some(_nul) => Err(Problem::new(
            Code::BadPath,
            format!("the {kind} in the path contains NUL (U+0000), which no name has"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body as Sent;
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};

    use super::*;

    fn pieces(
        piece: &'static [u8],
        count: usize,
    ) -> impl Iterator<Item = Result<Bytes, Infallible>> {
        std::iter::repeat_n(piece, count).map(|piece| Ok(Bytes::from_static(piece)))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_one_buffer_of_its_own_size() {
        let read = read(Sent::from_stream(stream::iter(pieces(b"x", 5000)))).await.unwrap();
        assert_eq!(read.len(), 5000);
        assert!(read.capacity() <= 4 * 5000, "{}", read.capacity());
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_not_beyond() {
        let whole = stream::iter(pieces(&[b'x'; 1024], 1024));
        assert_eq!(read(Sent::from_stream(whole)).await.unwrap().len(), LIMIT);
        // The last piece is one byte more; what would come after it is not waited for.
        let endless = stream::iter(pieces(&[b'x'; 1024], 1024).chain(pieces(b"x", 1)));
        let refused = read(Sent::from_stream(endless.chain(stream::pending()))).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_in_time_is_refused() {
        let began = Instant::now();
        let slow = stream::iter(pieces(b"x", 3)).chain(stream::pending());
        let refused = read(Sent::from_stream(slow)).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 408);
        assert_eq!(began.elapsed().as_secs(), DEADLINE.as_secs());
    }
}
