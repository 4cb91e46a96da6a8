//! Servers that mean harm: what they do ends with their own connection, and takes neither memory nor time from
//! anything else.

use st_http::{Kind, Sent};

use super::server::{
    CONTINUATION, DATA, END_HEADERS, HEADERS, PING, RST_STREAM, Reply, SETTINGS, Server, answer,
    frame, head, ok, reset, setting,
};
use super::{client, connected, post};

const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// What the server answers to the first request of all. The others are answered as they should be.
async fn first_answered_with(bytes: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Server {
    Server::start(move |seen| match (seen.connection, seen.stream, seen.ends_request()) {
        (1, 1, true) => vec![Reply::Write(bytes(seen.stream))],
        _ => answer(seen),
    })
    .await
}

/// A literal header that is not kept, of so many bytes.
fn header(size: usize) -> Vec<u8> {
    let mut block = vec![0, 1, b'a', 0x7f];
    // What is left of the length after the prefix, seven bits at a time.
    let mut left = size - 127;
    while left >= 128 {
        block.push(u8::try_from(left % 128).unwrap() | 0x80);
        left /= 128;
    }
    block.push(u8::try_from(left).unwrap());
    block.extend(vec![b'x'; size]);
    block
}

#[tokio::test]
async fn a_header_without_an_end_ends_the_connection() {
    let server = first_answered_with(|stream| {
        let mut bytes = frame(HEADERS, 0, stream, &[0x88]);
        for _ in 0..100_000 {
            bytes.extend(frame(CONTINUATION, 0, stream, &[]));
        }
        bytes
    })
    .await;
    let client = client();

    let error = post(&client, &server).await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Transport, Sent::Maybe), "{error:?}");
    assert_eq!(post(&client, &server).await.unwrap(), 200);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn headers_that_are_too_large_are_an_error() {
    let server = first_answered_with(|stream| {
        let mut bytes = frame(HEADERS, 0, stream, &[0x88]);
        for _ in 0..6 {
            bytes.extend(frame(CONTINUATION, 0, stream, &header(16_000)));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, &[]));
        bytes
    })
    .await;
    let client = client();

    let error = post(&client, &server).await.unwrap_err();

    assert_eq!((error.kind(), error.was_sent()), (Kind::Transport, Sent::Maybe), "{error:?}");
    assert_eq!(post(&client, &server).await.unwrap(), 200);
}

#[tokio::test]
async fn headers_of_a_size_that_http1_takes_are_taken() {
    let server = first_answered_with(|stream| {
        let mut bytes = frame(HEADERS, 0, stream, &[0x88]);
        for _ in 0..3 {
            bytes.extend(frame(CONTINUATION, 0, stream, &header(16_000)));
        }
        bytes.extend(frame(CONTINUATION, END_HEADERS, stream, &[]));
        bytes.extend(frame(DATA, 1, stream, b"{}"));
        bytes
    })
    .await;

    assert_eq!(post(&client(), &server).await.unwrap(), 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_stream_that_is_reset_again_and_again_does_no_harm() {
    let server = first_answered_with(|stream| {
        let mut bytes = head(stream);
        for _ in 0..10_000 {
            bytes.extend(reset(stream, 0));
        }
        bytes
    })
    .await;
    let client = client();

    let error = post(&client, &server).await.unwrap_err();

    assert_eq!(error.was_sent(), Sent::Yes, "{error:?}");
    assert_eq!(post(&client, &server).await.unwrap(), 200);
}

/// The table of what was sent would otherwise grow with each correlation ID, for as long as the connection
/// lives.
#[tokio::test]
async fn settings_of_any_size_change_nothing() {
    let settings = [
        setting(HEADER_TABLE_SIZE, u32::MAX),
        setting(INITIAL_WINDOW_SIZE, (1 << 31) - 1),
        setting(MAX_FRAME_SIZE, (1 << 24) - 1),
        setting(MAX_HEADER_LIST_SIZE, u32::MAX),
    ];
    let server = Server::with_settings(&settings.concat(), answer).await;
    let client = connected(&server).await;

    for _ in 0..10 {
        assert_eq!(post(&client, &server).await.unwrap(), 200);
    }

    assert_eq!(server.connections(), 1);
    // The size of the table is named first in a header block, and is that of the standard.
    let first = server.seen().into_iter().find(|frame| frame.kind == HEADERS).unwrap();
    assert_ne!(first.payload.first().unwrap() & 0xe0, 0x20, "{:?}", first.payload);
}

#[tokio::test]
async fn a_flood_of_settings_and_pings_does_not_hold_up_the_answer() {
    let server = first_answered_with(|stream| {
        let mut bytes = Vec::new();
        for _ in 0..10_000 {
            bytes.extend(frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW_SIZE, 65_535)));
            bytes.extend(frame(PING, 0, 0, &[0; 8]));
        }
        bytes.extend(ok(stream, "{}"));
        bytes
    })
    .await;

    assert_eq!(post(&client(), &server).await.unwrap(), 200);
}

#[tokio::test]
async fn frames_that_are_none_end_the_connection() {
    let too_long = frame(RST_STREAM, 0, 1, &[0; 5]);
    let no_window = frame(DATA, 0, 0, b"x");
    for bytes in [too_long, no_window, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()] {
        let server = first_answered_with(move |_| bytes.clone()).await;
        let client = client();

        let error = post(&client, &server).await.unwrap_err();

        assert_eq!((error.kind(), error.was_sent()), (Kind::Transport, Sent::Maybe), "{error:?}");
        assert_eq!(post(&client, &server).await.unwrap(), 200);
    }
}
