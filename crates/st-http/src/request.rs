//! A request while it is put together. Faults are kept until `send`, so that calls chain; the first
//! one is reported and nothing is sent.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
    USER_AGENT,
};
use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::Full;
use serde::Serialize;

use crate::client::{Limits, Outgoing};
use crate::error::Refused;
use crate::{Client, Error, Response, StreamingResponse};

/// One request; [`send`](Request::send) sends it once.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    client: Client,
    method: Method,
    target: Result<Uri, Refused>,
    /// The target as it may be shown.
    url: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    limits: Limits,
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
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        let limits = Limits::default();
        Self { client, method, target, url, headers, body, limits, fault }
    }

    /// Sets a header, in the place of an earlier one of the name. `X-Correlation-ID` is always that
    /// of the scope; `traceparent` is that of the scope where none is set here; `Content-Length` and `Transfer-Encoding` are refused, they follow the body.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let Ok(name) = name.try_into() else { return self.refuse(Refused::HeaderName) };
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
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

    /// Sets `Authorization: Bearer <token>`. The token is shown nowhere.
    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION, format!("Bearer {token}"))
    }

    /// Takes `value` as the JSON body, with its `Content-Type` unless one is set.
    pub fn json(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => {
                let json = HeaderValue::from_static("application/json");
                self.headers.entry(CONTENT_TYPE).or_insert(json);
                self.body(bytes.into())
            }
            Err(error) => self.refuse(Refused::Json(error)),
        }
    }

    /// Takes `bytes` as the body.
    pub fn body(mut self, bytes: Bytes) -> Self {
        self.body = bytes;
        self
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

    /// Sends it and reads the whole response. An HTTP status of any class is a [`Response`]; redirects
    /// are not followed. Dropping the future gives the request up, wherever it is.
    pub async fn send(self) -> Result<Response, Error> {
        let Sendable { client, request, url, limits } = self.sendable()?;
        client.send(request, &url, limits).await
    }

    /// Sends it and waits for the response head; the body is then read as it arrives. Otherwise as
    /// [`send`](Self::send).
    pub async fn open(self) -> Result<StreamingResponse, Error> {
        let Sendable { client, request, url, limits } = self.sendable()?;
        client.open(request, &url, limits).await
    }

    fn sendable(self) -> Result<Sendable, Error> {
        let Self { client, method, target, url, mut headers, body, limits, fault } = self;
        let (target, url) = match (target, fault, url) {
            (Ok(target), None, Some(url)) => (target, url),
            (Err(why), _, url) | (Ok(_), Some(why), url) => return Err(Error::refused(url, why)),
            (Ok(_), None, None) => return Err(Error::refused(None, Refused::Host)),
        };
        headers.entry(USER_AGENT).or_insert_with(|| client.user_agent());
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Ok(Sendable { client, request, url, limits })
    }

    fn refuse(mut self, why: Refused) -> Self {
        self.fault.get_or_insert(why);
        self
    }
}

/// A request with nothing wrong in it.
struct Sendable {
    client: Client,
    request: Outgoing,
    /// The target as it may be shown.
    url: String,
    limits: Limits,
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
