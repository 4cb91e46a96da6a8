//! Why there is no connection, found in the errors of the layers below.

use std::error::Error as StdError;
use std::io;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use rustls::CertificateError;
use tower_service::Service;

use super::Direct;
use super::tcp::{NotConnected, NotPermitted, NotResolved};
use crate::Phase;

type BoxError = Box<dyn StdError + Send + Sync>;
type TunnelError = <Tunnel<Direct> as Service<Uri>>::Error;

/// Why no connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectFault {
    /// The name of the host has no address, or cannot be looked up.
    UnknownName,
    /// The [`AddressPolicy`](crate::AddressPolicy) permits none of the host's addresses.
    AddressNotPermitted,
    /// The [`AddressPolicy`](crate::AddressPolicy) does not leave the choice of the address to the
    /// proxy that is between.
    ProxyNotPermitted,
    /// The host refused the connection: nothing listens at the port.
    Refused,
    /// No connection for another reason: no route, an address that does not answer, no free port.
    Unreachable,
    /// The certificate is not valid any more.
    CertificateExpired,
    /// The certificate is not valid yet: mostly a clock is wrong.
    CertificateNotYetValid,
    /// The certificate is for other names.
    CertificateForOtherName,
    /// The certificate comes from an authority that is not trusted here.
    CertificateFromUnknownAuthority,
    /// The certificate was refused for another reason.
    CertificateBad,
    /// The TLS handshake failed otherwise, or what answered does not speak TLS.
    Handshake,
    /// The proxy was not reached or did not make the tunnel.
    Proxy,
    /// The proxy wants credentials, or others.
    ProxyCredentials,
}

impl ConnectFault {
    /// The step in which the fault is found.
    pub fn phase(self) -> Phase {
        match self {
            Self::UnknownName | Self::AddressNotPermitted | Self::ProxyNotPermitted => {
                Phase::Resolve
            }
            Self::Refused | Self::Unreachable => Phase::Connect,
            Self::CertificateExpired
            | Self::CertificateNotYetValid
            | Self::CertificateForOtherName
            | Self::CertificateFromUnknownAuthority
            | Self::CertificateBad
            | Self::Handshake => Phase::Tls,
            Self::Proxy | Self::ProxyCredentials => Phase::Proxy,
        }
    }

    /// Whether the same request may well succeed a little later, with nothing changed here.
    pub fn may_pass(self) -> bool {
        match self {
            Self::UnknownName
            | Self::Refused
            | Self::Unreachable
            | Self::Handshake
            | Self::Proxy => true,
            Self::AddressNotPermitted
            | Self::ProxyNotPermitted
            | Self::CertificateExpired
            | Self::CertificateNotYetValid
            | Self::CertificateForOtherName
            | Self::CertificateFromUnknownAuthority
            | Self::CertificateBad
            | Self::ProxyCredentials => false,
        }
    }

    /// What happened, around the URL as it may be shown.
    pub(crate) fn sentence(self, url: &str) -> String {
        match self {
            Self::UnknownName => format!("the host of {url} cannot be found"),
            Self::AddressNotPermitted => format!("the address of {url} is not permitted"),
            Self::ProxyNotPermitted => {
                format!("{url} is behind a proxy, which is not permitted to choose the address")
            }
            Self::Refused => format!("the host of {url} refuses the connection"),
            Self::Unreachable => format!("there is no connection to {url}"),
            Self::CertificateExpired => format!("the certificate of {url} has expired"),
            Self::CertificateNotYetValid => format!("the certificate of {url} is not valid yet"),
            Self::CertificateForOtherName => {
                format!("the certificate of {url} is for another name")
            }
            Self::CertificateFromUnknownAuthority => {
                format!("the certificate of {url} comes from an authority that is not trusted")
            }
            Self::CertificateBad => format!("the certificate of {url} is refused"),
            Self::Handshake => format!("the TLS handshake with {url} failed"),
            Self::Proxy => format!("the proxy made no connection to {url}"),
            Self::ProxyCredentials => {
                format!(
                    "the proxy on the way to {url} does not accept the credentials, or wants some"
                )
            }
        }
    }
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("the connection failed in the phase {}", .fault.phase().as_str())]
pub(crate) struct NoConnection {
    pub(crate) fault: ConnectFault,
    #[source]
    source: Option<BoxError>,
}

impl NoConnection {
    /// On the way to the host itself.
    pub(super) fn direct(source: BoxError) -> Self {
        Self { fault: of_host(&*source), source: Some(source) }
    }

    /// On the way to a proxy.
    pub(super) fn proxy(source: BoxError) -> Self {
        Self { fault: ConnectFault::Proxy, source: Some(source) }
    }

    /// On the way to the host through a tunnel.
    pub(super) fn tunnelled(source: BoxError) -> Self {
        let tunnel = causes(&*source).find_map(|cause| cause.downcast_ref::<TunnelError>());
        let fault = match tunnel {
            Some(TunnelError::ProxyAuthRequired) => ConnectFault::ProxyCredentials,
            Some(_) => ConnectFault::Proxy,
            None => of_host(&*source),
        };
        Self { fault, source: Some(source) }
    }

    pub(super) fn proxy_refused() -> Self {
        Self { fault: ConnectFault::ProxyNotPermitted, source: None }
    }
}

fn of_host(error: &(dyn StdError + 'static)) -> ConnectFault {
    let has = |is: fn(&(dyn StdError + 'static)) -> bool| causes(error).any(is);
    if has(<dyn StdError>::is::<NotPermitted>) {
        return ConnectFault::AddressNotPermitted;
    }
    if has(<dyn StdError>::is::<NotResolved>) {
        return ConnectFault::UnknownName;
    }
    if has(<dyn StdError>::is::<NotConnected>) {
        let refused = |cause: &(dyn StdError + 'static)| {
            let io = cause.downcast_ref::<io::Error>();
            io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused)
        };
        return if has(refused) { ConnectFault::Refused } else { ConnectFault::Unreachable };
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(error)) => of_certificate(error),
        Some(_) | None => ConnectFault::Handshake,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not exhaustive")]
fn of_certificate(error: &CertificateError) -> ConnectFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ConnectFault::CertificateExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ConnectFault::CertificateNotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ConnectFault::CertificateForOtherName
        }
        CertificateError::UnknownIssuer => ConnectFault::CertificateFromUnknownAuthority,
        _ => ConnectFault::CertificateBad,
    }
}

/// An error and its causes. An `io::Error` leaves what it wraps out of its sources.
pub(crate) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'e (dyn StdError + 'static) = *error;
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as _).or_else(|| error.source())
    })
}
