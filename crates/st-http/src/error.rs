//! Why a request failed, and whether the other side may have seen it.
//!
//! The second question decides whether a paid job is submitted again, so `Sent::No` is only said on
//! proof. Nothing here shows a query, userinfo, a header value or a body.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use hyper_util::client::legacy;

use crate::body::NotProduced;
use crate::connect::{ConnectFault, NoConnection, causes};
use crate::phase::{Phase, Progress};
use crate::target::Shown;

/// Whether the other side may have seen the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Provably nothing was done with it: not one byte of it was written, or the other side of an HTTP/2
    /// connection turned it away and said so. Sending it again cannot do anything twice.
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
    /// The request cannot be built, a bad URL, header, body or timeout; or what produces its body failed.
    Request,
    /// There was no connection: name lookup, TCP, proxy, TLS, or too late. Why, says
    /// [`Error::connect_fault`].
    Connect,
    /// A deadline passed on an established connection.
    Timeout,
    /// The connection broke or what came back was not HTTP.
    Transport,
    /// The response body is larger than the limit.
    BodyTooLarge,
    /// The response body is not what was asked for: not the JSON, not text, not gzip as it says.
    Decode,
    /// The response has a status that is an error, and the caller asked for that to be one.
    Status,
    /// The circuit breaker of the host is open: nothing was tried.
    BreakerOpen,
}

