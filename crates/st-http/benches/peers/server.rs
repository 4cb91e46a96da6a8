//! The server that all subjects ask: it answers every request on a connection with the same bytes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Content-Length: 34\r\n\r\n{\"id\": \"abc\", \"status\": \"starting\"}";

/// Prints its address and serves until it is killed.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}/v1/predictions/abc", listener.local_addr().unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            drop(st_log::spawn(answer(stream)));
        }
    });
}

async fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut seen = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut seen).await {
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
