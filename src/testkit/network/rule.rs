//! One thing that the network does to what is sent, and between whom.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::super::host::NodeIndex;

/// One thing that the network does, everywhere unless it is narrowed to some nodes.
///
/// Rules compose: each that applies to a packet has its part in it, in the order in which they were added.
///
/// ```
/// use std::time::Duration;
/// use unisono::testkit::{Delay, NodeOptions, Rule, Simulation};
///
/// let mut simulation = Simulation::new(1);
/// let [larry, gary] = [simulation.add(NodeOptions::named("larry")), simulation.add(NodeOptions::named("gary"))];
/// let network = simulation.network();
/// let lossy = network.add(Rule::loss(0.2));
/// let slow = network.add(Rule::delay(Delay::Exponential { mean: Duration::from_millis(20) }).from(&[larry]));
/// simulation.run_until(Duration::from_secs(20), Simulation::all_converged).unwrap();
/// drop((lossy, slow));
/// # let _ = gary;
/// ```
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) effect: Effect,
    links: Links,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Loss(f64),
    Duplication(f64),
    Reordering { share: f64, by: Duration },
    Delay(Delay),
    Flips(f64),
    Cut,
    Rejection,
    NoBroadcast,
    Slow { bytes_per_second: u64, queue: usize },
}

/// How long packets take beyond what they take anyway.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Delay {
    /// Always the same.
    Fixed(Duration),
    /// Anything between the two, equally likely.
    Uniform(Duration, Duration),
    /// Mostly little and now and then much, as in queues.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Usually the one, and for a share of the packets the other: a garbage collector, a radio link.
    Tail {
        /// What most packets take.
        usual: Duration,
        /// What the others take.
        late: Duration,
        /// How many are late, 0 to 1.
        share: f64,
    },
}

impl Delay {
    pub(super) fn draw(self, random: &mut SmallRng) -> Duration {
        match self {
            Self::Fixed(delay) => delay,
            Self::Uniform(least, most) => least + most.saturating_sub(least).mul_f64(random.random_range(0.0..1.0)),
            Self::Exponential { mean } => {
                // No more than 20 times the mean: one in 500 million packets, which nobody would wait for.
                let uniform: f64 = random.random_range(f64::EPSILON..1.0);
                mean.mul_f64((-uniform.ln()).min(20.0))
            }
            Self::Tail { usual, late, share } => {
                if random.random_bool(share.clamp(0.0, 1.0)) {
                    late
                } else {
                    usual
                }
            }
        }
    }
}

/// Between whom a rule applies.
#[derive(Clone, Debug, Default)]
struct Links {
    from: Option<BTreeSet<NodeIndex>>,
    to: Option<BTreeSet<NodeIndex>>,
    both_ways: bool,
}

impl Rule {
    fn new(effect: Effect) -> Self {
        Self { effect, links: Links::default() }
    }

    /// Loses this share of the datagrams, 0 to 1. Frames of streams are sent again, as TCP does: each loss costs 200 ms
    /// and twice as much the next time.
    pub fn loss(share: f64) -> Self {
        Self::new(Effect::Loss(share.clamp(0.0, 1.0)))
    }

    /// Doubles this share of the datagrams, 0 to 1. The copy takes a time of its own.
    pub fn duplication(share: f64) -> Self {
        Self::new(Effect::Duplication(share.clamp(0.0, 1.0)))
    }

    /// Holds this share of the datagrams, 0 to 1, back for up to `by`, so that others overtake them.
    pub fn reordering(share: f64, by: Duration) -> Self {
        Self::new(Effect::Reordering { share: share.clamp(0.0, 1.0), by })
    }

    /// Delays everything. Streams keep their order, datagrams overtake each other.
    pub fn delay(delay: Delay) -> Self {
        Self::new(Effect::Delay(delay))
    }

    /// Flips one to three bits in this share of the datagrams and frames, 0 to 1: what slips through the checksums of
    /// UDP and TCP (Stone and Partridge, "When the CRC and TCP Checksum Disagree", 2000).
    pub fn flips(share: f64) -> Self {
        Self::new(Effect::Flips(share.clamp(0.0, 1.0)))
    }

    /// Lets nothing through, without a word to anybody.
    pub fn cut() -> Self {
        Self::new(Effect::Cut)
    }

    /// Like a firewall that rejects: nothing gets through, and attempts to open a stream are refused.
    pub fn rejection() -> Self {
        Self::new(Effect::Rejection)
    }

    /// Beacons do not get through, everything else does: another broadcast domain.
    pub fn no_broadcast() -> Self {
        Self::new(Effect::NoBroadcast)
    }

    /// A slow link between each two nodes: bytes wait for those before them. What does not fit the queue, in bytes, is
    /// lost if it is a datagram; a stream waits.
    pub fn slow(bytes_per_second: u64, queue: usize) -> Self {
        Self::new(Effect::Slow { bytes_per_second: bytes_per_second.max(1), queue })
    }

    /// Narrows the rule to what these nodes send.
    #[must_use]
    pub fn from(mut self, nodes: &[NodeIndex]) -> Self {
        self.links.from = Some(nodes.iter().copied().collect());
        self
    }

    /// Narrows the rule to what is sent to these nodes.
    #[must_use]
    pub fn to(mut self, nodes: &[NodeIndex]) -> Self {
        self.links.to = Some(nodes.iter().copied().collect());
        self
    }

    /// Narrows the rule to what goes from one side to the other, both ways.
    #[must_use]
    pub fn between(mut self, one: &[NodeIndex], other: &[NodeIndex]) -> Self {
        self.links.both_ways = true;
        self.from(one).to(other)
    }

    pub(super) fn applies(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let Links { from: senders, to: receivers, both_ways } = &self.links;
        let has = |nodes: &Option<BTreeSet<NodeIndex>>, node| nodes.as_ref().is_none_or(|nodes| nodes.contains(&node));
        has(senders, from) && has(receivers, to) || *both_ways && has(senders, to) && has(receivers, from)
    }
}
