//! The identity of a member as SWIM sees it: an address and who is there at present.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ReplicaId};

/// Who is at an address.
///
/// SWIM keeps one identity per address. When two meet, the later `(boot, renewal, replica)` wins: a restarted process
/// over its predecessor, and a renewed identity over the one that was declared Down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Where the member listens, as others reach it.
    pub address: SocketAddr,
    /// Its stable name.
    pub node: NodeId,
    /// This run of it.
    pub replica: ReplicaId,
    /// The wall clock of its host when it started, in milliseconds since the Unix epoch. It orders the runs at one
    /// address and is no time to reckon with: where a predecessor's clock was ahead, it is that one's boot plus one.
    pub boot: u64,
    /// How often this run had to come back after others had declared it Down. No part of the view.
    pub renewal: u16,
}

impl Identity {
    /// Stands for whoever may be at an address about which nothing is known. Loses against everybody.
    pub(super) fn placeholder(address: SocketAddr) -> Self {
        let node = NodeId::new("?").expect("one printable character is a valid name");
        Self { address, node, replica: ReplicaId(0), boot: 0, renewal: 0 }
    }

    /// Whether this is the later one of two identities at one address.
    pub fn supersedes(&self, other: &Self) -> bool {
        self.order() > other.order()
    }

    /// This identity moved past a predecessor whose boot is ahead of ours; `None` at the end of numbers.
    pub(super) fn moved_past(&self, predecessor: &Self) -> Option<Self> {
        Some(Self { boot: predecessor.boot.checked_add(1)?, renewal: 0, ..self.clone() })
    }

    /// The name comes last only to make the order total.
    fn order(&self) -> (u64, u16, ReplicaId, &NodeId) {
        (self.boot, self.renewal, self.replica, &self.node)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.node, self.address, self.replica)?;
        if self.renewal > 0 { write!(f, "+{}", self.renewal) } else { Ok(()) }
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        match self.renewal.checked_add(1) {
            Some(renewal) => Some(Self { renewal, ..self.clone() }),
            None => self.moved_past(self),
        }
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.supersedes(adversary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    #[test]
    fn a_renewal_wins_over_what_was_before_also_at_the_end_of_numbers() {
        let mut identity = Identity::placeholder("10.0.0.1:4871".parse().unwrap());
        for renewal in [0, 1, u16::MAX] {
            identity.renewal = renewal;
            let renewed = identity.renew().unwrap();
            assert!(renewed.win_addr_conflict(&identity), "{renewed} over {identity}");
            assert!(!identity.win_addr_conflict(&renewed));
        }
    }

    #[test]
    fn a_later_boot_wins_whatever_the_renewals_and_replicas_are() {
        let old =
            Identity { boot: 1, renewal: 9, replica: ReplicaId(9), ..Identity::placeholder(([10, 0, 0, 1], 1).into()) };
        let new = Identity { boot: 2, renewal: 0, replica: ReplicaId(1), ..old.clone() };
        assert!(new.supersedes(&old) && !old.supersedes(&new));
        assert_eq!(old.moved_past(&new).map(|moved| (moved.boot, moved.renewal)), Some((3, 0)));
    }
}
