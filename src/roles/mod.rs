//! Which node runs what: a pure assignment, claims, and the state machine that starts and stops role tasks.

mod claim;
mod spec;

pub use claim::{Claim, ClaimState, FencingToken};
pub use spec::{RoleSpec, RoleSpecError};
