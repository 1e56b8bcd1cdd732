//! *Internal.*
//! Pure algebra: dots, causal contexts, entries and the order that picks a winner, the roster. No time, no IO.
//!
//! Replicated state is a causal context (which writes are known) and, per key, one winning [`Entry`]. Joining two
//! states is commutative, associative and idempotent, so it does not matter in which order or how often deltas arrive.

pub(crate) mod codec;
mod context;
mod dot;
mod entry;
mod record;
mod roster;

pub use context::{Context, Impossible};
pub use dot::Dot;
pub(crate) use entry::Encoded;
pub use entry::{Entry, Mark, Rank};
pub use record::{Key, Record, Value};
pub use roster::{Admission, Roster};
