//! What an engine is told at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::membership::{self, TimingError};
use crate::roles::RoleSpec;
use crate::wire::Versions;

/// What an engine is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EngineConfig {
    /// The name of the cluster; nodes of other clusters are ignored.
    pub cluster: String,
    /// Who this is.
    pub identity: membership::Identity,
    /// How fast everything goes.
    pub timing: Timing,
    /// The kinds of roles that this node can build.
    pub kinds: BTreeSet<String>,
    /// The labels of this node, which roles can ask for.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The roles that this node asks the cluster to run.
    pub roles: Vec<RoleSpec>,
    /// So many removed rows are kept for a member that is Down; beyond that the one that has been Down for longest is
    /// evicted from the roster, so that they can go. About 200 bytes each.
    pub tombstone_quota: u64,
    /// So many processes that are no members any more are remembered as authors. If there are more, those are forgotten
    /// who left no rows, and where too many did, their rows are given to a member: so contexts do not grow with every
    /// restart. About 20 bytes each; each row given costs as much as a write.
    pub departed_authors: usize,
    /// The protocol versions that this node speaks. Anything else than [`Versions::OURS`] is for tests.
    #[serde(default)]
    pub protocol: Versions,
    /// Where all randomness below the driver comes from.
    pub seed: u64,
}

impl EngineConfig {
    /// The tombstone quota unless another is set: about 50 MB.
    pub const TOMBSTONE_QUOTA: u64 = 250_000;

    /// How many departed authors are kept unless another number is set.
    pub const DEPARTED_AUTHORS: usize = 64;
}

/// How fast everything goes. Start from a preset.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// Failure detection.
    pub membership: membership::Timing,
    /// How long a new node looks for a cluster to join before it makes one of its own: drawn between the two, so that
    /// of several nodes started at once one is first (FEATURES B1). Too short, and they start as islands that have to
    /// merge; too long, and a lone node waits for nothing.
    pub alone_after: (Duration, Duration),
    /// How long agreement must last to count as converged. Longer than a datagram takes to reach everybody.
    pub settle: Duration,
    /// How long to wait for agreement before roles that nobody runs are started without it.
    pub patience: Duration,
    /// The pause between digests while nothing changes. Each costs two datagrams of about 500 bytes.
    pub digest_idle: Duration,
    /// The pause between digests shortly after a change; a lost row whose author fell silent is found after two.
    pub digest_busy: Duration,
    /// The shortest time after which a hole in the context is repaired; three round trips if that is longer.
    pub hole_patience: Duration,
    /// How long a member stays Down before it is evicted from the roster. Until then its promise is awaited, and
    /// tombstones are kept.
    pub evict_after: Duration,
}

impl Timing {
    /// Several nodes on one host.
    pub fn local() -> Self {
        Self {
            membership: membership::Timing::local(),
            alone_after: (Duration::from_millis(150), Duration::from_millis(300)),
            settle: Duration::from_millis(20),
            patience: Duration::from_secs(10),
            digest_idle: Duration::from_secs(1),
            digest_busy: Duration::from_millis(50),
            hole_patience: Duration::from_millis(50),
            evict_after: Duration::from_secs(3_600),
        }
    }

    /// Hosts on one network.
    pub fn lan() -> Self {
        Self {
            membership: membership::Timing::lan(),
            settle: Duration::from_millis(100),
            digest_busy: Duration::from_millis(100),
            ..Self::local()
        }
    }

    /// Hosts far from each other.
    pub fn wan() -> Self {
        Self {
            membership: membership::Timing::wan(),
            alone_after: (Duration::from_secs(1), Duration::from_secs(2)),
            settle: Duration::from_millis(500),
            digest_idle: Duration::from_secs(2),
            digest_busy: Duration::from_millis(400),
            hole_patience: Duration::from_millis(200),
            ..Self::local()
        }
    }

    /// How far apart two digests must be for what differs in both to be missing.
    pub(super) fn digests_apart(&self) -> Duration {
        self.digest_busy / 2
    }

    /// Checks the timers against each other.
    ///
    /// # Errors
    ///
    /// [`TimingError`]: the first that leaves too little room for another.
    pub fn validate(&self) -> Result<(), TimingError> {
        self.membership.validate()?;
        membership::at_least_a_millisecond([
            ("settle", self.settle),
            ("digest_busy", self.digest_busy),
            ("hole_patience", self.hole_patience),
        ])?;
        let (least, most) = self.alone_after;
        membership::leave_room([
            ("alone_after_most", most, 1, "alone_after_least", least),
            ("patience", self.patience, 2, "settle", self.settle),
            ("digest_idle", self.digest_idle, 1, "digest_busy", self.digest_busy),
            ("evict_after", self.evict_after, 2, "suspicion", self.membership.suspicion),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_are_valid_and_each_relation_is_checked_and_named() {
        let (lan, ms) = (Timing::lan, Duration::from_millis);
        for timing in [Timing::local(), lan(), Timing::wan()] {
            assert_eq!(timing.validate(), Ok(()));
        }
        for (timing, name) in [
            (Timing { settle: ms(0), ..lan() }, "settle"),
            (Timing { digest_busy: ms(0), ..lan() }, "digest_busy"),
            (Timing { hole_patience: ms(0), ..lan() }, "hole_patience"),
            (Timing { alone_after: (ms(301), ms(300)), ..lan() }, "alone_after_most"),
            (Timing { patience: ms(199), ..lan() }, "patience"),
            (Timing { digest_idle: ms(99), ..lan() }, "digest_idle"),
            (Timing { evict_after: ms(2_799), ..lan() }, "evict_after"),
        ] {
            let error = timing.validate().unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
