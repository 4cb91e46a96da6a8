//! Named loggers.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

/// The target of events whose logger is known only when they happen.
pub const DYNAMIC: &str = "st_log::dynamic";

/// A name in the dotted hierarchy of loggers.
///
/// One made by [`get_logger`] is a constant, and an event of it costs nothing while its level is
/// off. One made by [`Logger::named`] has a name that is known only at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logger {
    name: &'static str,
}

impl Logger {
    /// The logger of a name that is known only at run time: of a plugin, of a tenant.
    ///
    /// Events take it as `dynamic_logger: logger`. Each name is kept until the program ends, so
    /// names must not come from requests.
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

    /// The name, as it stands in the record.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// The logger of this name, for a constant: `const LOG: Logger = get_logger("shop.orders");`.
pub const fn get_logger(name: &'static str) -> Logger {
    Logger { name }
}