/// A failed request. Its source, where there is one, says why in detail; `Display` does not.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    failure: Failure,
    url: Option<Shown>,
    sent: Sent,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The failures in the words of the code that finds them.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Config(String),
    Request,
    Connect(ConnectFault),
    ConnectDeadline(Duration, Phase),
    HeadDeadline(Duration, Phase),
    BodyDeadline(Duration),
    BodyIdle(Duration),
    Exchange(Phase),
    /// The other side said that it did not begin with the request.
    Unprocessed(Phase),
    NotProduced(Phase),
    BodyTooLarge(usize),
    BodyBroken,
    BodyCoding,
    Decode(&'static str),
    Status(StatusCode),
    BreakerOpen(Duration),
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
    #[error("the query cannot be written: it must be a list of names with plain values")]
    Query(#[source] serde_urlencoded::ser::Error),
    #[error("the form cannot be written: it must be a list of names with plain values")]
    Form(#[source] serde_urlencoded::ser::Error),
    #[error("the user name has a colon, which separates it from the password")]
    UserName,
    #[error("the timeout must be more than 0")]
    Timeout,
}

impl Error {
    fn new(failure: Failure, url: Option<Shown>, sent: Sent) -> Self {
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

    pub(crate) fn refused(url: Option<&Shown>, why: Refused) -> Self {
        Self::new(Failure::Request, url.cloned(), Sent::No).because(why)
    }

    /// A deadline passed before a connection was given the request.
    pub(crate) fn no_connection_in_time(
        url: &Shown,
        timeout: Duration,
        progress: &Progress,
    ) -> Self {
        let failure = Failure::ConnectDeadline(timeout, progress.before_connection());
        Self::new(failure, Some(url.clone()), Sent::No)
    }

    /// A deadline passed on a connection before the response head.
    pub(crate) fn no_head_in_time(url: &Shown, timeout: Duration, progress: &Progress) -> Self {
        let failure = Failure::HeadDeadline(timeout, progress.on_connection());
        Self::new(failure, Some(url.clone()), Sent::Maybe)
    }

    /// hyper failed before the response head. `handed_over` is whether a connection was given the
    /// request.
    pub(crate) fn exchange(
        url: &Shown,
        error: legacy::Error,
        handed_over: bool,
        progress: &Progress,
    ) -> Self {
        let cause = error.source();
        // hyper reports "canceled" only together with the untouched request, which it hands back
        // because the connection closed before anything of it was taken for writing.
        let canceled = cause
            .and_then(|cause| cause.downcast_ref::<hyper::Error>())
            .is_some_and(hyper::Error::is_canceled);
        let unprocessed = is_unprocessed(&error, progress);
        let sent = if handed_over && !canceled && !unprocessed { Sent::Maybe } else { Sent::No };
        let no_connection = cause.and_then(|cause| cause.downcast_ref::<NoConnection>());
        let (failure, sent) = match (error.is_connect(), no_connection) {
            (true, Some(no)) => (Failure::Connect(no.fault), Sent::No),
            (true, None) => (Failure::Connect(ConnectFault::Unreachable), Sent::No),
            (false, _) if causes(&error).any(<dyn StdError>::is::<NotProduced>) => {
                (Failure::NotProduced(progress.on_connection()), sent)
            }
            (false, _) if unprocessed => (Failure::Unprocessed(progress.on_connection()), sent),
            (false, _) => (Failure::Exchange(progress.on_connection()), sent),
        };
        Self::new(failure, Some(url.clone()), sent).because(error)
    }

    /// The breaker lets nothing through before `wait` has passed.
    pub(crate) fn breaker_open(url: Option<&Shown>, wait: Duration) -> Self {
        Self::new(Failure::BreakerOpen(wait), url.cloned(), Sent::No)
    }

    /// The same failure, after an earlier attempt of which it is not known whether it arrived.
    pub(crate) fn after_one_that_may_have_arrived(mut self) -> Self {
        if self.0.sent == Sent::No {
            self.0.sent = Sent::Maybe;
        }
        self
    }

    /// The response head was received; what followed was not usable.
    pub(crate) fn answered(url: &Shown, failure: Failure) -> Self {
        Self::new(failure, Some(url.clone()), Sent::Yes)
    }

    pub(crate) fn answered_because(
        url: &Shown,
        failure: Failure,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::answered(url, failure).because(source)
    }

    pub(crate) fn failure(&self) -> &Failure {
        &self.0.failure
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> Kind {
        match self.0.failure {
            Failure::Config(_) => Kind::Config,
            Failure::Request | Failure::NotProduced(_) => Kind::Request,
            Failure::Connect(_) | Failure::ConnectDeadline(..) => Kind::Connect,
            Failure::HeadDeadline(..) | Failure::BodyDeadline(_) | Failure::BodyIdle(_) => {
                Kind::Timeout
            }
            Failure::Exchange(_) | Failure::Unprocessed(_) | Failure::BodyBroken => Kind::Transport,
            Failure::BodyTooLarge(_) => Kind::BodyTooLarge,
            Failure::BodyCoding | Failure::Decode(_) => Kind::Decode,
            Failure::Status(_) => Kind::Status,
            Failure::BreakerOpen(_) => Kind::BreakerOpen,
        }
    }

    /// The step of the call in which it ended; `None` where nothing was begun: for settings and
    /// requests that are refused, and while the breaker is open.
    pub fn phase(&self) -> Option<Phase> {
        match self.0.failure {
            Failure::Config(_) | Failure::Request | Failure::BreakerOpen(_) => None,
            Failure::Connect(fault) => Some(fault.phase()),
            Failure::ConnectDeadline(_, phase)
            | Failure::HeadDeadline(_, phase)
            | Failure::Exchange(phase)
            | Failure::Unprocessed(phase)
            | Failure::NotProduced(phase) => Some(phase),
            Failure::BodyDeadline(_)
            | Failure::BodyIdle(_)
            | Failure::BodyTooLarge(_)
            | Failure::BodyBroken
            | Failure::BodyCoding
            | Failure::Decode(_)
            | Failure::Status(_) => Some(Phase::Body),
        }
    }

    /// Why there was no connection; `None` for other failures and where it only took too long.
    pub fn connect_fault(&self) -> Option<ConnectFault> {
        if let Failure::Connect(fault) = self.0.failure { Some(fault) } else { None }
    }

    /// The status of a response that [`Response::error_for_status`](crate::Response::error_for_status)
    /// made an error.
    pub fn status(&self) -> Option<StatusCode> {
        if let Failure::Status(status) = self.0.failure { Some(status) } else { None }
    }

    /// Whether the other side may have seen the request.
    pub fn was_sent(&self) -> Sent {
        self.0.sent
    }

    /// Where the request was going, as scheme, host, port and path; `None` where no such place is
    /// known.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_ref().map(Shown::as_str)
    }

    /// Whether something took too long, connecting included.
    pub fn is_timeout(&self) -> bool {
        match self.0.failure {
            Failure::ConnectDeadline(..)
            | Failure::HeadDeadline(..)
            | Failure::BodyDeadline(_)
            | Failure::BodyIdle(_) => true,
            Failure::Connect(_) => self.io_timed_out(),
            Failure::Config(_)
            | Failure::Request
            | Failure::Exchange(_)
            | Failure::Unprocessed(_)
            | Failure::NotProduced(_)
            | Failure::BodyTooLarge(_)
            | Failure::BodyBroken
            | Failure::BodyCoding
            | Failure::Decode(_)
            | Failure::Status(_)
            | Failure::BreakerOpen(_) => false,
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

    /// Whether the response body was not what was asked for.
    pub fn is_decode(&self) -> bool {
        self.kind() == Kind::Decode
    }

    fn io_timed_out(&self) -> bool {
        let timed_out = |cause: &(dyn StdError + 'static)| {
            let io = cause.downcast_ref::<io::Error>();
            io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut)
        };
        self.source().is_some_and(|source| causes(source).any(timed_out))
    }
}

/// Whether the other side of an HTTP/2 connection promised that it did not process the request: it
/// refused the stream, or closed the connection to streams from an earlier one on (RFC 9113, 8.7).
///
/// The same GOAWAY is also the error of a request that hyper was about to follow on its way, whatever
/// the stream it had got. Of that request hyper has not begun with the body yet; where it has, the error
/// is that of the stream, and only streams that were not processed get it.
fn is_unprocessed(error: &(dyn StdError + 'static), progress: &Progress) -> bool {
    // What is below the failure of our own body is of some other connection.
    let mut ours = causes(error).take_while(|cause| !cause.is::<NotProduced>());
    let Some(error) = ours.find_map(|cause| cause.downcast_ref::<h2::Error>()) else {
        return false;
    };
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || (error.is_go_away() && progress.body_asked_for()))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.0.url.as_ref().map_or("an unreadable url", Shown::as_str);
        match &self.0.failure {
            Failure::Config(what) => f.write_str(what),
            Failure::Request => write!(f, "the request to {url} cannot be sent"),
            Failure::Connect(fault) => f.write_str(&fault.sentence(url)),
            Failure::ConnectDeadline(timeout, phase) => {
                let phase = phase.as_str();
                write!(f, "there was no connection to {url} within {timeout:?} (phase {phase})")
            }
            Failure::HeadDeadline(timeout, Phase::Write) => {
                write!(f, "the request to {url} was not written within {timeout:?}")
            }
            Failure::HeadDeadline(timeout, _) => {
                write!(f, "there was no answer from {url} within {timeout:?}")
            }
            Failure::BodyDeadline(timeout) => {
                write!(f, "the answer from {url} was not complete within {timeout:?}")
            }
            Failure::BodyIdle(timeout) => {
                write!(f, "nothing more of the answer from {url} came for {timeout:?}")
            }
            Failure::Exchange(Phase::Write) => {
                write!(f, "the connection broke while the request to {url} was written")
            }
            Failure::Exchange(_) => write!(f, "the connection broke before {url} answered"),
            Failure::Unprocessed(_) => write!(f, "{url} turned the request away unprocessed"),
            Failure::NotProduced(_) => {
                write!(f, "the body of the request to {url} was not produced to its end")
            }
            Failure::BodyTooLarge(limit) => {
                write!(f, "the answer from {url} is larger than {limit} bytes")
            }
            Failure::BodyBroken => write!(f, "the answer from {url} broke off"),
            Failure::BodyCoding => write!(f, "the answer from {url} is not whole gzip data"),
            Failure::Decode(expected) => {
                write!(f, "the answer from {url} is not the expected {expected}")
            }
            Failure::Status(status) => write!(f, "{url} answered with {status}"),
            Failure::BreakerOpen(wait) => {
                write!(f, "{url} failed too often: it is left alone for {wait:?} more")
            }
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("sent", &self.0.sent)
            .field("failure", &self.0.failure)
            .field("url", &self.url())
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
