//! With which client and which token calls are made. Both can be changed while the provider runs; a call
//! that has begun ends with what it began with.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use http::Method;
use st_http::{Client, Request};

use super::ApiToken;
use super::latest::Latest;
use super::secret::FetchedSecret;
use crate::provider::{Cause, Unavailable};

/// The client and the token of a provider, to change them while it runs. Clones share both.
#[derive(Clone)]
pub struct Access {
    /// Guards which ones are used now; never held during a call.
    current: Arc<RwLock<Arc<Held>>>,
}

/// A client and a token, with what was learned by means of them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) client: Client,
    pub(super) token: Option<ApiToken>,
    /// Guards the account's name as it was last learned with this token.
    username: Mutex<Option<String>>,
    pub(super) latest: Latest,
    pub(super) secret: FetchedSecret,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Access").field(&self.current()).finish()
    }
}

impl Access {
    /// Calls are made with these. Without a token none is made.
    pub fn new(client: Client, token: Option<ApiToken>) -> Self {
        Self { current: Arc::new(RwLock::new(Arc::new(Held::new(client, token, None)))) }
    }

    pub(super) fn current(&self) -> Arc<Held> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes calls with this token from now on; with `None` no more are made.
    pub fn set_token(&self, token: Option<ApiToken>) {
        self.replace(|held| (held.token != token).then(|| (held.client.clone(), token, None)));
    }

    /// Makes calls with this client from now on.
    pub fn set_client(&self, client: Client) {
        self.replace(|held| Some((client, held.token.clone(), held.username())));
    }

    /// The client that calls are made with now.
    pub fn client(&self) -> Client {
        self.current().client.clone()
    }

    /// Whether there is a token.
    pub fn has_token(&self) -> bool {
        self.current().token.is_some()
    }

    fn replace(
        &self,
        with: impl FnOnce(&Held) -> Option<(Client, Option<ApiToken>, Option<String>)>,
    ) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((client, token, username)) = with(&current) {
            *current = Arc::new(Held::new(client, token, username));
        }
    }
}

impl Held {
    fn new(client: Client, token: Option<ApiToken>, username: Option<String>) -> Self {
        Self {
            client,
            token,
            username: Mutex::new(username),
            latest: Latest::default(),
            secret: FetchedSecret::default(),
        }
    }

    /// The account's name, where it is known.
    pub(super) fn username(&self) -> Option<String> {
        self.username.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn learn(&self, username: &str) {
        let mut known = self.username.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(username.to_owned());
    }

    /// A request with the token; without one there is none.
    pub(super) fn request(&self, method: Method, url: &str) -> Result<Request, Unavailable> {
        match &self.token {
            Some(token) => Ok(self.client.request(method, url).bearer(&token.0)),
            None => Err(Unavailable::new(Cause::Credentials, "replicate has no token".to_owned())),
        }
    }
}
