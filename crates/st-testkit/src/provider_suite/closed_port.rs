//! A place where nobody is to be reached.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of loopback that refuses connections for as long as this is kept: nobody else can get it.
#[derive(Debug)]
pub struct ClosedPort(TcpSocket);

impl ClosedPort {
    /// A port that is free now.
    pub fn take() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self(socket))
    }

    /// Its address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
