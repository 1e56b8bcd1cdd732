//! What the network does to what is sent: rules that compose, and heal when their guards are dropped.
//!
//! ```text
//!   test ── add(Rule) ─▶ Network ─▶ Guard ── dropped ──▶ the rule ends
//!                           ▲
//!   carrier ── fate of ─────┘    of a datagram, a frame, an attempt to open a stream, a beacon
//! ```
//!
//! In come two hosts, a size and the time, out goes what becomes of the packet. Nothing here knows engines or bytes.

mod guard;
mod rule;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

pub use guard::Guard;
pub use rule::{Delay, Rule};

use self::rule::Effect;
use super::host::NodeIndex;
use crate::time::Instant;

/// The network of a [`Simulation`](super::Simulation). Cheap to clone; all clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<Mutex<Rules>>);

#[derive(Debug)]
struct Rules {
    /// By number, which is the order in which they were added.
    rules: BTreeMap<u64, Rule>,
    /// The last number given to a rule.
    last: u64,
    /// Counts the changes of the rules.
    version: u64,
    /// Until when each slow link is busy.
    busy: BTreeMap<(u64, NodeIndex, NodeIndex), Instant>,
    /// What every packet takes.
    base: Delay,
}

impl Default for Rules {
    fn default() -> Self {
        let base = Delay::Uniform(Duration::from_micros(100), Duration::from_micros(500));
        Self { rules: BTreeMap::new(), last: 0, version: 0, busy: BTreeMap::new(), base }
    }
}

/// Whether anything gets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Open,
    Silent,
    Rejecting,
}

/// One copy of a datagram that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Copy {
    pub(super) after: Duration,
    /// So many of its bits are wrong.
    pub(super) flips: u32,
}

/// How long TCP waits before it sends again at first (RFC 6298 asks for a second; Linux has 200 ms).
const RETRANSMIT: Duration = Duration::from_millis(200);

impl Network {
    /// Adds a rule. It applies to what is sent from now on, until its guard is dropped.
    pub fn add(&self, rule: Rule) -> Guard {
        let mut rules = self.lock();
        rules.last += 1;
        rules.version += 1;
        let number = rules.last;
        rules.rules.insert(number, rule);
        drop(rules);
        Guard::new(self.clone(), number)
    }

    /// Lets nothing through between the two sides, without a word to anybody. Nodes on neither side see both.
    pub fn cut(&self, one: &[NodeIndex], other: &[NodeIndex]) -> Guard {
        self.add(Rule::cut().between(one, other))
    }

    /// Lets nothing through from the one to the other; the other way stays open.
    pub fn cut_one_way(&self, from: &[NodeIndex], to: &[NodeIndex]) -> Guard {
        self.add(Rule::cut().from(from).to(to))
    }

    /// Like a firewall that rejects, between the two sides.
    pub fn reject(&self, one: &[NodeIndex], other: &[NodeIndex]) -> Guard {
        self.add(Rule::rejection().between(one, other))
    }

    /// Ends all rules, whatever becomes of their guards.
    pub fn heal(&self) {
        let mut rules = self.lock();
        rules.rules.clear();
        rules.busy.clear();
        rules.version += 1;
    }

    /// Whether there is any rule.
    pub fn is_hurt(&self) -> bool {
        !self.lock().rules.is_empty()
    }

    /// Sets how long everything takes where no rule says more; 0.1 to 0.5 ms at first.
    pub fn set_base_delay(&self, delay: Delay) {
        self.lock().base = delay;
    }

