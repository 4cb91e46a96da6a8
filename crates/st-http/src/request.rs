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
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;

use crate::body::Content;
use crate::client::Limits;
use crate::error::Refused;
use crate::send::{self, Policies};
use crate::target::{Refusal, Shown, Target};
use crate::{Breakers, Client, Error, Response, Retries, StreamingResponse};

/// One request; [`send`](Request::send) sends it once, unless it is given a policy for repetitions.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    client: Client,
    /// Boxed, because each call in a chain moves it. The first fault is in its place.
    prepared: Result<Box<Prepared>, Box<Refusal>>,
    policies: Policies,
}

impl Request {
    pub(crate) fn new(client: Client, method: Method, url: &str) -> Self {
        let policies = Policies::default();
        let connect = method == Method::CONNECT;
        let prepared = Target::parse(url).map_err(Box::new).map(|target| {
            let (headers, content) = (HeaderMap::new(), Content::default());
            let limits = Limits::default();
            Box::new(Prepared { method, target, headers, content, limits, gzip: false })
        });
        let request = Self { client, prepared, policies };
        if connect { request.refuse(Refused::Method) } else { request }
    }

    /// Sets a header, in the place of an earlier one of the name. `X-Correlation-ID` is always that
    /// of the scope; `traceparent` is that of the scope where none is set here; `Content-Length` and
    /// `Transfer-Encoding` are refused, they follow the body, and so is `Host`, which follows the URL.
    pub fn header<N, V>(self, name: N, value: V) -> Self
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
        self.edit(|request| drop(request.headers.insert(name, value)))
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
        let shown = match &mut self.prepared {
            Ok(request) => Some(&mut request.target.shown),
            Err(refusal) => refusal.shown.as_mut(),
        };
        shown.into_iter().for_each(Shown::hide_path);
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
        let target = self.prepared.as_mut().ok().map(|request| &mut request.target);
        match target.map_or(Ok(()), |target| target.add_query(&added)) {
            Ok(()) => self,
            Err(why) => self.refuse(why),
        }
    }

    /// Uses `value` as the JSON body, with its `Content-Type` unless one is set.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.content_type("application/json").body(bytes.into()),
            Err(error) => self.refuse(Refused::Json(error)),
        }
    }

    /// Uses `pairs` as the body in the form of an HTML form, with its `Content-Type` unless one is
    /// set; they are as for [`query`](Self::query).
    pub fn form(self, pairs: &(impl Serialize + ?Sized)) -> Self {
        match serde_urlencoded::to_string(pairs) {
            Ok(text) => self.content_type("application/x-www-form-urlencoded").body(text.into()),
            Err(error) => self.refuse(Refused::Form(error)),
        }
    }

    /// Uses `bytes` as the body.
    pub fn body(self, bytes: Bytes) -> Self {
        self.edit(|request| request.content = Content::Whole(bytes))
    }

    /// Uses a body that is produced while it is sent, for what is too large to keep. It goes out with a
    /// `Content-Length` where the body knows its exact size, else in chunks, and can be sent once only:
    /// such a request is never repeated. When the body fails, the request fails with
    /// [`Kind::Request`](crate::Kind::Request).
    pub fn streaming_body<B>(self, body: B) -> Self
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.edit(|request| request.content = Content::streamed(body))
    }

    /// Asks for an answer that is compressed with gzip, and decompresses it. The limit of the body
    /// counts for what comes out, so that a small answer cannot fill the memory.
    pub fn gzip(self) -> Self {
        let asked = self.edit(|request| request.gzip = true);
        asked.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
    }

    /// Gives this request another overall timeout than the client's. The client's connect and attempt
    /// timeouts stay, so a longer one only leaves more time for the body.
    pub fn timeout(self, overall: Duration) -> Self {
        if overall.is_zero() {
            return self.refuse(Refused::Timeout);
        }
        self.edit(|request| request.limits.overall = Some(overall))
    }

    /// Gives this request another limit for the response body than the client's, in bytes. A larger
    /// body is an error with [`Error::is_body_too_large`].
    pub fn body_limit(self, bytes: usize) -> Self {
        self.edit(|request| request.limits.body = Some(bytes))
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
        let Self { client, prepared, policies } = self;
        send::send(&client, prepared.map_err(|refusal| refused(*refusal))?, policies).await
    }

    /// Sends it and waits for the response head; the body is then read as it arrives. Otherwise as
    /// [`send`](Self::send).
    pub async fn open(self) -> Result<StreamingResponse, Error> {
        let Self { client, prepared, policies } = self;
        send::send(&client, prepared.map_err(|refusal| refused(*refusal))?, policies).await
    }

    fn content_type(self, value: &'static str) -> Self {
        self.edit(|request| {
            request.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(value));
        })
    }

    fn edit(mut self, edit: impl FnOnce(&mut Prepared)) -> Self {
        if let Ok(request) = &mut self.prepared {
            edit(request);
        }
        self
    }

    fn refuse(self, why: Refused) -> Self {
        let prepared = self
            .prepared
            .and_then(|request| Err(Box::new(Refusal { shown: Some(request.target.shown), why })));
        Self { prepared, ..self }
    }
}

fn refused(Refusal { shown, why }: Refusal) -> Error {
    Error::refused(shown.as_ref(), why)
}

/// A request with nothing wrong in it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
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
        let mut target = Target::checked(head.uri);
        if secret_path {
            match &mut target {
                Ok(target) => target.shown.hide_path(),
                Err(refusal) => refusal.shown.iter_mut().for_each(Shown::hide_path),
            }
        }
        let target = target.map_err(refused)?;
        if head.method == Method::CONNECT {
            return Err(Error::refused(Some(&target.shown), Refused::Method));
        }
        let mut headers = head.headers;
        // They follow the body, and the host follows the URL.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        headers.remove(HOST);
        Ok(Self { method: head.method, target, headers, content, limits, gzip: false })
    }

    /// The same once more, if its body is there whole.
    pub(crate) fn again(&self) -> Option<Box<Self>> {
        let (method, target, headers) =
            (self.method.clone(), self.target.clone(), self.headers.clone());
        let (content, limits, gzip) = (self.content.again()?, self.limits, self.gzip);
        Some(Box::new(Self { method, target, headers, content, limits, gzip }))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.prepared {
            Ok(request) => f
                .debug_struct("Request")
                .field("method", &request.method)
                .field("url", &request.target.shown.as_str())
                // Names only: a key may be in any of the values.
                .field("headers", &request.headers.keys().collect::<Vec<_>>())
                .finish_non_exhaustive(),
            Err(refusal) => {
                f.debug_struct("Request").field("refused", &refusal.why).finish_non_exhaustive()
            }
        }
    }
}

/// What the client alone decides, by the body and the URL.
pub(crate) fn is_reserved(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn credentials_are_marked_as_sensitive_for_the_layers_below() {
        let client = Client::new(Config::default()).unwrap();
        let request = client.get("http://localhost/").bearer("secret").header("Cookie", "secret");

        let headers = request.prepared.unwrap().headers;
        assert_eq!(headers[AUTHORIZATION], "Bearer secret");
        assert!(headers.values().all(HeaderValue::is_sensitive));
    }
}
