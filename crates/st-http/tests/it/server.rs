//! A server that answers as the test says and remembers each request. It speaks just enough
//! HTTP/1.1 for that, written by hand so that it can misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use st_log::SpawnInScope as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The number of the accepted socket, from 1.
    pub(crate) connection: usize,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    /// The values of a header, in the order of the lines.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// Writes this and waits for the next request.
    Keep(String),
    /// Writes this and closes the connection.
    Close(String),
}

/// A whole reply with a body, on a connection that stays.
pub(crate) fn ok(body: &str) -> Reply {
    Reply::Keep(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// Stops when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    ledger: Arc<Mutex<Vec<Seen>>>,
    requests: watch::Receiver<usize>,
    connections: watch::Receiver<usize>,
    _accepting: JoinSet<()>,
}

impl Server {
    pub(crate) async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(reply), true).await
    }

    /// Takes whatever bytes come first for a request: for what is not HTTP.
    pub(crate) async fn raw(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(reply), false).await
    }

    async fn serve(
        reply: Arc<impl Fn(&Seen) -> Reply + Send + Sync + 'static>,
        http: bool,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let (seen, requests) = watch::channel(0);
        let (accepted, connections) = watch::channel(0);
        let mut accepting = JoinSet::new();
        let entries = Arc::clone(&ledger);
        accepting.spawn_in_scope(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                accepted.send_modify(|count| *count += 1);
                let connection = *accepted.borrow();
                let (entries, seen, reply) =
                    (Arc::clone(&entries), seen.clone(), Arc::clone(&reply));
                open.spawn_in_scope(async move {
                    let mut stream = stream;
                    while let Some(request) = read(&mut stream, connection, http).await {
                        let reply = reply(&request);
                        entries.lock().unwrap().push(request);
                        let (text, close) = match reply {
                            Reply::Keep(text) => (text, false),
                            Reply::Close(text) => (text, true),
                        };
                        let written = stream.write_all(text.as_bytes()).await;
                        seen.send_modify(|count| *count += 1);
                        if close || written.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, ledger, requests, connections, _accepting: accepting }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn https_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.ledger.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until `count` requests were read and answered.
    pub(crate) async fn answered(&self, count: usize) {
        self.requests.clone().wait_for(|seen| *seen >= count).await.unwrap();
    }
}

async fn read(stream: &mut TcpStream, connection: usize, http: bool) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if !http && !text.is_empty() {
            return Some(Seen { connection, head: text, body: String::new() });
        }
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let request = Seen { connection, head: head.to_owned(), body: body.to_owned() };
            let length = request.header("content-length").first().map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return Some(request);
            }
        }
        if matches!(stream.read_buf(&mut bytes).await, Ok(0) | Err(_)) {
            return None;
        }
    }
}