    fn end(&self, rule: u64) {
        let mut rules = self.lock();
        if rules.rules.remove(&rule).is_some() {
            rules.version += 1;
            rules.busy.retain(|(number, ..), _| *number != rule);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rules> {
        // Nothing under the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever a rule comes or goes.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(super) fn way(&self, from: NodeIndex, to: NodeIndex) -> Way {
        let rules = self.lock();
        let mut way = Way::Open;
        for rule in rules.applying(from, to) {
            match rule.effect {
                Effect::Cut => return Way::Silent,
                Effect::Rejection => way = Way::Rejecting,
                _ => {}
            }
        }
        way
    }

    /// Whether a beacon of the one reaches the other.
    pub(super) fn hears_beacons(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let deaf = |rule: &Rule| matches!(rule.effect, Effect::Cut | Effect::Rejection | Effect::NoBroadcast);
        !self.lock().applying(from, to).any(deaf)
    }

    /// The copies of a datagram that arrive: none, one or more. The way is open.
    pub(super) fn copies(
        &self,
        random: &mut SmallRng,
        now: Instant,
        (from, to): (NodeIndex, NodeIndex),
        bytes: usize,
    ) -> Vec<Copy> {
        let mut rules = self.lock();
        let mut number = 1;
        for rule in rules.applying(from, to) {
            match rule.effect {
                Effect::Loss(share) if random.random_bool(share) => return Vec::new(),
                Effect::Duplication(share) => number += usize::from(random.random_bool(share)),
                _ => {}
            }
        }
        let Some(queued) = rules.queue(now, (from, to), bytes, true) else { return Vec::new() };
        let copy = |_| {
            let mut after = queued + rules.base.draw(random);
            let mut flips = 0;
            for rule in rules.applying(from, to) {
                match rule.effect {
                    Effect::Delay(delay) => after += delay.draw(random),
                    Effect::Reordering { share, by } if random.random_bool(share) => {
                        after += Delay::Uniform(Duration::ZERO, by).draw(random);
                    }
                    Effect::Flips(share) if random.random_bool(share) => flips += random.random_range(1..=3),
                    _ => {}
                }
            }
            Copy { after, flips }
        };
        (0..number).map(copy).collect()
    }

    /// When a frame of a stream arrives, if it is next; losses only cost time. The way is open.
    pub(super) fn frame(
        &self,
        random: &mut SmallRng,
        now: Instant,
        (from, to): (NodeIndex, NodeIndex),
        bytes: usize,
    ) -> Copy {
        let mut rules = self.lock();
        let queued = rules.queue(now, (from, to), bytes, false).unwrap_or_default();
        let mut copy = Copy { after: queued + rules.base.draw(random), flips: 0 };
        for rule in rules.applying(from, to) {
            match rule.effect {
                Effect::Loss(share) => {
                    let mut pause = RETRANSMIT;
                    // Eight in a row is where TCP gives up; the simulated one is lucky then.
                    while pause < RETRANSMIT * 256 && random.random_bool(share) {
                        copy.after += pause;
                        pause *= 2;
                    }
                }
                Effect::Delay(delay) => copy.after += delay.draw(random),
                Effect::Flips(share) if random.random_bool(share) => copy.flips += random.random_range(1..=3),
                _ => {}
            }
        }
        copy
    }
}

impl Rules {
    fn applying(&self, from: NodeIndex, to: NodeIndex) -> impl Iterator<Item = &Rule> {
        self.rules.values().filter(move |rule| rule.applies(from, to))
    }

    /// How long a packet waits for and takes on slow links; `None` if it is lost to a full queue.
    fn queue(
        &mut self,
        now: Instant,
        (from, to): (NodeIndex, NodeIndex),
        bytes: usize,
        may_drop: bool,
    ) -> Option<Duration> {
        let mut takes = Duration::ZERO;
        for (number, rule) in &self.rules {
            let Effect::Slow { bytes_per_second, queue } = rule.effect else { continue };
            if !rule.applies(from, to) {
                continue;
            }
            let time_of = |bytes: usize| Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64);
            let busy = self.busy.entry((*number, from, to)).or_insert(now);
            let waits = busy.since(now);
            if may_drop && waits > time_of(queue) {
                return None;
            }
            *busy = now + waits + time_of(bytes);
            takes += busy.since(now);
        }
        Some(takes)
    }
}

#[cfg(test)]
mod tests;
