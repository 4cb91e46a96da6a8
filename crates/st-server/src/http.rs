//! The server's side of HTTP, whatever the resource: connections, middleware, extractors and
//! problems.

pub(crate) mod extract;
pub(crate) mod listen;
pub(crate) mod middleware;
pub(crate) mod peer;
pub(crate) mod problem;
