//! Named loggers and the macros that log to them.
//!
//! The macros end in `tracing::event!`, so other subscribers see ordinary events. A disabled event
//! evaluates none of its arguments.

/// A name in the dotted hierarchy of loggers. Made by [`get_logger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logger {
    name: &'static str,
}

impl Logger {
    /// The name, as it stands in the record.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// The logger of this name, for a constant: `const LOG: Logger = get_logger("shop.orders");`.
pub const fn get_logger(name: &'static str) -> Logger {
    Logger { name }
}

/// Logs at DEBUG.
///
/// `logger: LOG` comes first and may be left out for the module's own logger; fields follow as in
/// `tracing`: `key = value`, `%display`, `?debug`, `variable`; the message is last.
#[macro_export]
macro_rules! debug {
    ($($event:tt)+) => { $crate::__event!([] DEBUG, $($event)+) };
}

/// Logs at INFO; see [`debug!`](crate::debug).
#[macro_export]
macro_rules! info {
    ($($event:tt)+) => { $crate::__event!([] INFO, $($event)+) };
}

/// Logs at WARNING; see [`debug!`](crate::debug).
#[macro_export]
macro_rules! warning {
    ($($event:tt)+) => { $crate::__event!([] WARN, $($event)+) };
}

/// Logs at ERROR; see [`debug!`](crate::debug).
#[macro_export]
macro_rules! error {
    ($($event:tt)+) => { $crate::__event!([] ERROR, $($event)+) };
}

/// Logs at CRITICAL; see [`debug!`](crate::debug). Other subscribers see an ERROR.
#[macro_export]
macro_rules! critical {
    ($($event:tt)+) => {
        $crate::__event!([name: $crate::__private::CRITICAL,] ERROR, $($event)+)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __event {
    ([$($name:tt)*] $level:ident, logger: $logger:expr, $($event:tt)+) => {
        $crate::__private::tracing::event!(
            $($name)*
            target: $logger.name(),
            $crate::__private::tracing::Level::$level,
            code.function.name = $crate::__function!(),
            $($event)+
        )
    };
    ([$($name:tt)*] $level:ident, $($event:tt)+) => {
        $crate::__private::tracing::event!(
            $($name)*
            target: ::core::module_path!(),
            $crate::__private::tracing::Level::$level,
            code.function.name = $crate::__function!(),
            $($event)+
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    () => {{
        // An item has the path of the function around it, whatever that one's generics are.
        fn here() {}
        $crate::__private::function_around(&here)
    }};
}

/// The name of the function in which an item was declared.
pub fn function_around<T>(item: &T) -> &'static str {
    let _ = item;
    let path = std::any::type_name::<T>();
    let mut segments = path.rsplit("::").skip(1).filter(|it| *it != "{{closure}}");
    segments.next().unwrap_or(path)
}
