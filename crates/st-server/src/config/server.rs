//! Where the server listens, who reaches it there, and what it reads and writes.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde_json::Value;
use st_api::input::Fields;
use st_http::IpNet;

use super::sections::{Surroundings, checked, existing_file};
use crate::http::front::CONNECTIONS_PER_ADDRESS;
use crate::http::site::Names;

/// More connections are not served in all.
const MOST_CONNECTIONS: i64 = 10_000;

/// Who reaches the server, and how. All of it is read again at SIGHUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// By which names the server is known, apart from its addresses.
    pub hosts: Vec<String>,
    /// Proxies whose word about their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many connections one address may have.
    pub connections_per_address: usize,
    /// Where TLS is served: with what.
    pub tls: Option<TlsFiles>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            tls: None,
        }
    }
}

/// What TLS is served with: two files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead from it to an authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The section.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) host: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) config_dir: Option<PathBuf>,
    pub(super) access: Access,
}

impl Server {
    pub(super) fn read(&mut self, fields: &mut Fields, around: &Surroundings<'_>) {
        self.host = checked(fields, "host", host);
        let port = fields.integer("port", 1..=65_535);
        self.port = port.and_then(|port| u16::try_from(port).ok());
        self.state_dir = around.path(fields, "state_dir");
        self.config_dir = around.path(fields, "config_dir");
        let access = &mut self.access;
        access.hosts = list(fields, "hosts", Names::parse);
        access.trusted_proxies = list(fields, "trusted_proxies", network);
        let connections = fields.integer("connections_per_address", 1..=MOST_CONNECTIONS);
        if let Some(connections) = connections.and_then(|it| usize::try_from(it).ok()) {
            access.connections_per_address = connections;
        }
        access.tls = fields.section("tls", |fields| tls(fields, around)).flatten();
    }
}

fn tls(fields: &mut Fields, around: &Surroundings<'_>) -> Option<TlsFiles> {
    let mut file = |key: &str| {
        let path = around.path(fields, key)?;
        existing_file(path).map_err(|message| fields.fault(key, message)).ok()
    };
    let (cert, key) = (file("cert"), file("key"));
    match (cert, key) {
        (Some(cert), Some(key)) => return Some(TlsFiles { cert, key }),
        (Some(_), None) if !fields.has("key") => fields.fault("key", "is needed beside cert"),
        (None, Some(_)) if !fields.has("cert") => fields.fault("cert", "is needed beside key"),
        (Some(_) | None, Some(_) | None) => {}
    }
    None
}

/// A list of texts with a meaning; a variable has them with commas between them.
fn list<T, E: Display>(
    fields: &mut Fields,
    key: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let texts = match fields.peek(key) {
        Some(Value::String(text)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            let items = items.map(str::to_owned).collect();
            // Read, so that it is not taken for an unknown name.
            fields.has(key);
            items
        }
        Some(_) | None => fields.strings(key).unwrap_or_default(),
    };
    let mut read = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match parse(text) {
            Ok(item) => read.push(item),
            Err(legal) => fields.fault(key, format!("item {index}: {legal}, found {text:?}")),
        }
    }
    read
}

/// A network, or an address alone.
fn network(text: &str) -> Result<IpNet, &'static str> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from);
    let legal = "expected a network or an address such as 10.0.0.0/8 or 192.0.2.1";
    text.parse().or_else(|_no_network| alone()).map_err(|_no_address| legal)
}

/// Reads an address to listen on.
fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        other => other.parse().map_err(|_no_address| "expected an IP address".to_owned()),
    }
}
