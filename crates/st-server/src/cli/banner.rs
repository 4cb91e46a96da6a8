//! The lines that `serve` prints for an operator: where it listens, and commands to try it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The URL of a server at this address.
pub(super) fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://{address}")
}

/// Commands that work as they are printed, once `ST_KEY` has a key where one is needed.
pub(super) fn banner(scheme: &str, address: SocketAddr, needs_key: bool) -> String {
    let listens = url(scheme, address);
    let url = url(scheme, SocketAddr::new(reached(address.ip()), address.port()));
    let key = if needs_key { "-H \"Authorization: Bearer $ST_KEY\" " } else { "" };
    format!(
        "st-server listens on {listens}\n\
         Submit an example job:\n  \
         curl -s '{url}/api/cloud/jobs/submit?provider=local' {key}\
         -H 'Content-Type: application/json' \
         -d '{{\"config\": {{\"command\": \"example\"}}, \"config_name\": \"first\"}}'\n\
         and watch it go:\n  curl -sN {key}'{url}/api/events?last_event_id=0'\n"
    )
}

/// An address at which this machine reaches it: "every address" is none, and is no name of the server.
fn reached(listens: IpAddr) -> IpAddr {
    match listens {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => listens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_an_address_that_is_reached_and_the_key_where_one_is_needed() {
        for (scheme, listens, needs_key, submit, watch) in [
            (
                "http",
                "127.0.0.1:8001",
                false,
                "curl -s 'http://127.0.0.1:8001/api/cloud/jobs/submit?provider=local' -H 'Content-Type:",
                "curl -sN 'http://127.0.0.1:8001/api/events?last_event_id=0'",
            ),
            (
                "http",
                "0.0.0.0:8001",
                true,
                "curl -s 'http://127.0.0.1:8001/api/cloud/jobs/submit?provider=local' -H \"Authorization: \
                 Bearer $ST_KEY\" -H 'Content-Type:",
                "curl -sN -H \"Authorization: Bearer $ST_KEY\" \
                 'http://127.0.0.1:8001/api/events?last_event_id=0'",
            ),
            (
                "https",
                "[::]:8001",
                false,
                "curl -s 'https://[::1]:8001/api/cloud/jobs/submit?provider=local' -H 'Content-Type:",
                "curl -sN 'https://[::1]:8001/api/events?last_event_id=0'",
            ),
            (
                "https",
                "192.0.2.1:443",
                false,
                "curl -s 'https://192.0.2.1:443/api/cloud/jobs/submit?provider=local' -H 'Content-Type:",
                "curl -sN 'https://192.0.2.1:443/api/events?last_event_id=0'",
            ),
        ] {
            let said = banner(scheme, listens.parse().unwrap(), needs_key);
            assert!(
                said.starts_with(&format!("st-server listens on {scheme}://{listens}\n")),
                "{said}"
            );
            assert!(said.contains(submit), "{submit}\nis not in\n{said}");
            assert!(said.ends_with(&format!("{watch}\n")), "{watch}\nis not the end of\n{said}");
        }
    }
}
