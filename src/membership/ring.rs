//! The ring of watch streams: members in the order of their hashed names, each watching its three successors.
//!
//! Hashing spreads the nodes of one host, rack or naming scheme, so that those who watch a node rarely die with it.

use xxhash_rust::xxh3::xxh3_64;

use super::Identity;
use crate::id::{NodeId, ReplicaId};

/// How many successors each member watches, and so by how many each is watched.
const WATCHERS: usize = 3;

/// Where a member stands on the ring. Name and replica decide between equal hashes.
type Place = (u64, NodeId, ReplicaId);

/// The live members in their order.
#[derive(Default)]
pub(super) struct Ring(Vec<(Place, Identity)>);

impl Ring {
    pub(super) fn new(live: &[Identity]) -> Self {
        let place = |one: &Identity| (xxh3_64(one.node.as_str().as_bytes()), one.node.clone(), one.replica);
        let mut ring: Vec<_> = live.iter().map(|identity| (place(identity), identity.clone())).collect();
        ring.sort_by(|one, other| one.0.cmp(&other.0));
        ring.dedup_by(|one, other| one.1.replica == other.1.replica);
        Self(ring)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whom a member watches.
    pub(super) fn successors(&self, of: ReplicaId) -> impl Iterator<Item = &Identity> {
        self.around(of, |position, step, len| (position + step) % len)
    }

    /// Who watches a member.
    pub(super) fn predecessors(&self, of: ReplicaId) -> impl Iterator<Item = &Identity> {
        self.around(of, |position, step, len| (position + len - step) % len)
    }

    fn around(&self, of: ReplicaId, walk: impl Fn(usize, usize, usize) -> usize) -> impl Iterator<Item = &Identity> {
        let len = self.0.len();
        let position = self.0.iter().position(|(_, identity)| identity.replica == of);
        let steps = 1..=WATCHERS.min(len.saturating_sub(1));
        position.into_iter().flat_map(move |position| {
            let places: Vec<usize> = steps.clone().map(|step| walk(position, step, len)).collect();
            places.into_iter().map(|place| &self.0[place].1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u64) -> Identity {
        let node = NodeId::new(format!("node-{number}")).unwrap();
        Identity { node, replica: ReplicaId(number), ..Identity::placeholder(([10, 0, 0, 1], 4_871).into()) }
    }

    #[test]
    fn everybody_watches_three_and_is_watched_by_three() {
        for size in 1..12 {
            let live: Vec<_> = (0..size).map(member).collect();
            let ring = Ring::new(&live);
            for one in &live {
                let successors: Vec<_> = ring.successors(one.replica).map(|other| other.replica).collect();
                assert_eq!(successors.len(), WATCHERS.min(live.len() - 1));
                assert!(!successors.contains(&one.replica));
                for watched in successors {
                    assert!(ring.predecessors(watched).any(|watcher| watcher.replica == one.replica));
                }
            }
        }
    }

    #[test]
    fn the_order_is_the_same_on_every_node_and_in_every_release() {
        let mut live: Vec<_> = (0..5).map(member).collect();
        let order = |live: &[Identity]| Ring::new(live).0.iter().map(|(_, one)| one.replica.0).collect::<Vec<_>>();
        let first = order(&live);
        live.reverse();
        assert_eq!(order(&live), first);
    }
}
