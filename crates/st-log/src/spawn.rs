//! Starting work elsewhere without losing the scope.
//!
//! Tokio and the standard library start what they start without any scope, by design. What is
//! started with these functions stays in the scope of its starter. Work that outlives its starter
//! takes `Scope::root().in_scope(|| spawn(..))` instead, or its lines carry that one's ID for ever.

use std::thread;

use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::future::InScope;
use crate::scope::Scope;

/// [`tokio::spawn`] for a future that stays in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the future is in its scope")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.in_current_scope())
}

/// [`tokio::task::spawn_local`] for a future that stays in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the future is in its scope")]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    tokio::task::spawn_local(future.in_current_scope())
}

/// [`tokio::task::spawn_blocking`] for work that stays in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the work is in its scope")]
pub fn spawn_blocking<R, W>(work: W) -> JoinHandle<R>
where
    W: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    tokio::task::spawn_blocking(in_current_scope(work))
}

/// [`std::thread::spawn`] for work that stays in the current scope.
#[expect(clippy::disallowed_methods, reason = "the work is in its scope")]
pub fn spawn_thread<R, W>(work: W) -> thread::JoinHandle<R>
where
    W: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    thread::spawn(in_current_scope(work))
}

/// Work that stays in the current scope wherever it is called: on a [`thread::Builder`]'s or a
/// pool's thread, in a callback.
pub fn in_current_scope<R>(work: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let scope = Scope::capture();
    move || scope.in_scope(work)
}

/// [`JoinSet`] for futures and work that stay in the current scope.
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

#[expect(clippy::disallowed_methods, reason = "the futures and the work are in their scope")]
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
