//! One table of timers, one deadline out.

use crate::time::Instant;

/// The engine's own timers. Subsystems with timers of their own are asked for theirs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Timer {
    /// Try to join, or form a cluster of one.
    Join,
    /// Send digests.
    Digest,
    /// Pass on rows that were news.
    Forward,
    /// Push the rows that were gathered.
    Push,
    /// Report the fingerprint that was held back.
    Report,
    /// Bring up to date what follows from changes that were gathered.
    CatchUp,
    /// Look for holes in the context that are old enough to repair.
    Holes,
    /// Housekeeping: tombstones, evictions, sessions that hang.
    Tick,
    /// Ask those that somebody who awaits convergence, or who leaves, is waiting for.
    Probe,
    /// Offer to build roles again.
    Ready,
    /// End rows whose time is over.
    Expiry,
    /// Stop waiting for a handover, and leave.
    LeavePatience,
}

const TIMERS: usize = Timer::LeavePatience as usize + 1;

/// When each timer is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: [Option<Instant>; TIMERS],
}

impl Timers {
    /// Sets a timer, also where it was set before.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.due[timer as usize] = Some(at);
    }

    /// Sets a timer unless it is due earlier.
    pub(super) fn set_earlier(&mut self, timer: Timer, at: Instant) {
        let due = &mut self.due[timer as usize];
        *due = Some(due.map_or(at, |before| before.min(at)));
    }

    /// Whether a timer is set.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize].is_some()
    }

    /// Stops a timer.
    pub(super) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    /// Whether a timer is due; it is then stopped.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let due = &mut self.due[timer as usize];
        let is_due = due.is_some_and(|at| at <= now);
        if is_due {
            *due = None;
        }
        is_due
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.iter().flatten().min().copied()
    }
}
