#![doc = include_str!("../README.md")]

mod bridge;
mod callsite;
mod carry;
mod chain;
mod context;
mod correlation;
mod escape;
mod extra;
mod filter;
mod format;
mod future;
mod init;
mod internal;
mod json;
mod json_members;
mod layer;
mod level;
mod logger;
mod macros;
mod record;
mod redact;
mod scope;
mod settings;
mod sink;
mod spans;
mod spawn;
mod text;
mod timestamp;
#[cfg(feature = "tower")]
pub mod tower;
mod trace_context;
mod truncate;
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

/// Used by the expansion of the macros; not covered by semantic versioning.
#[doc(hidden)]
pub mod __private {
    pub use tracing;

    pub use crate::carry::{AsField, Carried, Given, as_field, function_around};
    pub use crate::level::CRITICAL;
    pub use crate::logger::DYNAMIC;

    /// Traits that the macros bring into scope.
    pub mod carriers {
        pub use crate::carry::{
            CarriedAlways as _, CarriedAsError as _, CarriedAsValue as _, CarriedByTracing as _,
        };
    }
}
