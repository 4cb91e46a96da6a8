//! Loggers, which are dotted names such as `shop.orders`.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// The target of events whose logger is known only at run time.
pub const DYNAMIC: &str = "st_log::dynamic";

/// A name in the dotted hierarchy of loggers.
///
/// One created by [`get_logger`] is a constant, and its disabled events cost nothing. One created
/// by [`Logger::named`] has a name that is known only at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logger {
    name: &'static str,
}

impl Logger {
    /// Creates a logger whose name is known only at run time, such as that of a plugin or tenant.
    ///
    /// Events take it as `dynamic_logger: logger`. Each distinct name is leaked, so names must not
    /// come from requests.
    pub fn named(name: &str) -> Self {
        static NAMES: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());
        let known = NAMES.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
        let name = known.unwrap_or_else(|| {
            let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = names.get(name) {
                return known;
            }
            let name: &'static str = String::from(name).leak();
            names.insert(name);
            name
        });
        Self { name }
    }

    /// The name, unchanged from what was given.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// Creates a logger, for use in a constant: `const LOG: Logger = get_logger("shop.orders");`.
pub const fn get_logger(name: &'static str) -> Logger {
    Logger { name }
}
