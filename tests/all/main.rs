//! The integration tests, as one program: one link instead of many.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the ban on reading clocks is for the library's core")]

mod architecture;
mod canaries;
mod clocks;
mod elsewhere;
mod engines;
mod messages;
mod operate;
mod parking;
mod processes;
mod pushes;
mod roles;
mod scenarios;
mod schedule;
mod servers;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod test_cluster;
mod trials;
mod undecided;

/// The rules to be broken, as the environment says: `UNISONO_VARIANT=bare-session,commit-past-refused`.
fn broken() -> Vec<unisono::sabotage::Rule> {
    let names = std::env::var("UNISONO_VARIANT").unwrap_or_default();
    names.split_terminator(',').map(|name| name.parse().expect("a broken variant")).collect()
}
