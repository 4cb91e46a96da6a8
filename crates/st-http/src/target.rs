//! Where a request goes: the URL as it is used, and what may be shown of it.

use std::sync::Arc;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};

use crate::error::Refused;

/// The URL of a request, with nothing wrong in it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) shown: Shown,
}

/// Scheme, host, port and path of a URL: neither userinfo nor query, where secrets are.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    text: Arc<str>,
    /// How long the part before the path is.
    origin: usize,
}

/// A URL that no request goes to.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// `None` where the URL cannot be parsed, so that any part of it may be a secret.
    pub(crate) shown: Option<Shown>,
    pub(crate) why: Refused,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, Refusal> {
        match url.parse::<Uri>() {
            Ok(uri) => Self::checked(uri),
            Err(error) => Err(Refusal { shown: None, why: Refused::Url(error) }),
        }
    }

    pub(crate) fn checked(uri: Uri) -> Result<Self, Refusal> {
        match (fault(&uri), Shown::of(&uri)) {
            (None, Some(shown)) => Ok(Self { uri, shown }),
            (why, shown) => Err(Refusal { shown, why: why.unwrap_or(Refused::Host) }),
        }
    }

    /// Adds to the query.
    pub(crate) fn add_query(&mut self, added: &str) -> Result<(), Refused> {
        let path_and_query = match self.uri.query() {
            Some(query) if !query.is_empty() => format!("{}?{query}&{added}", self.uri.path()),
            Some(_) | None => format!("{}?{added}", self.uri.path()),
        };
        let mut parts = self.uri.clone().into_parts();
        let path_and_query = PathAndQuery::try_from(path_and_query).map_err(Refused::Url)?;
        parts.path_and_query = Some(path_and_query);
        // A URL that had all its parts still has them.
        self.uri = Uri::from_parts(parts).map_err(|_same_parts| Refused::Host)?;
        Ok(())
    }
}

impl Shown {
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (scheme, authority, path) = (uri.scheme_str()?, uri.authority()?, uri.path());
        let authority = authority.as_str();
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, rest)| rest);
        let length = scheme.len() + "://".len() + host_and_port.len() + path.len();
        let mut text = String::with_capacity(length);
        text.extend([scheme, "://", host_and_port]);
        let origin = text.len();
        text.push_str(path);
        Some(Self { text: text.into(), origin })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port.
    pub(crate) fn origin(&self) -> &str {
        self.text.get(..self.origin).unwrap_or(&self.text)
    }

    /// Leaves the path out, which is a secret.
    pub(crate) fn hide_path(&mut self) {
        self.text = self.origin().into();
    }
}

/// What the layers below would panic on, take for something else or drop in silence.
fn fault(uri: &Uri) -> Option<Refused> {
    if ![Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme()) {
        return Some(Refused::Scheme);
    }
    let Some(authority) = uri.authority() else { return Some(Refused::Host) };
    let authority = authority.as_str();
    if authority.contains('@') {
        return Some(Refused::Userinfo);
    }
    let before_port = if authority.starts_with('[') { "]:" } else { ":" };
    let (host, port) = authority.split_once(before_port).unwrap_or((authority, "80"));
    if host.is_empty() {
        return Some(Refused::Host);
    }
    // An impossible port would be read as none, and the request go to port 80.
    port.parse::<u16>().is_err().then_some(Refused::Port)
}
