//! *Internal.*
//! How busy is each node? Samples of an application, the score that they make, when they are worth telling, and who is
//! to be given work.
//!
//! ```text
//!   signals! ─▶ Spec, typed methods ─▶ Gauge ── one atomic each ──┐
//!                                                                 ▼
//!   cpu, memory ─────────────────────────────────────────────▶ Board ── once a second ─▶ Publisher ─▶ a row, or nothing
//!
//!   the rows of all members, how many roles each hosts ─▶ NodeLoad ─▶ AllocationList ─▶ least busy, or one by chance
//! ```
//!
//! In come samples, from any thread, and the parts that other nodes published. Out go parts worth telling, and members in
//! the order of their load. Nothing here knows how rows travel, who is alive or what time it is; chance is handed in.

mod allocate;
mod board;
mod bucket;
mod declare;
mod gauge;
mod publish;
mod score;
mod spec;

pub use allocate::{AllocationList, NodeLoad};
pub use board::{Board, Signals, SignalsError};
pub use bucket::LoadBucket;
pub use gauge::{Gauge, Held, SampleError};
pub use publish::{PAUSE, Publisher, TABLE, decode, encode};
pub use score::{Part, buckets, score};
pub use spec::{SignalKind, Spec};
