//! In a large cluster, what follows from many changes is brought up to date once for all of them.
//!
//! ```text
//!   input ─▶ the machine that it concerns ─▶ changed ─┬─ small cluster, or a pause since the last time ─▶ now
//!                                                     └─ else, together with whatever comes meanwhile ─▶ after the pause
//! ```
//!
//! The peers, the ring, the picture, the agreement and the status each take a look at every member. Where a thousand join
//! at once, each of them hears of thousands of changes within a second or two.

use super::Engine;
use super::timers::Timer;
use crate::replication::EAGER_TO_ALL;
use crate::time::Instant;

/// So many pauses make a settle time: short beside it, so that no agreement lasts on a picture that is out of date.
const PAUSES: u32 = 10;

/// When was everything brought up to date, and may it be now?
#[derive(Debug)]
pub(super) struct Pace {
    open: bool,
    last: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { open: true, last: None }
    }
}

impl Engine {
    /// An input begins. What this node itself does is looked at without a pause.
    pub(super) fn begin_turn(&mut self, own: bool) {
        let few = !self.is_crowd();
        let pause = self.config.timing.settle / PAUSES;
        let rested = self.pace.last.is_none_or(|last| self.now.instant.since(last) >= pause);
        self.pace.open = few || own || rested;
    }

    /// Whether there are so many members, in the roster or not, that nobody talks to all of them.
    pub(super) fn is_crowd(&self) -> bool {
        self.gossip.alive.len() > EAGER_TO_ALL
    }

    /// Whether to bring up to date what follows from changes, or to wait for more of them.
    pub(super) fn may_catch_up(&self) -> bool {
        self.pace.open
    }

    /// Something was brought up to date.
    pub(super) fn caught_up(&mut self) {
        self.pace.last = Some(self.now.instant);
    }

    /// An input ends: whatever has to wait is looked at after the pause.
    pub(super) fn end_turn(&mut self) {
        if let (false, true, Some(last)) = (self.pace.open, self.is_behind(), self.pace.last) {
            self.timers.set_earlier(Timer::CatchUp, last + self.config.timing.settle / PAUSES);
        }
    }

    /// Whether something changed that not everything has followed yet.
    fn is_behind(&self) -> bool {
        self.gossip.stale || self.work.is_stale() || self.status.dirty
    }

    /// What the agreement and the roles wait for is due: they must not act on a picture that is known to be out of date.
    pub(super) fn catch_up_for_work(&mut self) {
        let due = self.work.poll_timeout().is_some_and(|due| due <= self.now.instant);
        if due && !self.pace.open && self.is_behind() {
            self.pace.open = true;
            self.drain_membership();
            self.drain_outbox();
            self.drain_work();
        }
    }
}
