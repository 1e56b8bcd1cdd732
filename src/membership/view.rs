//! The View: who takes part.
//!
//! The engine puts in members that declared themselves ready (in their owner rows) and are not Down. A joining node is
//! a member of SWIM long before it is in the View.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::Xxh3Default;

use crate::id::{NodeId, ReplicaId};

/// The ordered set of members that declared themselves ready and are not Down.
///
/// ```
/// use unisono::membership::View;
/// use unisono::{NodeId, ReplicaId};
///
/// let larry = (NodeId::new("larry")?, ReplicaId(1));
/// let moe = (NodeId::new("moe")?, ReplicaId(2));
/// let view: View = [moe.clone(), larry.clone()].into_iter().collect();
/// assert_eq!(view.iter().next(), Some(&larry));
/// assert_eq!(view.fingerprint(), View::from_iter([larry, moe]).fingerprint());
/// # Ok::<(), unisono::NodeIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    members: BTreeSet<(NodeId, ReplicaId)>,
}

impl View {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a member in; `false` if it was in.
    pub fn insert(&mut self, node: NodeId, replica: ReplicaId) -> bool {
        self.members.insert((node, replica))
    }

    /// Takes a member out; `false` if it was not in.
    pub fn remove(&mut self, node: &NodeId, replica: ReplicaId) -> bool {
        self.members.remove(&(node.clone(), replica))
    }

    /// Whether this run of this node is in.
    pub fn contains(&self, node: &NodeId, replica: ReplicaId) -> bool {
        self.members.contains(&(node.clone(), replica))
    }

    /// The members, ordered by name, then by replica.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(NodeId, ReplicaId)> + Clone {
        self.members.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A hash that is the same for equal views on every node and in every release.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Xxh3Default::new();
        for (node, replica) in &self.members {
            // The length keeps one member's bytes from running into the next one's.
            hash.update(&(node.as_str().len() as u64).to_be_bytes());
            hash.update(node.as_str().as_bytes());
            hash.update(&replica.0.to_be_bytes());
        }
        hash.digest()
    }
}

impl FromIterator<(NodeId, ReplicaId)> for View {
    fn from_iter<I: IntoIterator<Item = (NodeId, ReplicaId)>>(members: I) -> Self {
        Self { members: members.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(members: &[(&str, u64)]) -> View {
        members.iter().map(|(node, replica)| (NodeId::new(node).unwrap(), ReplicaId(*replica))).collect()
    }

    #[test]
    fn the_fingerprint_is_pinned() {
        assert_eq!(view(&[]).fingerprint(), 0x2d06_8005_38d3_94c2);
        assert_eq!(view(&[("larry", 1), ("moe", 2)]).fingerprint(), 0x2a7cc7323d204321);
    }

    #[test]
    fn the_fingerprint_tells_runs_names_and_their_limits_apart() {
        let views = [view(&[("a", 1)]), view(&[("a", 2)]), view(&[("b", 1)]), view(&[("a", 1), ("b", 1)])];
        let prints: BTreeSet<u64> = views.iter().map(View::fingerprint).collect();
        assert_eq!(prints.len(), views.len());
    }
}
