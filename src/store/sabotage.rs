//! Rules broken on purpose: a test that does not notice is worth nothing.

use std::time::Duration;

/// Which rule of the collection of tombstones a store is to break.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// Tombstones are collected by age.
    AgeGc {
        /// How old a tombstone must be.
        age: Duration,
    },
    /// Tombstones are collected once every member has seen their dot, with no promise of time.
    DotGc,
    /// Reports made under an earlier roster still count.
    StaleReports,
}
