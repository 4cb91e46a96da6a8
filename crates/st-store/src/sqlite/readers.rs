//! Connections that read beside the writer, each for one call at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct Readers {
    /// As many permits as there are connections.
    free: Arc<Semaphore>,
    /// The connections that nobody uses now. Held only to take one or to put it back.
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// Puts the connection back, also when the read panics.
struct Borrowed {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.connection.take());
    }
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let free = Arc::new(Semaphore::new(connections.len()));
        Self { free, idle: Arc::new(Mutex::new(connections)) }
    }

    /// Runs `read` on a thread that may block. It sees everything that was acknowledged before.
    pub(super) async fn read<T, F>(&self, what: &'static str, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit =
            Arc::clone(&self.free).acquire_owned().await.map_err(|_closed| Error::Closed)?;
        let idle = Arc::clone(&self.idle);
        let task = st_log::spawn_blocking(move || {
            let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let borrowed = Borrowed { connection, idle };
            let result = match &borrowed.connection {
                Some(connection) => snapshot(connection, what, read),
                None => Err(Error::Closed),
            };
            drop(borrowed);
            drop(permit);
            result
        });
        task.await.map_err(|stopped| Error::Database { operation: what, source: stopped.into() })?
    }
}

/// All statements of one read see one state of the database.
fn snapshot<T>(
    connection: &Connection,
    what: &'static str,
    read: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let transaction = connection.unchecked_transaction().map_err(super::failed(what))?;
    let result = read(&transaction)?;
    transaction.commit().map_err(super::failed(what))?;
    Ok(result)
}
