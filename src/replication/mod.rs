//! *Internal.*
//! How rows travel: eagerly in datagrams, and in repair sessions over streams where that failed.
//!
//! ```text
//!   local writes ─▶ eager::pack ─▶ datagrams to everybody, or to a few who forward what was news to them
//!        └ too many, or too large ─▶ push ─▶ streams to everybody
//!                                        │ lost, or too slow
//!                                        ▼
//!   digests ─────▶ scheduler ─▶ pull (requester) ◀── rows ── serve (responder)
//!   holes in the context ─▶─┘
//! ```
//!
//! Pure state machines: they are told what arrived and say what is due. Which peers there are, and the bytes of the
//! messages around the rows, are the engine's business.

mod clock;
mod codec;
mod eager;
mod push;
mod scheduler;
mod session;

pub use clock::{PeerClock, median_offset_ms};
pub use codec::Rows;
pub use eager::{EAGER_TO_ALL, FANOUT, Packed, pack, pack_all, targets, unpack};
pub use push::{Allowance, BACKLOG_BYTES, Backlog, Push};
pub use scheduler::{Compared, Due, Scheduler};
pub use session::{FRAME_BYTES, Pull, Serve, ServeNext, WINDOW};
