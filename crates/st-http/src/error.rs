//! Why a request failed, and whether the other side may have seen it.
//!
//! The second question decides whether a paid job is submitted again, so `Sent::No` is only said on
//! proof. Nothing here shows a query, userinfo, a header value or a body.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use hyper_util::client::legacy;

/// Whether the other side may have seen the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Provably not one byte of it was written: sending it again cannot do anything twice.
    No,
    /// It cannot be known.
    Maybe,
    /// The other side answered: the response head was received, the failure came after it.
    Yes,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The client cannot be made from its settings.
    Config,
    /// The request cannot be built: a bad URL, header, body or timeout.
    Request,
    /// There was no connection: name lookup, TCP, TLS, or too late.
    Connect,
    /// A deadline passed on an established connection.
    Timeout,
    /// The connection broke or what came back was not HTTP.
    Transport,
    /// The response body is larger than the limit.
    BodyTooLarge,
    /// The response body is not the JSON that was asked for.
    Decode,
}

/// A failed request. Its source, where there is one, says why in detail; `Display` does not.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    failure: Failure,
    url: Option<String>,
    sent: Sent,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The failures in the words of the code that finds them.
#[derive(Debug)]
pub(crate) enum Failure {
    Config(String),
    Request,
    Connect,
    ConnectDeadline(Duration),
    HeadDeadline(Duration),
    BodyDeadline(Duration),
    Exchange,
    BodyTooLarge(usize),
    BodyBroken,
    Decode,
}

/// What is wrong with a request that was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the url is not valid")]
    Url(#[source] http::uri::InvalidUri),
    #[error("the url must begin with http:// or https://")]
    Scheme,
    #[error("the url has no host")]
    Host,
    #[error("the port of the url is not a number up to 65535")]
    Port,
    #[error("the url has a user name or password, which belong in a header")]
    Userinfo,
    #[error("the method CONNECT is not for requests")]
    Method,
    #[error("a header has a name that is not allowed")]
    HeaderName,
    #[error("the value of the header {0} is not allowed")]
    HeaderValue(http::HeaderName),
    #[error("the header {0} is set by the client alone")]
    HeaderReserved(http::HeaderName),
    #[error("the body cannot be written as json")]
    Json(#[source] serde_json::Error),
    #[error("the timeout must be more than 0")]
    Timeout,
}

impl Error {
    fn new(failure: Failure, url: Option<String>, sent: Sent) -> Self {
        Self(Box::new(Inner { failure, url, sent, source: None }))
    }

    fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn config(what: impl Into<String>) -> Self {
        Self::new(Failure::Config(what.into()), None, Sent::No)
    }

    pub(crate) fn config_because(
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::config(what).because(source)
    }

    pub(crate) fn refused(url: Option<String>, why: Refused) -> Self {
        Self::new(Failure::Request, url, Sent::No).because(why)
    }

    /// A deadline passed before the response head. `handed_over` is whether a connection was given
    /// the request.
    pub(crate) fn late(url: &str, timeout: Duration, handed_over: bool) -> Self {
        let (failure, sent) = if handed_over {
            (Failure::HeadDeadline(timeout), Sent::Maybe)
        } else {
            (Failure::ConnectDeadline(timeout), Sent::No)
        };
        Self::new(failure, Some(url.to_owned()), sent)
    }

    /// hyper failed before the response head. `handed_over` as for [`Error::late`].
    pub(crate) fn exchange(url: &str, error: legacy::Error, handed_over: bool) -> Self {
        // hyper reports "canceled" only together with the untouched request, which it hands back
        // because the connection closed before anything of it was taken for writing.
        let canceled = error
            .source()
            .and_then(|cause| cause.downcast_ref::<hyper::Error>())
            .is_some_and(hyper::Error::is_canceled);
        let (failure, sent) = match (error.is_connect(), handed_over && !canceled) {
            (true, _) => (Failure::Connect, Sent::No),
            (false, false) => (Failure::Exchange, Sent::No),
            (false, true) => (Failure::Exchange, Sent::Maybe),
        };
        Self::new(failure, Some(url.to_owned()), sent).because(error)
    }

    /// The response head was received; what followed was not usable.
    pub(crate) fn answered(url: &str, failure: Failure) -> Self {
        Self::new(failure, Some(url.to_owned()), Sent::Yes)
    }

    pub(crate) fn answered_because(
        url: &str,
        failure: Failure,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::answered(url, failure).because(source)
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        match self.0.failure {
            Failure::Config(_) => Kind::Config,
            Failure::Request => Kind::Request,
            Failure::Connect | Failure::ConnectDeadline(_) => Kind::Connect,
            Failure::HeadDeadline(_) | Failure::BodyDeadline(_) => Kind::Timeout,
            Failure::Exchange | Failure::BodyBroken => Kind::Transport,
            Failure::BodyTooLarge(_) => Kind::BodyTooLarge,
            Failure::Decode => Kind::Decode,
        }
    }

    /// Whether the other side may have seen the request.
    pub fn was_sent(&self) -> Sent {
        self.0.sent
    }

    /// Where the request was going, as scheme, host, port and path; `None` where no such place is
    /// known.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// Whether something took too long, connecting included.
    pub fn is_timeout(&self) -> bool {
        match self.0.failure {
            Failure::ConnectDeadline(_) | Failure::HeadDeadline(_) | Failure::BodyDeadline(_) => {
                true
            }
            Failure::Connect => self.io_timed_out(),
            Failure::Config(_)
            | Failure::Request
            | Failure::Exchange
            | Failure::BodyTooLarge(_)
            | Failure::BodyBroken
            | Failure::Decode => false,
        }
    }

    /// Whether no connection came about.
    pub fn is_connect(&self) -> bool {
        self.kind() == Kind::Connect
    }

    /// Whether the response body was larger than the limit.
    pub fn is_body_too_large(&self) -> bool {
        self.kind() == Kind::BodyTooLarge
    }

    /// Whether the response body was not the JSON that was asked for.
    pub fn is_decode(&self) -> bool {
        self.kind() == Kind::Decode
    }

    fn io_timed_out(&self) -> bool {
        let mut cause = self.source();
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return io.kind() == io::ErrorKind::TimedOut;
            }
            cause = error.source();
        }
        false
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0.url.as_deref().unwrap_or("an unreadable url");
        match &self.0.failure {
            Failure::Config(what) => f.write_str(what),
            Failure::Request => write!(f, "the request to {url} cannot be sent"),
            Failure::Connect => write!(f, "there is no connection to {url}"),
            Failure::ConnectDeadline(timeout) => {
                write!(f, "there was no connection to {url} within {timeout:?}")
            }
            Failure::HeadDeadline(timeout) => {
                write!(f, "there was no answer from {url} within {timeout:?}")
            }
            Failure::BodyDeadline(timeout) => {
                write!(f, "the answer from {url} was not complete within {timeout:?}")
            }
            Failure::Exchange => write!(f, "the connection broke before {url} answered"),
            Failure::BodyTooLarge(limit) => {
                write!(f, "the answer from {url} is larger than {limit} bytes")
            }
            Failure::BodyBroken => write!(f, "the answer from {url} broke off"),
            Failure::Decode => write!(f, "the answer from {url} is not the expected json"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("sent", &self.0.sent)
            .field("failure", &self.0.failure)
            .field("url", &self.0.url)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
