//! Proxies: what they are sent, what they see, and what becomes of it when they refuse.

use std::sync::{Arc, Mutex};

use st_http::{Client, ConnectFault, Error, Kind, Phase, Proxies, Sent};
use st_log::SpawnInScope as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::server::{Reply, Server, ok};
use crate::tls;

/// "me:hunter2", as `base64` writes it.
const CREDENTIALS: &str = "Basic bWU6aHVudGVyMg==";

/// A proxy that makes tunnels, all of them to one address. Stops when it is dropped.
struct Tunnels {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Tunnels {
    async fn start(to: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let mut accepting = JoinSet::new();
        accepting.spawn_in_scope(async move {
            let mut open = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let head = read_head(&mut near).await;
                seen.lock().unwrap().push(head);
                open.spawn_in_scope(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    near.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                });
            }
        });
        Self { url, heads, _accepting: accepting }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The address of a proxy whose tunnels lead to `to`, and what keeps it up.
pub(crate) async fn tunnels(to: std::net::SocketAddr) -> (String, impl Sized) {
    let tunnels = Tunnels::start(to).await;
    (tunnels.url.clone(), tunnels)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

fn client(https: Option<&str>, http: Option<&str>, no_proxy: &str) -> Client {
    let proxies = Proxies::from_values(https, http, Some(no_proxy)).unwrap();
    Client::builder().proxies(proxies).ca_bundle(tls::file("second-ca.pem")).build().unwrap()
}

#[tokio::test]
async fn https_goes_through_a_tunnel_with_the_credentials_and_the_request_is_not_seen() {
    let proxy = Tunnels::start(tls::answer_one("other-name.pem")).await;
    let client = client(Some(&format!("http://me:hunter2@{}", proxy.url)), None, "");

    let response = client.get("https://other.example/v1/jobs").bearer("token").send().await;

    assert_eq!(response.unwrap().status(), 200);
    let heads = proxy.heads();
    assert_eq!(
        heads,
        [format!(
            "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\
             Proxy-Authorization: {CREDENTIALS}\r\n\r\n"
        )]
    );
}

#[tokio::test]
async fn a_tunnel_needs_no_credentials_and_takes_the_port_of_the_url() {
    let proxy = Tunnels::start(tls::answer_one("other-name.pem")).await;
    let client = client(Some(&proxy.url), None, "unrelated.example");

    let response = client.get("https://other.example:8443/").send().await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(
        proxy.heads(),
        ["CONNECT other.example:8443 HTTP/1.1\r\nHost: other.example:8443\r\n\r\n"]
    );
}

#[tokio::test]
async fn the_certificate_in_a_tunnel_is_that_of_the_host() {
    let proxy = Tunnels::start(tls::answer_one("other-name.pem")).await;
    let client = client(Some(&proxy.url), None, "");

    let error = client.get("https://wrong.example/").send().await.unwrap_err();

    assert_eq!(error.connect_fault(), Some(ConnectFault::CertificateForOtherName), "{error:?}");
    assert_eq!((error.phase(), error.was_sent()), (Some(Phase::Tls), Sent::No));
}

#[tokio::test]
async fn http_is_sent_to_the_proxy_whole_with_its_credentials_on_each_request() {
    let proxy = Server::start(|_| ok("{}")).await;
    let at = proxy.url("").replace("http://", "http://me:hunter2@");
    let client = client(None, Some(&at), "");

    for path in ["/a?b=c", "/d"] {
        let url = format!("http://plain.example:81{path}");
        assert_eq!(client.post(&url).json(&1).send().await.unwrap().status(), 200);
    }

    let seen = proxy.seen();
    assert!(seen[0].head.starts_with("POST http://plain.example:81/a?b=c HTTP/1.1\r\n"));
    assert!(seen[1].head.starts_with("POST http://plain.example:81/d HTTP/1.1\r\n"));
    for request in &seen {
        assert_eq!(request.header("proxy-authorization"), [CREDENTIALS]);
        assert_eq!(request.header("host"), ["plain.example:81"]);
    }
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn what_is_excepted_and_what_is_on_this_machine_goes_through_no_proxy() {
    let proxy = Server::start(|_| ok("\"proxy\"")).await;
    let host = Server::start(|_| ok("\"host\"")).await;
    let port = host.url("").rsplit(':').next().unwrap().to_owned();
    let at = proxy.url("").replace("http://", "http://me:hunter2@");
    let proxies = Proxies::from_values(None, Some(&at), Some("near.example")).unwrap();
    let client = Client::builder().proxies(proxies);
    let client = client.name("near.example", vec!["127.0.0.1".parse().unwrap()]).build().unwrap();

    for url in [format!("http://near.example:{port}/"), host.url("/")] {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.text().unwrap(), "\"host\"");
    }

    assert_eq!(proxy.connections(), 0);
    for request in host.seen() {
        assert!(request.head.starts_with("GET / HTTP/1.1\r\n"), "{}", request.head);
        assert!(request.header("proxy-authorization").is_empty(), "for the proxy alone");
    }
}

async fn refused_by(reply: &'static str) -> Error {
    let proxy = Server::start(move |_| Reply::Close(reply.to_owned())).await;
    let at = proxy.url("").replace("http://", "http://me:hunter2@");
    let client = client(Some(&at), None, "");
    let error = client.post("https://other.example/").json(&1).send().await.unwrap_err();
    assert_eq!((error.kind(), error.phase()), (Kind::Connect, Some(Phase::Proxy)), "{error:?}");
    assert_eq!(error.was_sent(), Sent::No);
    let shown = format!("{error} {error:?} {client:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("bWU6"), "{shown}");
    error
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_was_sent_nothing_of_the_request() {
    for reply in [
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 301 Moved\r\nLocation: http://elsewhere.example/\r\n\r\n",
        "HTTP/1.1 200 Conn",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "",
    ] {
        assert_eq!(refused_by(reply).await.connect_fault(), Some(ConnectFault::Proxy), "{reply}");
    }
    let error = refused_by("HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\n\r\n").await;
    assert_eq!(error.connect_fault(), Some(ConnectFault::ProxyCredentials));
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_apart_from_the_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    drop(listener);
    for url in ["https://other.example/", "http://plain.example/"] {
        let error = client(Some(&at), Some(&at), "").get(url).send().await.unwrap_err();
        assert_eq!(error.connect_fault(), Some(ConnectFault::Proxy), "{error:?}");
        assert_eq!((error.phase(), error.was_sent()), (Some(Phase::Proxy), Sent::No));
        assert_eq!(error.to_string(), format!("the proxy made no connection to {url}"));
    }
}

#[tokio::test]
async fn a_proxy_may_itself_be_spoken_to_over_tls() {
    let proxy = tls::answer_one("server.pem");
    let proxies = Proxies::from_values(None, Some(&format!("https://{proxy}")), None).unwrap();
    let client = Client::builder().proxies(proxies).ca_bundle(tls::file("ca.pem"));

    let response = client.build().unwrap().get("http://plain.example/").send().await.unwrap();

    assert_eq!(response.status(), 200);
}
