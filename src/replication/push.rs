//! Rows on their way over streams, where there are more of them than datagrams carry.
//!
//! ```text
//!   outbox ─▶ frame, encoded once for all ─▶ [ 17 18 19 20 21 22 ]   the backlog, of bounded size
//!                                              ▲ slow    ▲ fast      each peer has its place, and a window
//! ```
//!
//! Frames are let go when all have them. Who holds the others up when the backlog is full loses his place: his stream is
//! closed, which tells him that something is missing, and a session brings it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::WINDOW;
use crate::time::Instant;

/// So many bytes of frames wait for the peers. Enough to keep streams busy while processes wait for their turn; more
/// would only make rows older.
pub const BACKLOG_BYTES: usize = 8 << 20;

/// So many datagrams of rows may go to each peer at once: what the socket's buffer holds on most systems (208 KiB on
/// Linux, of which a datagram takes more than its length).
const AT_ONCE: u64 = 64;

/// And so many in the long run.
const PER_SECOND: u64 = 4_000;

/// How many datagrams are worth sending; beyond that rows are better pushed.
#[derive(Debug)]
pub struct Allowance {
    left: u64,
    filled: Instant,
}

impl Allowance {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, filled: now }
    }

    /// Whether so many datagrams may be sent; if not, nothing is taken.
    pub fn take(&mut self, now: Instant, datagrams: usize) -> bool {
        const EACH: u128 = Duration::from_secs(1).as_nanos() / PER_SECOND as u128;
        let gained = u64::try_from(now.since(self.filled).as_nanos() / EACH).unwrap_or(u64::MAX);
        if gained > 0 {
            self.left = AT_ONCE.min(self.left.saturating_add(gained));
            self.filled = now;
        }
        let rest = self.left.checked_sub(datagrams as u64);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }
}

/// Frames that not all peers have yet. They are counted for ever.
#[derive(Debug, Default)]
pub struct Backlog {
    frames: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
}

impl Backlog {
    /// Adds a frame.
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Whether more frames are to be added now.
    pub fn has_room(&self) -> bool {
        self.bytes < BACKLOG_BYTES
    }

    /// The number of the oldest frame.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next frame will have.
    pub fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Lets go all frames before this one.
    pub fn forget_before(&mut self, number: u64) {
        while self.first < number
            && let Some(frame) = self.frames.pop_front()
        {
            self.bytes -= frame.len();
            self.first += 1;
        }
    }

    fn get(&self, number: u64) -> Option<&Bytes> {
        self.frames.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// The place of one peer.
#[derive(Debug)]
pub struct Push {
    next: u64,
    under_way: usize,
}

impl Push {
    /// Begins with this frame.
    pub fn new(first: u64) -> Self {
        Self { next: first, under_way: 0 }
    }

    /// The next frame to send, while the window has room.
    pub fn poll(&mut self, backlog: &Backlog) -> Option<Bytes> {
        let frame = backlog.get(self.next).filter(|_| self.has_room())?.clone();
        self.next += 1;
        self.under_way += 1;
        Some(frame)
    }

    /// A frame left for the wire.
    pub fn flushed(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Whether the window has room.
    pub fn has_room(&self) -> bool {
        self.under_way < WINDOW
    }

    /// The number of the frame that is to be sent next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether something was sent that did not leave yet.
    pub fn is_waiting(&self) -> bool {
        self.under_way > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    #[test]
    fn a_peer_gets_each_frame_once_and_in_order_within_its_window() {
        let mut backlog = Backlog::default();
        (0..6).for_each(|length| backlog.push(frame(length)));
        let mut push = Push::new(1);
        let lengths = |push: &mut Push, backlog: &Backlog| -> Vec<usize> {
            std::iter::from_fn(|| push.poll(backlog)).map(|frame| frame.len()).collect()
        };
        assert_eq!(lengths(&mut push, &backlog), [1, 2, 3, 4]);
        assert!(push.is_waiting());
        push.flushed();
        assert_eq!(lengths(&mut push, &backlog), [5]);
        assert_eq!((push.next(), backlog.end()), (6, 6));
    }

    #[test]
    fn the_backlog_is_full_until_its_oldest_frames_are_let_go() {
        let mut backlog = Backlog::default();
        while backlog.has_room() {
            backlog.push(frame(BACKLOG_BYTES / 8));
        }
        assert_eq!((backlog.first(), backlog.end()), (0, 8));
        backlog.forget_before(1);
        assert!(backlog.has_room());
        backlog.forget_before(100);
        assert_eq!((backlog.first(), backlog.end(), backlog.bytes), (8, 8, 0));
        assert!(Push::new(3).poll(&backlog).is_none(), "what was let go does not come back");
    }

    #[test]
    fn an_allowance_is_used_up_by_a_burst_and_by_a_rate_that_lasts() {
        let start = Instant::ZERO;
        let mut allowance = Allowance::new(start);
        assert!(allowance.take(start, 64) && !allowance.take(start, 1));
        let second = start + Duration::from_secs(1);
        assert!(!allowance.take(second, 65) && allowance.take(second, 64));
        let lasts = |per_second: u32| {
            let mut allowance = Allowance::new(start);
            let each = Duration::from_secs(1) / per_second;
            (0..10_000).all(|number| allowance.take(start + each * number, 1))
        };
        assert!(lasts(3_900) && !lasts(4_200));
    }
}
