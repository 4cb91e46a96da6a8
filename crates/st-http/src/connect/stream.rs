//! A connection as the pool sees it, whichever way it takes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(super) type Near = MaybeHttpsStream<TokioIo<TcpStream>>;

pub(crate) enum Stream {
    /// To the host.
    Direct(Near),
    /// To a proxy that is sent the requests whole.
    Forwarded(Near),
    /// To the host, inside what a proxy passes on.
    Tunnelled(Box<MaybeHttpsStream<Near>>),
}

impl Stream {
    pub(super) fn tunnelled(stream: MaybeHttpsStream<Near>) -> Self {
        Self::Tunnelled(Box::new(stream))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Direct(stream) => stream.connected(),
            // Requests then name the whole URL.
            Self::Forwarded(stream) => stream.connected().proxy(true),
            Self::Tunnelled(stream) => stream.connected(),
        }
    }
}

/// Calls one method of whichever stream it is.
macro_rules! with {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Direct(stream) | Stream::Forwarded(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tunnelled(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        with!(self, stream => stream.poll_read(context, buffer))
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        with!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        with!(self, stream => stream.poll_shutdown(context))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Direct(stream) | Self::Forwarded(stream) => stream.is_write_vectored(),
            Self::Tunnelled(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        with!(self, stream => stream.poll_write_vectored(context, slices))
    }
}
