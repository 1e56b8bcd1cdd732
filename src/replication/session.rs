//! The two ends of a repair session.
//!
//! ```text
//!   requester                              responder
//!      │ pull { context | bucket hashes } ─▶ │  snapshot of context and rows
//!      │ ◀─ rows ─ rows ─ rows ─ …           │  at most WINDOW frames under way
//!      │ ◀─ end { context of the snapshot }  │
//!   join the context: only now
//! ```
//!
//! A session that breaks off commits nothing but the rows that arrived, each with its own dot. A frame never claims
//! more than it carries; that is what makes a partial transfer harmless.

use crate::crdt::Context;
use crate::store::{Hold, MAX_KEY, MAX_VALUE, Row, Serving};
use crate::wire::MAX_FRAME;

/// How many frames of rows are under way at once: enough to keep a stream busy, few enough to bound the queue.
pub const WINDOW: usize = 4;

/// How much a frame of rows holds, about. Small against the largest frame, so that other streams get their turn.
pub const FRAME_BYTES: usize = 128 << 10;

/// What a row takes beside its key and value, amply: names, numbers, and what it swallowed.
const ROW_BYTES: usize = MAX_KEY + MAX_VALUE + (16 << 10);

// The row that makes a frame full goes with it, and the store decides how large a row may be.
const _: () = assert!(FRAME_BYTES + ROW_BYTES <= MAX_FRAME);

/// The responder's end.
#[derive(Debug)]
pub struct Serve {
    /// Nothing, where the requester has everything.
    serving: Option<Serving>,
    context: Context,
    frame_bytes: usize,
    under_way: usize,
    ended: bool,
}

/// What the responder sends next.
#[derive(Debug)]
pub enum ServeNext {
    /// These rows.
    Rows(Vec<Row>),
    /// The end: there are no more rows.
    End(Context),
}

impl Serve {
    /// Begins to serve a snapshot, with about `frame_bytes` in a frame, at most [`FRAME_BYTES`].
    pub fn new(serving: Serving, frame_bytes: usize) -> Self {
        let (context, frame_bytes) = (serving.context().clone(), frame_bytes.min(FRAME_BYTES));
        Self { serving: Some(serving), context, frame_bytes, under_way: 0, ended: false }
    }

    /// Begins and ends with saying that nothing is known beyond this.
    pub fn nothing(context: Context) -> Self {
        Self { serving: None, context, frame_bytes: 0, under_way: 0, ended: false }
    }

    /// The next thing to send, while the window has room.
    pub fn poll(&mut self) -> Option<ServeNext> {
        if self.ended || self.under_way >= WINDOW {
            return None;
        }
        self.under_way += 1;
        let rows = self.serving.as_mut().and_then(|serving| serving.next_rows(self.frame_bytes));
        Some(match rows {
            Some(rows) => ServeNext::Rows(rows),
            None => {
                self.ended = true;
                ServeNext::End(self.context.clone())
            }
        })
    }

    /// What the responder knew when the session began.
    #[cfg(feature = "sabotage")]
    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// A frame left for the wire.
    pub fn flushed(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }
}

/// The requester's end.
#[derive(Debug, Default)]
pub struct Pull {
    /// Kept where contexts are ignored and buckets compared: a tombstone that was collected before the session ends
    /// could not keep out the row that it removed.
    pub buckets: Option<Hold>,
    /// How many rows arrived.
    pub rows: u64,
    /// How many of them were news.
    pub news: u64,
    /// How many were refused. The session then commits nothing: its end would claim rows that are not here.
    pub refused: u64,
    /// How many of them had been collected here as removed.
    pub resurrected: u64,
}
