//! Who reaches the server, and what a reload changes.

use std::path::Path;

use super::super::{Access, TlsFiles};
use super::load;

fn names(set: &std::collections::BTreeSet<String>) -> Vec<&str> {
    set.iter().map(String::as_str).collect()
}

#[test]
fn lists_are_lists_in_the_file_and_have_commas_in_a_variable() {
    let yaml =
        "server: {hosts: [Jobs.Example.Org, '::1'], trusted_proxies: [10.0.0.0/8, 192.0.2.1]}";
    let by_file = load(&[], Some(yaml)).unwrap().access;
    let by_variables = [
        ("SIMPLETUNER_HOSTS", "Jobs.Example.Org, ::1"),
        ("SIMPLETUNER_TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1,"),
    ];
    assert_eq!(load(&by_variables, None).unwrap().access, by_file);
    assert_eq!(by_file.hosts, ["jobs.example.org", "::1"]);
    let networks = ["10.0.0.0/8", "192.0.2.1/32"].map(|it| it.parse().unwrap());
    assert_eq!(by_file.trusted_proxies, networks);
    assert_eq!(load(&[], None).unwrap().access, Access::default());
}

#[test]
fn what_is_not_legal_is_said_with_what_is() {
    let yaml = "\
server:
  hosts: ['https://x.org']
  trusted_proxies: [proxy.example.org]
  connections_per_address: 0
  tls: {cert: /nowhere.pem}
";
    let said = load(&[], Some(yaml)).unwrap_err();
    for line in [
        "server.hosts: item 0: expected the name or the address of a host such as jobs.example.org, \
         without scheme and port, found \"https://x.org\"",
        "server.trusted_proxies: item 0: expected a network or an address such as 10.0.0.0/8 or \
         192.0.2.1, found \"proxy.example.org\"",
        "server.connections_per_address: expected a whole number from 1 to 10000",
        "server.tls.cert: expected a file that exists, found /nowhere.pem",
    ] {
        assert!(said.contains(line), "{line}\nis not in\n{said}");
    }
}

#[test]
fn tls_needs_both_files() {
    let tls = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls"));
    let (cert, key) = (tls.join("server.pem"), tls.join("server.key.pem"));
    let (shown_cert, shown_key) = (cert.display().to_string(), key.display().to_string());
    let by_variables =
        [("SIMPLETUNER_TLS_CERT", &*shown_cert), ("SIMPLETUNER_TLS_KEY", &*shown_key)];
    let read = load(&by_variables, None).unwrap().access.tls;
    assert_eq!(read, Some(TlsFiles { cert, key }));
    let said = load(&by_variables[..1], None).unwrap_err();
    assert!(said.contains("server.tls.key: is needed beside cert"), "{said}");
    let said = load(&by_variables[1..], None).unwrap_err();
    assert!(said.contains("server.tls.cert: is needed beside key"), "{said}");
}

#[test]
fn changes_are_named_by_whether_they_need_a_restart() {
    let old = "\
server: {port: 1, hosts: [a.example]}
providers: {replicate: {api_token: r8_old}}
outputs: {download: true}
";
    let new = "\
server: {port: 2, hosts: [b.example], connections_per_address: 3}
providers: {replicate: {api_token: r8_new}, local: {commands: {train: {program: /bin/x}}}}
logging: {level: DEBUG}
";
    let (mut old, new) = (load(&[], Some(old)).unwrap(), load(&[], Some(new)).unwrap());
    let changes = old.changes(&new);
    assert_eq!(
        names(&changes.reloaded),
        ["logging.level", "server.connections_per_address", "server.hosts"]
    );
    let need_restart = [
        "outputs.download",
        "providers.local.commands.train.program",
        "providers.replicate.api_token",
        "server.port",
    ];
    assert_eq!(names(&changes.need_restart), need_restart);
    assert!(!format!("{new:?}").contains("r8_new"));
    old.adopt(new.clone());
    assert_eq!((old.access.hosts.as_slice(), old.port), (&["b.example".to_owned()][..], 1));
    let changes = old.changes(&new);
    assert!(changes.reloaded.is_empty(), "{changes:?}");
    assert_eq!(names(&changes.need_restart), need_restart);
}
