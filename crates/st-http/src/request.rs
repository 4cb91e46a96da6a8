//! A request while it is put together. Faults are kept until `send`, so that calls chain; the first
//! one is reported and nothing is sent.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST,
    PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::Serialize;

use crate::body::Content;
use crate::client::Limits;
use crate::error::Refused;
use crate::send::{self, Policies};
use crate::{Breakers, Client, Error, Response, Retries, StreamingResponse};

/// One request; [`send`](Request::send) sends it once, unless it is given a policy for repetitions.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    client: Client,
    method: Method,
    target: Result<Uri, Refused>,
    /// The target as it may be shown.
    url: Option<String>,
    headers: HeaderMap,
    content: Content,
    limits: Limits,
    gzip: bool,
    policies: Policies,
    fault: Option<Refused>,
}

impl Request {
    pub(crate) fn new(client: Client, method: Method, url: &str) -> Self {
        let fault = (method == Method::CONNECT).then_some(Refused::Method);
        let (target, url) = match url.parse::<Uri>() {
            Ok(uri) => {
                let shown = showable(&uri);
                (check(uri), shown)
            }
            Err(error) => (Err(Refused::Url(error)), None),
        };
        let (headers, content) = (HeaderMap::new(), Content::default());
        let (limits, gzip, policies) = (Limits::default(), false, Policies::default());
        Self { client, method, target, url, headers, content, limits, gzip, policies, fault }
    }

    /// Sets a header, in the place of an earlier one of the name. `X-Correlation-ID` is always that
    /// of the scope; `traceparent` is that of the scope where none is set here; `Content-Length` and
    /// `Transfer-Encoding` are refused, they follow the body, and so is `Host`, which follows the URL.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let Ok(name) = name.try_into() else { return self.refuse(Refused::HeaderName) };
        if is_reserved(&name) {
            return self.refuse(Refused::HeaderReserved(name));
        }
        let Ok(mut value) = value.try_into() else {
            return self.refuse(Refused::HeaderValue(name));
        };
        if [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(&name) {
            value.set_sensitive(true);
        }
        self.headers.insert(name, value);
        self
    }

