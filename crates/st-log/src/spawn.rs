//! Spawns tasks and threads that inherit the current scope.
//!
//! With tokio's and the standard library's own functions they start without a scope. For work that
//! outlives its caller, use `Scope::root().in_scope(|| spawn(..))`: otherwise its lines carry the
//! caller's ID as long as it runs.

use std::thread;

use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::future::InScope;
use crate::scope::Scope;

/// [`tokio::spawn`] for a future that runs in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the future has its scope")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.in_current_scope())
}

/// [`tokio::task::spawn_local`] for a future that runs in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the future has its scope")]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    tokio::task::spawn_local(future.in_current_scope())
}

/// [`tokio::task::spawn_blocking`] for a closure that runs in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the closure has its scope")]
pub fn spawn_blocking<R, W>(work: W) -> JoinHandle<R>
where
    W: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    tokio::task::spawn_blocking(in_current_scope(work))
}

/// [`std::thread::spawn`] for a closure that runs in the current scope.
#[expect(clippy::disallowed_methods, reason = "the closure has its scope")]
pub fn spawn_thread<R, W>(work: W) -> thread::JoinHandle<R>
where
    W: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    thread::spawn(in_current_scope(work))
}

/// Wraps a closure so that it runs in the current scope wherever it is called: on a thread of a
/// [`thread::Builder`] or a pool, or in a callback.
pub fn in_current_scope<R>(work: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let scope = Scope::capture();
    move || scope.in_scope(work)
}

/// Extends [`JoinSet`] with functions that spawn in the current scope.
pub trait SpawnInScope<T> {
    /// [`JoinSet::spawn`], in the current scope.
    fn spawn_in_scope<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send;

    /// [`JoinSet::spawn_local`], in the current scope.
    fn spawn_local_in_scope<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static;

    /// [`JoinSet::spawn_blocking`], in the current scope.
    fn spawn_blocking_in_scope<W>(&mut self, work: W) -> AbortHandle
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send;
}

#[expect(clippy::disallowed_methods, reason = "futures and closures have their scope")]
impl<T: 'static> SpawnInScope<T> for JoinSet<T> {
    #[track_caller]
    fn spawn_in_scope<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.spawn(future.in_current_scope())
    }

    #[track_caller]
    fn spawn_local_in_scope<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.spawn_local(future.in_current_scope())
    }

    #[track_caller]
    fn spawn_blocking_in_scope<W>(&mut self, work: W) -> AbortHandle
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.spawn_blocking(in_current_scope(work))
    }
}
