//! The server's side of HTTP, whatever the resource: connections, middleware, extractors and
//! problems.

pub(crate) mod extract;
pub(crate) mod front;
pub(crate) mod lane;
pub(crate) mod listen;
pub(crate) mod meter;
pub(crate) mod middleware;
pub(crate) mod page;
pub(crate) mod paths;
pub(crate) mod peer;
pub(crate) mod problem;
mod refused;
pub(crate) mod route;
mod seats;
pub(crate) mod site;
pub(crate) mod sse;