    /// Sets a header whose value is a secret, such as `X-API-Key`: it is marked as one for the layers
    /// below, which then neither show it nor compress it. Otherwise as [`header`](Self::header).
    pub fn secret_header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let Ok(name) = name.try_into() else { return self.refuse(Refused::HeaderName) };
        let Ok(mut value) = value.try_into() else {
            return self.refuse(Refused::HeaderValue(name));
        };
        value.set_sensitive(true);
        self.header(name, value)
    }

    /// Says that the path of the URL is a secret, as those of many webhooks are: errors, `Debug` and the line
    /// in the log then show scheme, host and port alone.
    pub fn secret_path(mut self) -> Self {
        if let Ok(target) = &self.target {
            self.url = origin_of(target);
        } else {
            self.url = None;
        }
        self
    }

    /// Sets `Authorization: Bearer <token>`. The token is shown nowhere.
    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION, format!("Bearer {token}"))
    }

    /// Sets `Authorization: Basic <user:password>`. Neither is shown anywhere.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        if user.contains(':') {
            return self.refuse(Refused::UserName);
        }
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.header(AUTHORIZATION, format!("Basic {credentials}"))
    }

    /// Adds to the query of the URL: a list of pairs, a map or a struct with plain values, which are
    /// percent-encoded.
    pub fn query(mut self, pairs: &(impl Serialize + ?Sized)) -> Self {
        let added = match serde_urlencoded::to_string(pairs) {
            Ok(added) if added.is_empty() => return self,
            Ok(added) => added,
            Err(error) => return self.refuse(Refused::Query(error)),
        };
        self.target = self.target.and_then(|target| with_query(target, &added));
        self
    }

    /// Uses `value` as the JSON body, with its `Content-Type` unless one is set.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => {
                self.content_type("application/json");
                self.body(bytes.into())
            }
            Err(error) => self.refuse(Refused::Json(error)),
        }
    }

    /// Uses `pairs` as the body in the form of an HTML form, with its `Content-Type` unless one is
    /// set; they are as for [`query`](Self::query).
    pub fn form(mut self, pairs: &(impl Serialize + ?Sized)) -> Self {
        match serde_urlencoded::to_string(pairs) {
            Ok(text) => {
                self.content_type("application/x-www-form-urlencoded");
                self.body(text.into())
            }
            Err(error) => self.refuse(Refused::Form(error)),
        }
    }

    /// Uses `bytes` as the body.
    pub fn body(mut self, bytes: Bytes) -> Self {
        self.content = Content::Whole(bytes);
        self
    }

    /// Uses a body that is produced while it is sent, for what is too large to keep. It goes out with a
    /// `Content-Length` where the body knows its exact size, else in chunks, and can be sent once only:
    /// such a request is never repeated. When the body fails, the request fails with
    /// [`Kind::Request`](crate::Kind::Request).
    pub fn streaming_body<B>(mut self, body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.content = Content::streamed(body);
        self
    }

    /// Asks for an answer that is compressed with gzip, and decompresses it. The limit of the body
    /// counts for what comes out, so that a small answer cannot fill the memory.
    pub fn gzip(self) -> Self {
        let asked = Self { gzip: true, ..self };
        asked.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
    }

    /// Gives this request another overall timeout than the client's. The client's connect and attempt
    /// timeouts stay, so a longer one only leaves more time for the body.
    pub fn timeout(self, overall: Duration) -> Self {
        if overall.is_zero() {
            return self.refuse(Refused::Timeout);
        }
        let limits = Limits { overall: Some(overall), ..self.limits };
        Self { limits, ..self }
    }

    /// Gives this request another limit for the response body than the client's, in bytes. A larger
    /// body is an error with [`Error::is_body_too_large`].
    pub fn body_limit(self, bytes: usize) -> Self {
        let limits = Limits { body: Some(bytes), ..self.limits };
        Self { limits, ..self }
    }

    /// Sends it once more where `retries` says that this is safe and worth it. The overall timeout counts
    /// for all attempts and the pauses between them; no attempt begins when too little of it is left.
    pub fn retry(mut self, retries: &Retries) -> Self {
        self.policies.retries = Some(retries.clone());
        self
    }

    /// Declares that sending it twice does no more than sending it once, whatever its method is: it has
    /// an idempotency key, for instance.
    pub fn idempotent(mut self) -> Self {
        self.policies.idempotent = true;
        self
    }

    /// Sends it only while the breaker of its host is closed or wants a probe, and reports to it how each
    /// attempt ended. Otherwise it fails with [`Kind::BreakerOpen`](crate::Kind::BreakerOpen).
    pub fn breaker(mut self, breakers: &Breakers) -> Self {
        self.policies.breakers = Some(breakers.clone());
        self
    }

    /// Sends it and reads the whole response. An HTTP status of any class is a [`Response`]; redirects
    /// are not followed. Dropping the future gives the request up, wherever it is.
    pub async fn send(self) -> Result<Response, Error> {
        let (client, request, policies) = self.prepared()?;
        send::send(&client, request, policies).await
    }

    /// Sends it and waits for the response head; the body is then read as it arrives. Otherwise as
    /// [`send`](Self::send).
    pub async fn open(self) -> Result<StreamingResponse, Error> {
        let (client, request, policies) = self.prepared()?;
        send::send(&client, request, policies).await
    }

    fn prepared(self) -> Result<(Client, Prepared, Policies), Error> {
        let Self { client, method, target, url, headers, content, limits, gzip, policies, fault } =
            self;
        let (target, url) = match (target, fault, url) {
            (Ok(target), None, Some(url)) => (target, url),
            (Err(why), _, url) | (Ok(_), Some(why), url) => return Err(Error::refused(url, why)),
            (Ok(_), None, None) => return Err(Error::refused(None, Refused::Host)),
        };
        let request = Prepared { method, target, headers, content, url, limits, gzip };
        Ok((client, request, policies))
    }

    fn content_type(&mut self, value: &'static str) {
        self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(value));
    }

    fn refuse(mut self, why: Refused) -> Self {
        self.fault.get_or_insert(why);
        self
    }
}

