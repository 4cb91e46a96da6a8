//! The client of a described provider, which can be changed while the provider runs.

use std::sync::{Arc, PoisonError, RwLock};

use st_http::Client;

/// The client of a provider, to change it while the provider runs. Clones share it; a call that has begun
/// ends with the client that it began with.
#[derive(Debug, Clone)]
pub struct SharedClient {
    /// Guards which one is used now; never held during a call.
    current: Arc<RwLock<Client>>,
}

impl SharedClient {
    /// Calls are made with this client.
    pub fn new(client: Client) -> Self {
        Self { current: Arc::new(RwLock::new(client)) }
    }

    /// Makes calls with this client from now on.
    pub fn set(&self, client: Client) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// The client that calls are made with now.
    pub fn get(&self) -> Client {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
