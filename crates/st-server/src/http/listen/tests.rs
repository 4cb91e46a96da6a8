//! Connections over real sockets.

use std::net::SocketAddr;

use axum::Extension;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::DropGuard;

use super::*;
use crate::http::extract;
use crate::http::front::Live;
use crate::http::middleware;
use crate::http::paths::router;

const GET: &[u8] = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn start(live: Live, connections: usize) -> (SocketAddr, DropGuard) {
    let endless = async || {
        let frames = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b'x'; 65_536])));
        (Extension(Endless), Body::from_stream(frames))
    };
    let routes = router([
        ("/health", get(async || "healthy")),
        ("/endless", get(endless)),
        ("/body", axum::routing::post(extract::tests::read_it)),
    ]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::new(live, Capacity { connections, streams: 1 });
    let (service, stop) = (middleware::around(routes, (), false), CancellationToken::new());
    drop(st_log::spawn(serve(listener, service, front, stop.clone(), Duration::ZERO)));
    (address, stop.drop_guard())
}

/// A connection that has sent this.
async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Asks over a connection that stays open; the first line of the answer.
async fn asked<S: AsyncReadExt + AsyncWriteExt + Unpin>(stream: &mut S) -> String {
    stream.write_all(GET).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("healthy") {
        let read = stream.read_u8().await;
        answer.push(char::from(read.unwrap()));
    }
    answer.lines().next().unwrap().to_owned()
}

/// What comes until the server closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A connection that is reset is closed as well.
    drop(stream.read_to_end(&mut rest).await);
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn connections_that_only_wait_make_room_for_one_that_asks() {
    let (address, _stop) = start(Live::default(), 3).await;
    let mut silent = sent(address, b"").await;
    let mut head = sent(address, b"GET /health HTTP/1.1\r\nHo").await;
    let mut body =
        sent(address, b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            .await;
    let mut streams = Vec::new();
    // Each new one is answered, and has the place of one that waited longest.
    for old in [&mut silent, &mut head, &mut body] {
        let mut new = sent(address, b"").await;
        assert_eq!(asked(&mut new).await, "HTTP/1.1 200 OK");
        assert_eq!(rest(old).await, "");
        // Its own place is then a stream's, of which it reads only the beginning.
        new.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert_eq!(new.read_u8().await.unwrap(), b'H');
        streams.push(new);
    }
}

#[tokio::test]
async fn one_address_has_only_its_share() {
    // Loopback is no stranger: with a limit of one, both are answered.
    let live = Live { connections_per_address: 1, ..Live::default() };
    let (address, _stop) = start(live.clone(), 9).await;
    let mut first = sent(address, b"").await;
    let mut second = sent(address, b"").await;
    assert_eq!(asked(&mut first).await, "HTTP/1.1 200 OK");
    assert_eq!(asked(&mut second).await, "HTTP/1.1 200 OK");
    assert_eq!(asked(&mut first).await, "HTTP/1.1 200 OK");
    let front = Front::new(live, Capacity { connections: 9, streams: 1 });
    let share = |address: &str| Door::new(Arc::clone(&front)).share(address.parse().unwrap());
    assert_eq!(share("127.0.0.1:1"), None);
    assert_eq!(share("192.0.2.1:1").map(|(_, most)| most), Some(1));
    let proxies = crate::http::peer::TrustedProxies::new(vec!["192.0.2.0/24".parse().unwrap()]);
    front.replace(Live { proxies, ..Live::default() });
    assert_eq!(share("192.0.2.1:1"), None);
    assert_eq!(share("198.51.100.1:1").map(|(_, most)| most), Some(256));
}

#[tokio::test]
async fn tls_is_served_and_a_new_certificate_is_for_the_next_connection() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};

    let files = tls::tests::files();
    let live = |files| Live { tls: Some(tls::read(files).unwrap()), ..Live::default() };
    let routes = router([("/health", get(async || "healthy"))]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::new(live(&files), Capacity { connections: 9, streams: 1 });
    let (service, stop) = (middleware::around(routes, (), false), CancellationToken::new());
    let serving = serve(listener, service, Arc::clone(&front), stop.clone(), Duration::ZERO);
    drop(st_log::spawn(serving));
    let _stop = stop.drop_guard();
    let connect = async |trusted: &std::path::Path| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await
    };
    let mut first = connect(&files.cert).await.unwrap();
    assert_eq!(first.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(asked(&mut first).await, "HTTP/1.1 200 OK");

    let folder = files.cert.parent().unwrap();
    let (cert, key) = (folder.join("other.pem"), folder.join("other.key.pem"));
    let other = crate::config::TlsFiles { cert, key };
    front.replace(live(&other));
    assert_eq!(asked(&mut connect(&other.cert).await.unwrap()).await, "HTTP/1.1 200 OK");
    connect(&files.cert).await.unwrap_err();
    assert_eq!(asked(&mut first).await, "HTTP/1.1 200 OK", "it goes on");
    // Who speaks no TLS gets no answer.
    let mut plain = sent(address, GET).await;
    assert!(!rest(&mut plain).await.contains("200"));
}
