//! The built program, seen from outside.

mod events;
mod input;
mod local;
mod main_job;
mod start;
mod support;
