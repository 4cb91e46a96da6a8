//! The logging macros.
//!
//! They expand to `tracing::event!`, so that other subscribers see ordinary events. A disabled
//! event does not evaluate its arguments.

/// Logs at DEBUG.
///
/// `logger: LOG` comes first; the default is a logger named after the module. A logger that is not
/// a constant is passed as `dynamic_logger: logger`. Fields follow as in `tracing`: `key = value`,
/// `%display`, `?debug`, `variable`; the message is last.
///
/// Values may be of any type that `tracing` or [`ToValue`](crate::ToValue) supports, or any error:
/// it becomes the record's `exception`.
///
/// ```
/// # const LOG: st_log::Logger = st_log::get_logger("shop.orders");
/// # let input = serde_json::json!({"steps": 10});
/// # let error = std::io::Error::other("disk full");
/// st_log::debug!(logger: LOG, input, ratio = 0.1_f32, next = None::<u32>, "Order {} read", 4711);
/// st_log::error!(logger: LOG, error, "Order not stored");
/// ```
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
        $crate::__fields!({ [$($name)*] $level [$logger.name()] }
            [code.function.name = $crate::__function!(),] $($event)+)
    };
    ([$($name:tt)*] $level:ident, dynamic_logger: $logger:expr, $($event:tt)+) => {
        $crate::__fields!({ [$($name)*] $level [$crate::__private::DYNAMIC] }
            [log.logger = $logger.name(), code.function.name = $crate::__function!(),] $($event)+)
    };
    ([$($name:tt)*] $level:ident, $($event:tt)+) => {
        $crate::__fields!({ [$($name)*] $level [::core::module_path!()] }
            [code.function.name = $crate::__function!(),] $($event)+)
    };
}

/// Converts the fields one by one, so that values of types that `tracing` does not support can be
/// passed; the rest is the message.
#[doc(hidden)]
#[macro_export]
macro_rules! __fields {
    ($to:tt [$($done:tt)*] $($key:ident).+ = ?$value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $($key).+ = ?$value,] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] $($key:ident).+ = %$value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $($key).+ = %$value,] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] $($key:ident).+ = $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $($key).+ = $crate::__value!($value),] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] $key:literal = ?$value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $key = ?$value,] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] $key:literal = %$value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $key = %$value,] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] $key:literal = $value:expr $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $key = $crate::__value!($value),] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] ?$($key:ident).+ $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* ?$($key).+,] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] %$($key:ident).+ $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* %$($key).+,] $($($rest)*)?)
    };
    ($to:tt [$($done:tt)*] $($key:ident).+ $(, $($rest:tt)*)?) => {
        $crate::__fields!($to [$($done)* $($key).+ = $crate::__value!($($key).+),] $($($rest)*)?)
    };
    ({ [$($name:tt)*] $level:ident [$target:expr] } [$($fields:tt)*]) => {{
        use $crate::__private::carriers::*;
        $crate::__private::tracing::event!(
            $($name)* target: $target, $crate::__private::tracing::Level::$level, { $($fields)* }
        )
    }};
    ({ [$($name:tt)*] $level:ident [$target:expr] } [$($fields:tt)*] $($message:tt)+) => {{
        use $crate::__private::carriers::*;
        $crate::__private::tracing::event!(
            $($name)* target: $target, $crate::__private::tracing::Level::$level,
            { $($fields)* }, $($message)+
        )
    }};
}

/// A single expression, so that its temporaries live as long as the event.
#[doc(hidden)]
#[macro_export]
macro_rules! __value {
    ($value:expr) => {
        $crate::__private::as_field(&(&&&&$crate::__private::Given(&$value)).__carry())
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __function {
    () => {{
        // The type name of a nested item contains the path of the enclosing function.
        fn here() {}
        $crate::__private::function_around(&here)
    }};
}
