//! *Internal.*
//! Which node runs what: a pure assignment, claims, and the state machine that starts and stops role tasks.
//!
//! ```text
//!  view, specs, claims ─▶ Picture ─▶ assign ─▶ Assignment ─┐
//!                            └─────────────────────────────┴─▶ Supervisor ─▶ own claims, start, stop
//!                                          reports of role tasks ──▲
//! ```
//!
//! Comes in: who is in the view and can build what, the role specs, every claim of a member of the view, whether the view
//! agrees. Goes out: which claims this node writes and which tasks it starts and stops. Nothing here knows how claims
//! travel or how agreement is found. The states of a claim are drawn at [`Supervisor`].

mod assign;
mod broken;
mod claim;
mod picture;
mod spec;
mod standing;
mod supervisor;
mod what_if;

use assign::assign_as;
pub(crate) use assign::explain;
pub use assign::{Assignment, Chosen, Explanation, GivenUp, HeldBack, Obstacle, Tenure, Weighed, assign};
pub(crate) use broken::assign_broken;
pub use claim::{Claim, ClaimState, FencingToken};
pub use picture::{Candidate, Holding, Picture};
pub use spec::{Handover, PartitionPolicy, Restarts, RoleSpec, RoleSpecError};
pub use supervisor::{Permit, RoleReport, RoleStart, Supervisor, SupervisorOutput};
pub(crate) use what_if::what_if;
pub use what_if::{Move, NewNode, WhatIf, WhatIfError};
