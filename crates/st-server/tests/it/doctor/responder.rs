//! A server that always answers the same, as no server of ours would.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers until it is dropped.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) port: u16,
    served: JoinHandle<()>,
}

impl Responder {
    /// With this head, without the lines about the length and the connection, and this body.
    pub(super) async fn start(head: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let length = body.len();
        let answer =
            format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        let served = st_log::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer_one(stream, &answer).await;
            }
        });
        Self { port, served }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// Reads a head, and answers it. Whether the client is still there is its own affair.
async fn answer_one(mut stream: TcpStream, answer: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_closed) => return,
        }
    }
    drop(stream.write_all(answer.as_bytes()).await);
}
