//! The server of the polls over TLS: HTTP/2 for a client that offers it, else HTTP/1.1.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::server::{BODY, answer};

/// A file of the certificates that the tests have.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

/// Prints its address and serves until it is killed; each answer comes after so long.
pub(crate) fn serve(delay: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let acceptor = TlsAcceptor::from(Arc::new(config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("https://{}/v1/predictions/abc", listener.local_addr().unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            drop(st_log::spawn(connection(acceptor.clone(), stream, delay)));
        }
    });
}

fn config() -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key.pem")).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, delay: Duration) {
    stream.set_nodelay(true).unwrap();
    let stream = acceptor.accept(stream).await.unwrap();
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, delay).await;
    } else {
        http1(stream, delay).await;
    }
}

async fn http2(stream: TlsStream<TcpStream>, delay: Duration) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        drop(st_log::spawn(async move {
            wait(delay).await;
            let head = http::Response::builder().header("content-type", "application/json");
            let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
            body.send_data(BODY.into(), true).unwrap();
        }));
    }
}

async fn http1(mut stream: TlsStream<TcpStream>, delay: Duration) {
    let answer = answer();
    let mut seen = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut seen).await {
        if seen.ends_with(b"\r\n\r\n") {
            seen.clear();
            wait(delay).await;
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}

async fn wait(delay: Duration) {
    if !delay.is_zero() {
        sleep(delay).await;
    }
}
