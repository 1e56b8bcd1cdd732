//! The timers of membership, their presets, and how they must stand to each other.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The timers of membership. Start from a preset and change what you measured to be wrong.
///
/// A host that vanishes in silence is Down everywhere after `2 · probe_period + suspicion + 5 · gossip_interval`, or
/// some periods later: whom to probe is random, and one member in e goes unprobed for a period. A node that hears nobody
/// at all any more finds everybody Down after twice `suspicion`. A process that dies on a live host is known in
/// milliseconds, whatever these say (see [`Watchers`](super::Watchers)).
///
/// ```
/// use std::time::Duration;
/// use unisono::membership::Timing;
///
/// let timing = Timing { suspicion: Duration::from_secs(3), ..Timing::lan() };
/// assert!(timing.validate().is_ok());
/// let hasty = Timing { suspicion: Duration::from_millis(300), ..Timing::lan() };
/// assert!(hasty.validate().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// How often one member is probed, and how long a probe may take with its indirect stage.
    ///
    /// At least twice `probe_timeout`, better three times. Shorter finds crashes sooner and costs one round trip per
    /// node and period; longer is cheaper, and every crash that no stream betrays lives on for longer.
    pub probe_period: Duration,
    /// How long the direct answer to a probe may take before others are asked to probe as well.
    ///
    /// The slowest of a hundred round trips between members. Shorter asks others in vain; longer leaves them too
    /// little of `probe_period`.
    pub probe_timeout: Duration,
    /// How long a suspect may take to refute before it is Down.
    ///
    /// At least twice `probe_period`, so that the suspect hears of it more than once. Shorter declares busy members
    /// Down, and everything they host moves; longer keeps the roles of the dead without a host.
    pub suspicion: Duration,
    /// How often news about members is sent to a few others, while there is news.
    ///
    /// At most half of `suspicion`: accusations and refutations travel this way. News needs about log(members)
    /// rounds; shorter is faster and costs more datagrams while something happens, longer costs false suspicions.
    pub gossip_interval: Duration,
    /// How often one random Down member is told that we are here: this heals partitions.
    ///
    /// Shorter heals sooner, and costs a datagram to nobody as long as anybody is Down; longer leaves two halves
    /// that could be one.
    pub announce_down: Duration,
    /// How often the member list is exchanged, over a stream, with somebody whose list differs.
    ///
    /// Repairs what gossip missed. Shorter costs the list more often while lists differ.
    pub push_pull: Duration,
    /// How long a Down member stays in the list, to be announced to and to be refused under its old identity.
    ///
    /// At least ten times `suspicion`, better an hour: forgetting early lets late datagrams revive the dead.
    pub forget_down: Duration,
    /// How many members are asked to probe one that did not answer, and to how many news is gossiped at a time.
    ///
    /// 3 is right nearly always. 1 makes one lost datagram an accusation; more costs datagrams when a host is dead.
    pub indirect_probes: u8,
    /// How many datagrams carry one piece of news before it is left to push-pull.
    ///
    /// About three times log2(members). Fewer leaves some members to push-pull; more repeats what all know.
    pub transmissions: u8,
}

/// Why the timers do not work together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimingError {
    /// A duration or a count is below what makes sense at all.
    #[error("{name} is {value}; give it at least {least}")]
    TooSmall {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it must be at least.
        least: String,
    },
    /// A duration leaves too little room for another one.
    #[error(
        "{name} is {value:?}, but with {other} = {other_value:?} it must be at least {least:?}; raise it or lower {other}"
    )]
    TooShort {
        /// Which.
        name: &'static str,
        /// What it is.
        value: Duration,
        /// The one it must make room for.
        other: &'static str,
        /// What that is.
        other_value: Duration,
        /// What it must be at least.
        least: Duration,
    },
}

impl Timing {
    /// Many nodes on one host: round trips below a millisecond, but all share its processors.
    pub fn local() -> Self {
        Self::preset([150, 50, 500, 40])
    }

    /// One data centre. The default.
    pub fn lan() -> Self {
        Self::preset([200, 70, 1_400, 80])
    }

    /// Between data centres: round trips up to some hundreds of milliseconds, and loss.
    pub fn wan() -> Self {
        Self { transmissions: 15, ..Self::preset([2_000, 800, 6_000, 300]) }
    }

    fn preset([probe_period, probe_timeout, suspicion, gossip_interval]: [u64; 4]) -> Self {
        Self {
            probe_period: Duration::from_millis(probe_period),
            probe_timeout: Duration::from_millis(probe_timeout),
            suspicion: Duration::from_millis(suspicion),
            gossip_interval: Duration::from_millis(gossip_interval),
            announce_down: Duration::from_secs(1),
            push_pull: Duration::from_secs(10),
            forget_down: Duration::from_secs(3_600),
            indirect_probes: 3,
            transmissions: 10,
        }
    }

