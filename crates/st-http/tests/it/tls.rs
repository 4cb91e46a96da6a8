//! TLS against a real handshake: a root of our own, beside the system's, and no check at all.
//!
//! The certificates under `tls/` are for these tests only and run for a hundred years, but for the
//! one that is expired and the one that is not valid before 2120.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use st_http::{Client, Config, ConnectFault, Error, Kind, Phase, Sent};

/// Answers one HTTPS request on a thread of its own, in plain blocking code, and shows the
/// certificate in this file.
pub(crate) fn answer_one(certificate: &str) -> SocketAddr {
    let config = server_config(certificate);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    st_log::spawn_thread(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        let mut head = Vec::new();
        let mut byte = [0; 1];
        // A client that does not trust us leaves during the handshake: then there is no answer.
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        stream.flush().unwrap();
        let closed = stream.read(&mut byte);
        drop(closed);
    });
    address
}

/// A TLS server's settings, with the certificate in this file.
pub(crate) fn server_config(certificate: &str) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(file(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key.pem")).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// A file beside the certificates of the tests.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls")).join(name)
}

fn ca_bundle() -> PathBuf {
    file("ca.pem")
}

async fn ask(config: Config) -> Result<u16, Error> {
    let address = answer_one("server.pem");
    let client = Client::new(config).unwrap();
    let response = client.get(&format!("https://{address}/")).send().await?;
    Ok(response.status().as_u16())
}

#[tokio::test]
async fn a_server_under_an_unknown_root_is_not_trusted_and_nothing_was_sent() {
    let error = ask(Config { ca_bundle: None, ..Config::default() }).await.unwrap_err();

    assert!(error.is_connect() && !error.is_timeout(), "{error:?}");
    assert_eq!((error.was_sent(), error.phase()), (Sent::No, Some(Phase::Tls)));
    assert_eq!(error.connect_fault(), Some(ConnectFault::CertificateFromUnknownAuthority));
    assert!(error.to_string().ends_with("from an authority that is not trusted"), "{error}");
}

#[tokio::test]
async fn each_fault_of_a_certificate_is_told_apart() {
    for (certificate, fault, words) in [
        ("expired.pem", ConnectFault::CertificateExpired, "has expired"),
        ("not-yet-valid.pem", ConnectFault::CertificateNotYetValid, "is not valid yet"),
        ("other-name.pem", ConnectFault::CertificateForOtherName, "is for another name"),
    ] {
        let address = answer_one(certificate);
        let client = Client::builder().ca_bundle(file("second-ca.pem")).build().unwrap();

        let error = client.get(&format!("https://{address}/")).send().await.unwrap_err();

        assert_eq!((error.connect_fault(), error.was_sent()), (Some(fault), Sent::No));
        assert_eq!(error.phase(), Some(Phase::Tls));
        assert_eq!(error.to_string(), format!("the certificate of https://{address}/ {words}"));
    }
}

#[tokio::test]
async fn the_right_name_is_trusted_wherever_it_is() {
    let address = answer_one("other-name.pem");
    let client = Client::builder().ca_bundle(file("second-ca.pem"));
    let client = client.name("OTHER.example", vec![address.ip()]).build().unwrap();

    let url = format!("https://other.example:{}/", address.port());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_server_under_the_root_of_the_ca_bundle_is_trusted() {
    let config = Config { ca_bundle: Some(ca_bundle()), ..Config::default() };

    assert_eq!(ask(config).await.unwrap(), 200);
}

#[tokio::test]
async fn anybody_is_trusted_without_tls_verify() {
    let config = Config { tls_verify: false, ..Config::default() };

    assert_eq!(ask(config).await.unwrap(), 200);
}

#[test]
fn a_ca_bundle_that_is_missing_or_empty_is_named() {
    for (path, why) in [
        ("no/such.pem", "ca_bundle no/such.pem cannot be read"),
        ("Cargo.toml", "ca_bundle Cargo.toml has no certificate"),
    ] {
        let config = Config { ca_bundle: Some(path.into()), ..Config::default() };
        let error = Client::new(config).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Config, why));
    }
}
