//! *Internal.*
//! When does everybody agree? Fingerprints of what role assignment reads, and a state machine that compares them.
//!
//! Comes in: the own fingerprint, the view, and the fingerprint that each member reports. Goes out: whether this node may
//! start what is missing (agreed, or impatient) and whether it may stop or move something (converged), and who holds
//! things up. What the bytes under a fingerprint mean is not known here: the engine feeds them in.
//!
//! ```text
//!                 every report of the view is equal             unchanged for `settle`
//!   disagreed ────────────────────────────────────▶ agreed ──────────────────────────▶ converged
//!       │  ▲                                           │                                  │
//!       │  └───── view or fingerprint changed, or a report differs: at once ──────────────┘
//!       ▼ after `patience`
//!   impatient: start what is missing, stop nothing
//! ```
//!
//! Each side of a partition agrees on its own: the view is its own side, and only reports of the view are looked at.

mod agreement;
mod fingerprint;

pub use agreement::{Agreement, Edge, Lag, PATIENCE};
pub use fingerprint::{Fingerprint, FingerprintBuilder};
