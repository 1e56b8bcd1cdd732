//! Those who wait until others hold what this node wrote.

use std::collections::BTreeSet;
use std::time::Duration;

use super::timers::Timer;
use super::{Engine, Output, Reply};
use crate::id::{NodeId, ReplicaId};
use crate::time::Instant;

/// How soon the others are asked again; twice as long each time, up to the most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);

/// Who has to hold the writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Visible {
    /// Every other member of the view, as it is when the wait begins. Those that go Down or leave meanwhile are not waited
    /// for, and named in the end.
    All,
    /// So many other members, whichever.
    Count(usize),
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    request: u64,
    /// So many writes of this node.
    until: u64,
    needs: Needs,
    told: Option<String>,
    ask_at: Instant,
    pause: Duration,
}

#[derive(Debug)]
enum Needs {
    These { waits_for: BTreeSet<ReplicaId>, gone: Vec<NodeId> },
    Count(usize),
}

impl Engine {
    /// Somebody wants to know when the first `until` writes of this node are visible.
    pub(super) fn await_visible(&mut self, request: u64, until: u64, who: Visible) {
        let needs = match who {
            Visible::All => {
                let others = self.work.view().filter(|member| *member != self.own);
                Needs::These { waits_for: others.collect(), gone: Vec::new() }
            }
            Visible::Count(count) => Needs::Count(count),
        };
        let (ask_at, pause) = (self.now.instant, FIRST_PAUSE);
        self.visibility.waiters.push(Waiter { request, until, needs, told: None, ask_at, pause });
        self.timers.set_earlier(Timer::Probe, self.now.instant);
    }

    /// Nobody waits any more for this request.
    pub(super) fn forget_visible(&mut self, request: u64) {
        self.visibility.waiters.retain(|waiter| waiter.request != request);
    }

    /// Asks those who are not known to hold what somebody here waits for.
    pub(super) fn ask_visible(&mut self) {
        let now = self.now.instant;
        let mut waiters = std::mem::take(&mut self.visibility.waiters);
        let mut lacking = BTreeSet::new();
        for waiter in waiters.iter_mut().filter(|waiter| waiter.ask_at <= now) {
            lacking.extend(self.lacking(waiter));
            waiter.ask_at = now + waiter.pause;
            waiter.pause = (waiter.pause * 2).min(LONGEST_PAUSE);
        }
        for member in lacking {
            self.ask_digest(member, false);
        }
        if let Some(next) = waiters.iter().map(|waiter| waiter.ask_at).min() {
            self.timers.set_earlier(Timer::Probe, next);
        }
        self.visibility.waiters = waiters;
    }

    /// Answers those who wait, as far as there is something new to say.
    pub(super) fn check_visible(&mut self) {
        if self.visibility.waiters.is_empty() {
            return;
        }
        let mut waiters = std::mem::take(&mut self.visibility.waiters);
        waiters.retain_mut(|waiter| {
            let Some(reply) = self.answer_visible(waiter) else { return true };
            let is_last = !matches!(reply, Reply::Waiting(_));
            self.outputs.push_back(Output::Reply { request: waiter.request, reply });
            !is_last
        });
        self.visibility.waiters = waiters;
    }

    fn answer_visible(&self, waiter: &mut Waiter) -> Option<Reply> {
        let until = waiter.until;
        let why = match &mut waiter.needs {
            Needs::These { waits_for, gone } => {
                waits_for.retain(|member| {
                    let lives = self.live().contains(member);
                    gone.extend((!lives).then(|| self.node_of(*member)).flatten());
                    lives && !self.holds(*member, until)
                });
                if waits_for.is_empty() {
                    return Some(Reply::Visible { gone: std::mem::take(gone) });
                }
                let names: Vec<_> = waits_for.iter().map(|member| self.name_of(*member)).collect();
                format!("not yet said to hold it: {}", names.join(", "))
            }
            Needs::Count(count) => {
                let holders = self.live().iter().filter(|member| self.holds(**member, until)).count();
                if holders >= *count {
                    return Some(Reply::Visible { gone: Vec::new() });
                }
                format!("{holders} of {count} said that they hold it, and {} other members live", self.live().len())
            }
        };
        (waiter.told.as_ref() != Some(&why)).then(|| {
            waiter.told = Some(why.clone());
            Reply::Waiting(why)
        })
    }

    /// Of whom this one waits to hear.
    fn lacking(&self, waiter: &Waiter) -> Vec<ReplicaId> {
        let lacks = |member: &ReplicaId| !self.holds(*member, waiter.until);
        match &waiter.needs {
            Needs::These { waits_for, .. } => waits_for.iter().copied().filter(lacks).collect(),
            Needs::Count(_) => self.live().iter().copied().filter(lacks).collect(),
        }
    }

    /// Whether a member said that it holds so many writes of this node; what it held once it holds for ever.
    fn holds(&self, member: ReplicaId, until: u64) -> bool {
        self.peers.held_by(member, Instant::ZERO).flatten().is_some_and(|held| held >= until)
    }
}
