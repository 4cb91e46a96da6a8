//! The server that all subjects ask: it answers every request on a connection with the same bytes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a provider says of a job.
pub(crate) const BODY: &str = r#"{"id": "abc", "status": "starting"}"#;

/// The whole answer in HTTP/1.1.
pub(crate) fn answer() -> Vec<u8> {
    let length = BODY.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    format!("{head}{length}\r\n\r\n{BODY}").into_bytes()
}

/// Prints its address and serves until it is killed.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}/v1/predictions/abc", listener.local_addr().unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            drop(st_log::spawn(connection(stream)));
        }
    });
}

async fn connection(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let answer = answer();
    let mut seen = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut seen).await {
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
