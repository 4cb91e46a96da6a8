//! The address policy, against names and numbers that mean an address which is not permitted.

use std::net::IpAddr;

use st_http::{AddressPolicy, Builder, Client, ConnectFault, Kind, Phase, Proxies, Sent};

use crate::server::{Reply, Server, ok};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn public() -> Builder {
    Client::builder().addresses(AddressPolicy::public())
}

async fn refused(client: &Client, url: &str) -> ConnectFault {
    let error = client.post(url).json(&1).send().await.unwrap_err();
    assert_eq!((error.kind(), error.was_sent()), (Kind::Connect, Sent::No), "{url} {error:?}");
    assert_eq!(error.phase(), Some(Phase::Resolve), "{url}");
    error.connect_fault().unwrap()
}

#[tokio::test]
async fn no_spelling_of_a_local_address_is_connected_to() {
    let server = Server::start(|_| ok("{}")).await;
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let hidden = vec![ip("127.0.0.1"), ip("::1"), ip("::ffff:127.0.0.1"), ip("169.254.169.254")];
    let client = public().name("rebound.example", hidden).build().unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "0.0.0.0",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "rebound.example",
        "REBOUND.example",
    ] {
        let fault = refused(&client, &format!("http://{host}:{port}/")).await;
        assert_eq!(fault, ConnectFault::AddressNotPermitted, "{host}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn of_several_addresses_only_those_that_are_permitted_are_used() {
    let server = Server::start(|_| ok("{}")).await;
    let port = server.url("").rsplit(':').next().unwrap().to_owned();
    let policy = AddressPolicy::public().allow("127.0.0.0/8".parse().unwrap());
    let both = vec![ip("::1"), ip("10.0.0.1"), ip("127.0.0.1")];
    let client = Client::builder().addresses(policy).name("mixed.example", both).build().unwrap();

    let response = client.get(&format!("http://mixed.example:{port}/")).send().await.unwrap();

    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let inside = Server::start(|_| ok("{}")).await;
    let location = inside.url("/");
    let server = Server::start(move |_| {
        Reply::Keep(format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ))
    })
    .await;
    let policy = AddressPolicy::public().allow("127.0.0.1/32".parse().unwrap());
    let client = Client::builder().addresses(policy).build().unwrap();

    assert_eq!(client.get(&server.url("/")).send().await.unwrap().status(), 302);

    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_proxy_does_not_get_to_choose_the_address_unless_it_may() {
    let proxy = Server::start(|_| ok("{}")).await;
    let proxies = Proxies::from_values(Some(&proxy.url("")), Some(&proxy.url("")), None).unwrap();
    let strict = public().proxies(proxies.clone()).build().unwrap();
    for url in ["http://inside.example/", "https://inside.example/", "http://10.0.0.1/"] {
        let fault = refused(&strict, url).await;
        assert_eq!(fault, ConnectFault::ProxyNotPermitted, "{url}");
    }
    let policy = AddressPolicy::public().through_proxies();
    let client = Client::builder().addresses(policy).proxies(proxies).build().unwrap();
    for url in [
        "http://10.0.0.1/",
        "https://169.254.169.254/",
        "http://[fc00::1]/",
        "http://2852039166/",
        "https://2852039166/",
        "http://0xa9.0xfe.0xa9fe/",
        "http://0xa9fe.0xa9fe/",
        "http://10.1/",
        "http://10.0.0.1./",
        "http://[fc00::1%25lo]/",
    ] {
        let fault = refused(&client, url).await;
        assert_eq!(fault, ConnectFault::AddressNotPermitted, "{url}");
    }
    assert_eq!(proxy.connections(), 0);

    assert_eq!(client.get("http://inside.example/").send().await.unwrap().status(), 200);
}
