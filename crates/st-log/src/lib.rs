#![doc = include_str!("../README.md")]

mod chain;
mod context;
mod correlation;
mod encode;
mod escape;
mod future;
mod init;
mod layer;
mod level;
mod logger;
mod output;
mod record;
pub mod scope;
mod settings;
mod spawn;
mod value;
mod visit;
mod writer;

pub use chain::Chain;
pub use context::{ContextGuard, LogContext};
pub use correlation::{
    CORRELATION_ID_HEADER, CorrelationId, InvalidCorrelationId, clear_correlation_id,
    current_correlation_id, get_correlation_id, set_correlation_id, with_correlation_id,
};
pub use future::{InScope, Scoped};
pub use init::{Error, Faults, LogGuard, LogHandle, init, init_from_env};
pub use layer::{LogLayer, layer};
pub use level::{Filter, InvalidFilter, Level};
pub use logger::{Logger, get_logger};
pub use scope::Scope;
pub use settings::{EnvFault, Format, InvalidFormat, Settings};
pub use spawn::{spawn, spawn_blocking};
pub use value::Value;

/// What the macros expand to; no promise is made about it.
#[doc(hidden)]
pub mod __private {
    pub use tracing;

    pub use crate::level::CRITICAL;
    pub use crate::logger::function_around;
}
