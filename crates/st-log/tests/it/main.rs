//! Tests of the crate through its public interface.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "what bare tasks and threads see is part of what is tested"
)]

mod capture;
#[cfg(feature = "tower")]
mod example;
mod functions;
mod hostile;
mod interleave;
mod levels;
mod lifecycle;
mod macros;
mod process;
mod random;
mod record;
mod scopes;
mod size;
mod spans;
mod strict;
#[cfg(feature = "tower")]
mod tower;
mod values;
