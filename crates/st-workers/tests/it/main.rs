//! The workers, seen from outside: on a store in memory, a provider in memory and paused time.

mod dispatch;
mod driver;
mod expirer;
mod local;
mod poller;
mod replicate;
mod support;
