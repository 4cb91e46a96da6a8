//! Where a request comes from.

use std::net::IpAddr;

/// The other end of a request's connection: an extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    /// Whether the client's own connection is encrypted.
    pub(crate) secure: bool,
}
