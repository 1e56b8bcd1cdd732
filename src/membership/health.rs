//! How far this node may trust its own judgement of others (Lifeguard, section 3: local health multiplier).
//!
//! A node that is starved of processor time or of network misses its own deadlines and everybody's acks. Before it
//! accuses others it takes more time. One whose probe fails while it hears others has no reason to doubt itself: it is the
//! member probed that is silent.

use std::time::Duration;

/// Worst score. Lifeguard uses 8; with periods this short, 4 is enough to sit out a pause.
const WORST: u32 = 4;

/// The score: 0 is well.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Health(u32);

impl Health {
    /// A deadline was missed, or an ack while nobody else was heard.
    pub(super) fn missed(&mut self) {
        self.0 = (self.0 + 1).min(WORST);
    }

    /// A probe was answered in time.
    pub(super) fn met(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// A time to wait for others, stretched.
    pub(super) fn stretch(self, span: Duration) -> Duration {
        span.saturating_mul(1 + self.0)
    }
}
