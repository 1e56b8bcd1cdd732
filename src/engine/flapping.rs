//! A member that flaps: the others find it Down again and again, and each time it comes back.
//!
//! ```text
//!   found Down, and back ── once ─▶ as before
//!                        ── again within half a minute ─▶ unready for 1, 2, 4 … 60 s ── five quiet minutes ─▶ as before
//! ```
//!
//! Each time, the roles that it hosted were started elsewhere; were it a candidate at once, they would move with every
//! turn. So it stays in the view, shares the tables and is reached as before, and asks that others build roles for a while.
//! Where no other can, it does: however many say so, no role is without a host for that.
//!
//! After a cut each side has found the other Down, and comes back to it. It is the one who was lost, and not the rest, who
//! held most of the others as Down; or nobody, as one does who stood still.
//!
//! A member whose packets are late is Down to the others again and again, and so are they to it, though it hears them. Alone
//! in its view it would start all roles beside those that run. So an unready member that hears others while it holds them as
//! Down is *late*: it builds nothing at all, and ends what it runs. The others live, and their side runs the roles.

use std::time::Duration;

use super::timers::Timer;
use super::{Engine, Event};
use crate::sabotage::Rule;
use crate::time::Instant;

/// Being found Down by several, who hear of each other a little later, is one time.
const ONE_TIME: Duration = Duration::from_secs(5);
/// Twice within this is flapping.
const SOON: Duration = Duration::from_secs(30);
/// The first wait; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// After this the next wait is the first again.
const QUIET: Duration = Duration::from_secs(300);

/// How this node came back, from being found Down, of late.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    /// When it began to come back the last time.
    last: Option<Instant>,
    wait: Option<Duration>,
    unready: bool,
    late: bool,
    any_down: Lately,
    most_down: Lately,
}

/// Something that is so, or was until some moment.
#[derive(Debug, Default)]
struct Lately {
    is: bool,
    until: Option<Instant>,
}

impl Lately {
    fn set(&mut self, now: Instant, is: bool) {
        if self.is {
            self.until = Some(now);
        }
        self.is = is;
    }

    fn was(&self, now: Instant) -> bool {
        self.is || self.until.is_some_and(|until| now.since(until) < ONE_TIME)
    }
}

impl Flapping {
    /// This node was lost and came back. Returns for how long it is unready from now on, if it flaps.
    fn came_back(&mut self, now: Instant) -> Option<Duration> {
        let since = self.last.map(|last| now.since(last));
        if since.is_some_and(|since| since < ONE_TIME) {
            return None;
        }
        self.last = Some(now);
        if since.is_none_or(|since| since > QUIET) {
            self.wait = None;
        }
        if since.is_none_or(|since| since > SOON) {
            return None;
        }
        let wait = self.wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LAST_WAIT));
        self.wait = Some(wait);
        Some(wait)
    }
}

impl Engine {
    /// Whether others should rather build roles.
    pub(super) fn is_unready(&self) -> bool {
        self.flapping.unready
    }

    /// Whether this node builds nothing, since it answers too late.
    pub(super) fn is_late(&self) -> bool {
        self.flapping.late
    }

    /// Judges whether this node is late; says so when that changes.
    pub(super) fn judge_lateness(&mut self) {
        let late = self.flapping.unready && self.hears_the_down() && !self.sabotage.breaks(Rule::LateHosts);
        if std::mem::replace(&mut self.flapping.late, late) != late && self.formed() && self.leaving.is_none() {
            self.declare_self();
        }
    }

    /// Whether a member that is held as Down was heard a short time ago. One that a cut keeps away was not heard for a whole
    /// suspicion before it was found Down, so the cut is taken for lateness for another one at the most.
    fn hears_the_down(&self) -> bool {
        let lately = self.config.timing.membership.suspicion * 2;
        let mut down = self.down_since.keys().filter(|replica| self.roster.is_admitted(**replica));
        down.any(|replica| self.swim.heard(*replica).is_some_and(|heard| self.now.instant.since(heard) < lately))
    }

    /// A member went Down, or came back.
    pub(super) fn count_down(&mut self) {
        let now = self.now.instant;
        let down = self.down_since.keys().filter(|replica| self.roster.is_admitted(**replica)).count();
        self.flapping.any_down.set(now, down > 0);
        self.flapping.most_down.set(now, down > self.roster.len_members() - down);
        self.judge_lateness();
    }

    /// Others had found this node Down, and it came back to them. By now it may hold them as alive again.
    pub(super) fn came_back(&mut self) {
        let now = self.now.instant;
        if self.flapping.any_down.was(now) && !self.flapping.most_down.was(now) {
            return;
        }
        let wait = self.flapping.came_back(now).filter(|_| !self.sabotage.breaks(Rule::EagerReturn));
        if let Some(wait) = wait.filter(|_| self.formed() && self.leaving.is_none()) {
            self.flapping.unready = true;
            self.timers.set(Timer::Ready, now + wait);
            self.judge_lateness();
            self.declare_self();
            self.event(Event::Unready { wait });
        }
    }

    /// It was quiet for as long as it takes.
    pub(super) fn ready_again(&mut self) {
        if self.flapping.late {
            self.timers.set(Timer::Ready, self.now.instant + FIRST_WAIT);
            return;
        }
        self.flapping.unready = false;
        if self.formed() && self.leaving.is_none() {
            self.declare_self();
            self.event(Event::Ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_again_and_again_waits_ever_longer_and_is_forgiven() {
        let mut flapping = Flapping::default();
        let mut at =
            |second| flapping.came_back(Instant::ZERO + Duration::from_secs(second)).map(|wait| wait.as_secs());
        assert_eq!([at(100), at(102), at(104)], [None; 3], "one time, of which several tell");
        assert_eq!([at(120), at(145), at(170)], [Some(1), Some(2), Some(4)]);
        assert_eq!([at(300), at(310)], [None, Some(8)], "so much later is not flapping, and not forgotten");
        assert_eq!([320, 330, 340, 350].map(&mut at), [Some(16), Some(32), Some(60), Some(60)]);
        assert_eq!([at(700), at(710)], [None, Some(1)]);
    }
}
