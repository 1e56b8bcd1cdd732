//! What the network does to what is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::host::NodeIndex;

/// The rules of the simulated network. They apply to what is sent from now on.
#[derive(Debug)]
pub struct Network {
    loss: f64,
    duplication: f64,
    delay: (Duration, Duration),
    silent: BTreeSet<(NodeIndex, NodeIndex)>,
    rejecting: BTreeSet<(NodeIndex, NodeIndex)>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            delay: (Duration::from_micros(100), Duration::from_micros(500)),
            silent: BTreeSet::new(),
            rejecting: BTreeSet::new(),
        }
    }
}

/// What becomes of a packet or of an attempt to open a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Open,
    Silent,
    Rejecting,
}

impl Network {
    /// Loses this part of all datagrams, 0 to 1.
    pub fn set_loss(&mut self, loss: f64) {
        self.loss = loss.clamp(0.0, 1.0);
    }

    /// Doubles this part of all datagrams, 0 to 1. The copy takes a time of its own.
    pub fn set_duplication(&mut self, duplication: f64) {
        self.duplication = duplication.clamp(0.0, 1.0);
    }

    /// Delays everything by something between the two; datagrams overtake each other.
    pub fn set_delay(&mut self, least: Duration, most: Duration) {
        self.delay = (least, most.max(least));
    }

    /// Lets nothing through between the two sides, without a word to anybody.
    pub fn cut(&mut self, one: &[NodeIndex], other: &[NodeIndex]) {
        for &a in one {
            for &b in other {
                self.silent.extend([(a, b), (b, a)]);
            }
        }
    }

    /// Lets nothing through from `from` to `to`; the other way stays open.
    pub fn cut_one_way(&mut self, from: NodeIndex, to: NodeIndex) {
        self.silent.insert((from, to));
    }

    /// Like a firewall that rejects: nothing gets through between the two, and attempts to open a stream are refused.
    pub fn reject(&mut self, one: NodeIndex, other: NodeIndex) {
        self.rejecting.extend([(one, other), (other, one)]);
    }

    /// Ends all cuts and rejections.
    pub fn heal(&mut self) {
        self.silent.clear();
        self.rejecting.clear();
    }

    pub(super) fn way(&self, from: NodeIndex, to: NodeIndex) -> Way {
        if self.rejecting.contains(&(from, to)) {
            Way::Rejecting
        } else if self.silent.contains(&(from, to)) {
            Way::Silent
        } else {
            Way::Open
        }
    }

    /// After which delays a datagram arrives: not at all, once, or more often.
    pub(super) fn deliveries(&self, random: &mut SmallRng) -> Vec<Duration> {
        if random.random_bool(self.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(random.random_bool(self.duplication));
        (0..copies).map(|_| self.draw_delay(random)).collect()
    }

    pub(super) fn draw_delay(&self, random: &mut SmallRng) -> Duration {
        let (least, most) = self.delay;
        least + (most - least).mul_f64(random.random_range(0.0..1.0))
    }
}
