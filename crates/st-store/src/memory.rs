//! Under construction.
/// Placeholder.
#[derive(Debug)]
pub struct MemoryStore;
