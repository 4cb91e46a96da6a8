//! Starting work on the runtime without losing the scope.

use tokio::task::JoinHandle;

use crate::future::InScope;
use crate::scope::Scope;

/// [`tokio::spawn`] for a future that stays in the current scope.
///
/// Work that outlives its starter takes
/// `Scope::root().in_scope(|| spawn(..))` instead, or its lines carry that one's ID for ever.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the future is in its scope")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.in_current_scope())
}

/// [`tokio::task::spawn_blocking`] for work that stays in the current scope.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the work is in its scope")]
pub fn spawn_blocking<R, W>(work: W) -> JoinHandle<R>
where
    W: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let scope = Scope::capture();
    tokio::task::spawn_blocking(move || scope.in_scope(work))
}