/// A request with nothing wrong in it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// The target as it may be shown.
    pub(crate) url: String,
    pub(crate) limits: Limits,
    pub(crate) gzip: bool,
}

impl Prepared {
    /// A request that was put together elsewhere.
    #[cfg(feature = "tower")]
    pub(crate) fn checked(
        head: http::request::Parts,
        content: Content,
        limits: Limits,
        secret_path: bool,
    ) -> Result<Self, Error> {
        let shown = if secret_path { origin_of } else { showable };
        let url = shown(&head.uri);
        let refused = |why| Err(Error::refused(url.clone(), why));
        if head.method == Method::CONNECT {
            return refused(Refused::Method);
        }
        let target = match check(head.uri) {
            Ok(target) => target,
            Err(why) => return refused(why),
        };
        let mut headers = head.headers;
        // They follow the body, and the host follows the URL.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        headers.remove(HOST);
        let Some(url) = url else { return refused(Refused::Host) };
        Ok(Self { method: head.method, target, headers, content, url, limits, gzip: false })
    }

    /// The same once more, if its body is there whole.
    pub(crate) fn again(&self) -> Option<Self> {
        let (method, target, headers) =
            (self.method.clone(), self.target.clone(), self.headers.clone());
        let (content, url) = (self.content.again()?, self.url.clone());
        Some(Self { method, target, headers, content, url, limits: self.limits, gzip: self.gzip })
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        self.url.strip_suffix(self.target.path()).unwrap_or(&self.url)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.url)
            // Names only: a key may be in any of the values.
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Scheme, host, port and path: neither userinfo nor query, where secrets are.
fn showable(uri: &Uri) -> Option<String> {
    let (scheme, host, path) = (uri.scheme_str()?, uri.host()?, uri.path());
    Some(match uri.port() {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    })
}

/// What the client alone decides, by the body and the URL.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(name)
}

fn with_query(target: Uri, added: &str) -> Result<Uri, Refused> {
    let path_and_query = match target.query() {
        Some(query) if !query.is_empty() => format!("{}?{query}&{added}", target.path()),
        Some(_) | None => format!("{}?{added}", target.path()),
    };
    let mut parts = target.into_parts();
    let path_and_query = PathAndQuery::try_from(path_and_query).map_err(Refused::Url)?;
    parts.path_and_query = Some(path_and_query);
    // A URL that had all its parts still has them.
    Uri::from_parts(parts).ok().ok_or(Refused::Host)
}

/// Scheme, host and port.
pub(crate) fn origin_of(uri: &Uri) -> Option<String> {
    let mut url = showable(uri)?;
    url.truncate(url.len().saturating_sub(uri.path().len()));
    Some(url)
}

/// Refuses what the layers below would panic on, take for something else or drop in silence.
fn check(uri: Uri) -> Result<Uri, Refused> {
    if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
        return Err(Refused::Scheme);
    }
    let Some(authority) = uri.authority() else { return Err(Refused::Host) };
    if authority.as_str().contains('@') {
        return Err(Refused::Userinfo);
    }
    let host = authority.host();
    if host.is_empty() {
        return Err(Refused::Host);
    }
    // An impossible port would be read as none, and the request go to port 80.
    if authority.as_str() != host && authority.port_u16().is_none() {
        return Err(Refused::Port);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn credentials_are_marked_as_sensitive_for_the_layers_below() {
        let client = Client::new(Config::default()).unwrap();
        let request = client.get("http://localhost/").bearer("secret").header("Cookie", "secret");

        assert_eq!(request.headers[AUTHORIZATION], "Bearer secret");
        assert!(request.headers.values().all(HeaderValue::is_sensitive));
    }
}
