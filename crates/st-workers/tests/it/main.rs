//! The workers, seen from outside: on a store in memory, a provider in memory and paused time.

mod dispatch;
mod driver;
mod expirer;
mod poller;
mod support;
