//! What the driver drops or sees go wrong without telling the engine.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the start of the node.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Datagrams received on the node's own socket.
    pub datagrams_received: AtomicU64,
    /// Datagrams sent.
    pub datagrams_sent: AtomicU64,
    /// Datagrams dropped because the socket's buffer was full.
    pub datagrams_blocked: AtomicU64,
    /// Datagrams dropped because they exceed [`MAX_DATAGRAM`](crate::wire::MAX_DATAGRAM), in or out.
    pub datagrams_oversized: AtomicU64,
    /// Datagrams that the operating system would not send or receive for another reason.
    pub datagram_errors: AtomicU64,
    /// Beacons dropped because earlier ones were not looked at yet, or because this node does not use broadcast.
    pub beacons_dropped: AtomicU64,
    /// Streams closed because a frame exceeds [`MAX_FRAME`](crate::wire::MAX_FRAME), in or out.
    pub frames_oversized: AtomicU64,
    /// Streams closed because the peer did not read, or the engine did not wait for `Flushed`.
    pub streams_stalled: AtomicU64,
    /// Incoming streams closed because there were too many, or because no frame came in time.
    pub streams_refused: AtomicU64,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
