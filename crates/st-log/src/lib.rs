#![doc = include_str!("../README.md")]

mod bridge;
mod carry;
mod chain;
mod context;
mod correlation;
mod draft;
mod escape;
mod extra;
mod filter;
mod fit;
mod format;
mod future;
mod init;
mod json;
mod layer;
mod level;
mod logger;
mod macros;
mod members;
mod own;
mod redact;
mod scope;
mod settings;
mod sink;
mod site;
mod spans;
mod spawn;
mod stamp;
mod text;
#[cfg(feature = "tower")]
pub mod tower;
mod trace_context;
mod value;
mod visit;

pub use carry::json;
pub use chain::Chain;
pub use context::{ContextGuard, LogContext};
pub use correlation::{
    CORRELATION_ID_HEADER, CorrelationId, InvalidCorrelationId, clear_correlation_id,
    current_correlation_id, get_correlation_id, set_correlation_id, with_correlation_id,
};
pub use escape::is_unprintable;
pub use filter::{Filter, InvalidFilter};
pub use future::{InScope, Scoped};
pub use init::{Error, Faults, LogGuard, LogHandle, init, init_from_env, open};
pub use layer::{LogLayer, layer};
pub use level::Level;
pub use logger::{Logger, get_logger};
pub use redact::Redaction;
pub use scope::Scope;
pub use settings::{EnvFault, Format, InvalidFormat, Overflow, Settings, Writer};
pub use spawn::{SpawnInScope, in_current_scope, spawn, spawn_blocking, spawn_local, spawn_thread};
pub use trace_context::{
    InvalidTraceParent, TRACEPARENT_HEADER, TRACESTATE_HEADER, TraceContext, current_trace_context,
    with_trace_context,
};
pub use value::{Json, ToValue, Value};

/// What the macros expand to; no promise is made about it.
#[doc(hidden)]
pub mod __private {
    pub use tracing;

    pub use crate::carry::{AsField, Carried, Given, as_field, function_around};
    pub use crate::level::CRITICAL;
    pub use crate::logger::DYNAMIC;

    /// In scope wherever an event is.
    pub mod carriers {
        pub use crate::carry::{
            CarriedAlways as _, CarriedAsError as _, CarriedAsValue as _, CarriedByTracing as _,
        };
    }
}