    /// Checks the timers against each other.
    pub fn validate(&self) -> Result<(), TimingError> {
        at_least_a_millisecond([
            ("probe_timeout", self.probe_timeout),
            ("gossip_interval", self.gossip_interval),
            ("announce_down", self.announce_down),
            ("push_pull", self.push_pull),
        ])?;
        for (name, value) in [("indirect_probes", self.indirect_probes), ("transmissions", self.transmissions)] {
            if value == 0 {
                return Err(TimingError::TooSmall { name, value: value.to_string(), least: "1".to_owned() });
            }
        }
        leave_room([
            ("probe_period", self.probe_period, 2, "probe_timeout", self.probe_timeout),
            ("suspicion", self.suspicion, 2, "probe_period", self.probe_period),
            ("suspicion", self.suspicion, 2, "gossip_interval", self.gossip_interval),
            ("forget_down", self.forget_down, 10, "suspicion", self.suspicion),
        ])
    }

    /// The same for `foca`. When a timer fires the collector decides, and `foca` refuses other probe periods than it began
    /// with, so it is told some. Announcing to Down members is ours, since `foca` stops it when it has lost everybody.
    pub(super) fn foca(&self, max_bytes: usize) -> foca::Config {
        let fanout = NonZeroUsize::new(usize::from(self.indirect_probes)).unwrap_or(NonZeroUsize::MIN);
        foca::Config {
            probe_period: Duration::from_secs(2),
            probe_rtt: Duration::from_secs(1),
            num_indirect_probes: fanout,
            max_transmissions: NonZeroU8::new(self.transmissions).unwrap_or(NonZeroU8::MIN),
            suspect_to_down_after: self.suspicion,
            remove_down_after: Some(self.forget_down),
            max_packet_size: NonZeroUsize::new(max_bytes).unwrap_or(NonZeroUsize::MIN),
            notify_down_members: true,
            periodic_announce: Some(foca::PeriodicParams {
                frequency: self.push_pull.saturating_mul(3),
                num_members: NonZeroUsize::MIN,
            }),
            periodic_announce_to_down_members: None,
            periodic_gossip: Some(foca::PeriodicParams { frequency: self.gossip_interval, num_members: fanout }),
        }
    }
}

/// Nothing goes faster than what timers can tell apart.
pub(crate) fn at_least_a_millisecond<const N: usize>(timers: [(&'static str, Duration); N]) -> Result<(), TimingError> {
    let least = Duration::from_millis(1);
    match timers.into_iter().find(|(_, value)| *value < least) {
        Some((name, value)) => {
            let (value, least) = (format!("{value:?}"), format!("{least:?}"));
            Err(TimingError::TooSmall { name, value, least })
        }
        None => Ok(()),
    }
}

/// Each is at least so many times the other.
pub(crate) fn leave_room<const N: usize>(
    relations: [(&'static str, Duration, u32, &'static str, Duration); N],
) -> Result<(), TimingError> {
    for (name, value, times, other, other_value) in relations {
        let least = other_value.saturating_mul(times);
        if value < least {
            return Err(TimingError::TooShort { name, value, other, other_value, least });
        }
    }
    Ok(())
}

impl Default for Timing {
    fn default() -> Self {
        Self::lan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid() {
        for timing in [Timing::local(), Timing::lan(), Timing::wan()] {
            assert_eq!(timing.validate(), Ok(()));
        }
    }

    #[test]
    fn each_relation_is_checked_and_named() {
        let lan = Timing::lan;
        let ms = Duration::from_millis;
        for (timing, name) in [
            (Timing { probe_timeout: ms(0), ..lan() }, "probe_timeout"),
            (Timing { gossip_interval: ms(0), ..lan() }, "gossip_interval"),
            (Timing { announce_down: ms(0), ..lan() }, "announce_down"),
            (Timing { push_pull: ms(0), ..lan() }, "push_pull"),
            (Timing { indirect_probes: 0, ..lan() }, "indirect_probes"),
            (Timing { transmissions: 0, ..lan() }, "transmissions"),
            (Timing { probe_period: ms(139), ..lan() }, "probe_period"),
            (Timing { suspicion: ms(399), ..lan() }, "suspicion"),
            (Timing { gossip_interval: ms(701), ..lan() }, "suspicion"),
            (Timing { forget_down: ms(13_999), ..lan() }, "forget_down"),
        ] {
            let error = timing.validate().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
