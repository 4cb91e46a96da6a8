//! Whether a server could listen, where none does.

use std::net::{SocketAddr, TcpListener};

use super::finding::{Finding, Subject};
use crate::config::Config;

/// Tries it for a moment, as a start does.
pub(super) fn check(config: &Config) -> Option<Finding> {
    let address = SocketAddr::new(config.host, config.port);
    let error = TcpListener::bind(address).err()?;
    let found = format!("a start cannot listen on {address}: {error}");
    let remedy = "Set SIMPLETUNER_HOST and SIMPLETUNER_PORT to an address of this machine and a port that are \
                  free and that the server's user may use, or end what has them.";
    Some(Finding::failed(Subject::Server, found, remedy))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Flags;

    #[test]
    fn an_address_that_is_taken_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let environment = BTreeMap::from([
            ("HOME".to_owned(), dir.path().display().to_string()),
            ("SIMPLETUNER_PORT".to_owned(), port.to_string()),
        ]);
        let config = Config::load(&environment, &Flags::default(), dir.path()).unwrap();
        let found = check(&config).unwrap().found;
        assert!(
            found.starts_with(&format!("a start cannot listen on 127.0.0.1:{port}: ")),
            "{found}"
        );
        drop(taken);
        assert_eq!(check(&config), None);
    }
}
