//! The integration tests, as one program: one link instead of many.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core")]

mod architecture;
mod engines;
mod processes;
mod scenarios;
mod schedule;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod trials;
