//! A server that speaks HTTP/2 frame by frame over TLS, so that it can misbehave, and remembers what it was
//! sent. Headers are not decoded; the one answer it has is 200.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use st_log::SpawnInScope as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;

/// The header block of `:status: 200`.
const STATUS_200: &[u8] = &[0x88];

/// One frame as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The number of the accepted socket, from 1.
    pub(crate) connection: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether a request is complete with it.
    pub(crate) fn ends_request(&self) -> bool {
        [HEADERS, DATA].contains(&self.kind) && self.flags & END_STREAM != 0
    }
}

/// What the server does about a frame.
#[derive(Debug)]
pub(crate) enum Reply {
    Write(Vec<u8>),
    Close,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A whole answer.
pub(crate) fn ok(stream: u32, body: &str) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, stream, STATUS_200);
    bytes.extend(frame(DATA, END_STREAM, stream, body.as_bytes()));
    bytes
}

/// The head of an answer whose body follows.
pub(crate) fn head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, STATUS_200)
}

pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

pub(crate) fn go_away(last_stream: u32, code: u32) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// One setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend(value.to_be_bytes());
    bytes
}

/// Answers every request as soon as it is complete.
pub(crate) fn answer(seen: &Frame) -> Vec<Reply> {
    if seen.ends_request() { vec![Reply::Write(ok(seen.stream, "{}"))] } else { Vec::new() }
}

/// Stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    ledger: Arc<Mutex<Vec<Frame>>>,
    frames: watch::Receiver<usize>,
    connections: watch::Receiver<usize>,
    closed: watch::Receiver<Vec<usize>>,
    _accepting: JoinSet<()>,
}

impl Server {
    /// A server that acknowledges settings and pings by itself, and does what `react` says about each other
    /// frame.
    pub(crate) async fn start(
        react: impl Fn(&Frame) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::with_settings(&[], react).await
    }

    pub(crate) async fn with_settings(
        settings: &[u8],
        react: impl Fn(&Frame) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let (seen, frames) = watch::channel(0);
        let (accepted, connections) = watch::channel(0);
        let (ended, closed) = watch::channel(Vec::new());
        let mut config = tls::server_config("server.pem");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (react, settings) = (Arc::new(react), settings.to_vec());
        let entries = Arc::clone(&ledger);
        let mut accepting = JoinSet::new();
        accepting.spawn_in_scope(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.send_modify(|count| *count += 1);
                let connection = *accepted.borrow();
                let (acceptor, react) = (acceptor.clone(), Arc::clone(&react));
                let (entries, seen, settings) =
                    (Arc::clone(&entries), seen.clone(), settings.clone());
                let ended = ended.clone();
                open.spawn_in_scope(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let note = |frame: &Frame| {
                        entries.lock().unwrap().push(frame.clone());
                        seen.send_modify(|count| *count += 1);
                    };
                    serve(stream, connection, &settings, note, &*react).await;
                    ended.send_modify(|ended| ended.push(connection));
                });
            }
        });
        Self { address, ledger, frames, connections, closed, _accepting: accepting }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// The frames that arrived, but for settings, pings and window updates.
    pub(crate) fn seen(&self) -> Vec<Frame> {
        self.ledger.lock().unwrap().clone()
    }

    /// The same, and they are seen no more.
    pub(crate) fn forget(&self) -> Vec<Frame> {
        std::mem::take(&mut *self.ledger.lock().unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until a connection is at its end.
    pub(crate) async fn closed(&self, connection: usize) {
        self.closed.clone().wait_for(|closed| closed.contains(&connection)).await.unwrap();
    }

    /// Waits until the frames that arrived are as they should be.
    pub(crate) async fn until(&self, mut arrived: impl FnMut(&[Frame]) -> bool) {
        let mut frames = self.frames.clone();
        while !arrived(&self.ledger.lock().unwrap()) {
            frames.changed().await.unwrap();
        }
    }
}

async fn serve(
    mut stream: TlsStream<TcpStream>,
    connection: usize,
    settings: &[u8],
    note: impl Fn(&Frame) + Send + Sync,
    react: &(impl Fn(&Frame) -> Vec<Reply> + Sync),
) {
    let mut preface = [0; 24];
    let first = frame(SETTINGS, 0, 0, settings);
    if stream.write_all(&first).await.is_err() || stream.read_exact(&mut preface).await.is_err() {
        return;
    }
    while let Some(seen) = read(&mut stream, connection).await {
        let replies = match (seen.kind, seen.flags & ACK) {
            (SETTINGS, 0) => vec![Reply::Write(frame(SETTINGS, ACK, 0, &[]))],
            (SETTINGS | PING, ACK) => Vec::new(),
            (HEADERS | DATA | RST_STREAM | GOAWAY, _) => {
                // First what it does about it, so that a test which waits for the frame sees that too.
                let replies = react(&seen);
                note(&seen);
                replies
            }
            (PING, _) => {
                let replies = react(&seen);
                if replies.is_empty() {
                    vec![Reply::Write(frame(PING, ACK, 0, &seen.payload))]
                } else {
                    replies
                }
            }
            _ => Vec::new(),
        };
        for reply in replies {
            match reply {
                Reply::Write(bytes) => {
                    if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
                Reply::Close => return,
            }
        }
    }
}

async fn read(stream: &mut TlsStream<TcpStream>, connection: usize) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame { connection, kind, flags, stream: u32::from_be_bytes(id), payload })
}
