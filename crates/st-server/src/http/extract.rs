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
/// How long it may take however little arrives.
const GRACE: Duration = Duration::from_secs(5);
/// From then on at least so many bytes must have arrived in each second.
const SLOWEST: u32 = 1024;

/// Reads a JSON object. `list`: the member that a body is read as when it is a list, where one is legal. A
/// missing body is an empty object, whatever its type is declared to be. Anything else must be declared as
/// `application/json`, which a page of another origin cannot send without asking first.
pub(crate) async fn body_of(
    parts: &Parts,
    body: axum::body::Body,
    list: Option<&str>,
) -> Result<Map<String, Value>, Problem> {
    let bytes = bytes_of(body).await?;
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
    match (value, list) {
        (Value::Object(object), _) => Ok(object),
        (list @ Value::Array(_), Some(member)) => Ok(Map::from_iter([(member.to_owned(), list)])),
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_),
            _,
        ) => Err(Problem::invalid_field("", "expected an object")),
    }
}

/// Reads a body of usual size.
async fn bytes_of(body: axum::body::Body) -> Result<BytesMut, Problem> {
    bytes_within(LIMIT, body).await
}

/// Reads a body of at most `limit` bytes into one buffer: a piece of it keeps the whole buffer that it
/// arrived in.
pub(crate) async fn bytes_within(
    limit: usize,
    mut body: axum::body::Body,
) -> Result<BytesMut, Problem> {
    let began = Instant::now();
    let mut bytes = BytesMut::new();
    loop {
        let allowed = GRACE + Duration::from_secs(bytes.len() as u64) / SLOWEST;
        let frame = timeout_at(began + allowed.min(DEADLINE), body.frame()).await;
        let slow = |_elapsed| Problem::slow_body(bytes.len(), began.elapsed());
        let Some(frame) = frame.map_err(slow)? else { return Ok(bytes) };
        let frame = frame.map_err(|error| {
            let detail = format!("the request body could not be read: {error}");
            Problem::new(Code::UnreadableBody, detail)
        })?;
        // Trailers are the other kind of frame; nobody asked for them.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit.saturating_sub(bytes.len()) {
            return Err(Problem::too_large(limit));
        }
        bytes.extend_from_slice(&data);
    }
}

/// Whether the one type that is given is JSON in UTF-8.
fn is_json(parts: &Parts) -> bool {
    let mut values = parts.headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (values.next(), values.next()) else { return false };
    let mut words = only.to_str().unwrap_or_default().split(';').map(str::trim);
    let is_json = words.next().is_some_and(|it| it.eq_ignore_ascii_case("application/json"));
    is_json
        && words.filter_map(|word| word.split_once('=')).all(|(name, value)| {
            let is_utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
            !name.trim_end().eq_ignore_ascii_case("charset") || is_utf8
        })
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
pub(in crate::http) mod tests {
    use std::convert::Infallible;

    use axum::body::Body as Sent;
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use futures_util::{StreamExt, stream};
    use tokio::time::sleep_until;

    use super::*;

    /// A handler that reads the body.
    pub(in crate::http) async fn read_it(
        request: axum::extract::Request,
    ) -> Result<&'static str, Problem> {
        let (parts, body) = request.into_parts();
        body_of(&parts, body, None).await.map(|_body| "read")
    }

    fn pieces(
        piece: &'static [u8],
        count: usize,
    ) -> impl Iterator<Item = Result<Bytes, Infallible>> {
        std::iter::repeat_n(piece, count).map(|piece| Ok(Bytes::from_static(piece)))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_one_buffer_of_its_own_size() {
        let read = bytes_of(Sent::from_stream(stream::iter(pieces(b"x", 5000)))).await.unwrap();
        assert_eq!(read.len(), 5000);
        assert!(read.capacity() <= 4 * 5000, "{}", read.capacity());
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_the_limit_and_not_beyond() {
        let whole = stream::iter(pieces(&[b'x'; 1024], 1024));
        assert_eq!(bytes_of(Sent::from_stream(whole)).await.unwrap().len(), LIMIT);
        // The last piece is one byte more; what would come after it is not waited for.
        let endless = stream::iter(pieces(&[b'x'; 1024], 1024).chain(pieces(b"x", 1)));
        let refused =
            bytes_of(Sent::from_stream(endless.chain(stream::pending()))).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_arrives_too_slowly_is_refused() {
        let slow = |piece: &'static [u8], count| {
            let mut next = Instant::now();
            let arriving = stream::iter(pieces(piece, count)).then(move |piece| {
                next += Duration::from_secs(1);
                let arrives = sleep_until(next);
                async move {
                    arrives.await;
                    piece
                }
            });
            Sent::from_stream(arriving.chain(stream::pending()))
        };
        // Nothing, a byte in each second, as much as must be, and that without an end.
        for (body, seconds) in [
            (slow(b"", 0), 5),
            (slow(b"x", 40), 5),
            (slow(&[b'x'; 1024], 10), 15),
            (slow(&[b'x'; 1024], 40), 30),
        ] {
            let began = Instant::now();
            let refused = bytes_of(body).await.unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.code()), (408, "body_too_slow"));
            assert_eq!(began.elapsed().as_secs(), seconds, "{}", refused.detail());
        }
    }

    async fn taken(types: &[&str], body: &'static str) -> Result<usize, u16> {
        let mut request = http::Request::builder().method("POST").uri("/");
        for it in types {
            request = request.header(CONTENT_TYPE, *it);
        }
        let request = request.body(Sent::from(body)).unwrap();
        let (parts, body) = request.into_parts();
        let read = body_of(&parts, body, None).await;
        read.map(|object| object.len()).map_err(|problem| problem.status().as_u16())
    }

    #[tokio::test]
    async fn a_list_stands_for_a_member_where_that_is_legal() {
        let request = http::Request::builder().header(CONTENT_TYPE, "application/json");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let list = body_of(&parts, Sent::from("[1]"), Some("items")).await.unwrap();
        assert_eq!(Value::Object(list), serde_json::json!({"items": [1]}));
        for (body, list) in [("[1]", None), ("1", Some("items")), ("null", Some("items"))] {
            let refused = body_of(&parts, Sent::from(body), list).await.unwrap_err();
            assert_eq!(refused.status().as_u16(), 422, "{body}");
        }
    }

    #[tokio::test]
    async fn no_body_is_an_empty_object_whatever_its_type() {
        for types in [&[][..], &["text/plain"], &["application/json"], &["x", "y"]] {
            assert_eq!(taken(types, "").await, Ok(0), "{types:?}");
        }
    }

    #[tokio::test]
    async fn another_body_is_json_and_says_so() {
        let json = r#"{"a": 1}"#;
        for good in [
            "application/json",
            "Application/JSON;charset=UTF-8",
            "application/json; charset=\"utf-8\"",
        ] {
            assert_eq!(taken(&[good], json).await, Ok(1), "{good}");
        }
        for bad in [&[][..], &["text/plain"], &["application/json; charset=utf-16"]] {
            assert_eq!(taken(bad, json).await, Err(415), "{bad:?}");
        }
        assert_eq!(taken(&["application/json", "text/plain"], json).await, Err(415));
    }
}
