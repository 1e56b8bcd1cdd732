//! The roster: who belongs to the cluster, whether it lives or not.
//!
//! ```text
//!   unknown ──admit──▶ 1 admitted ──evict──▶ 2 evicted ──readmit──▶ 3 admitted ──▶ …      (the causal length)
//! ```
//!
//! A causal-length set (Yu and Rostad, "A Low-Cost Set CRDT Based on Causal Lengths", 2020): an odd length means
//! admitted, an even one evicted, and joining takes the greater. So it is a two-phase set for everything that happens
//! by itself, while the merge of islands, whose rosters evicted each other, can take back an eviction explicitly.
//!
//! A newer boot of a node replaces the older one. That is not written down as an eviction: two sides that learn of the
//! newer boot in different order would have to count the same. It follows from what is known: of the replicas of a node
//! only the one with the highest (boot, id) ever seen can be admitted. Thus joining stays a plain maximum.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::Xxh3Default;

use super::codec;
use crate::id::{NodeId, ReplicaId};

/// Who belongs to the cluster.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    entries: BTreeMap<ReplicaId, Admission>,
    /// Derived: the highest (boot, replica) of each node.
    newest: BTreeMap<NodeId, (u64, ReplicaId)>,
    /// Derived: the admitted replicas, with the hashes of their entries.
    members: BTreeMap<ReplicaId, u64>,
    /// Derived: the wrapping sum of those hashes. Everybody tells it in every digest.
    sum: u64,
}

/// What the roster knows of one replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Admission {
    /// How often it was admitted and evicted, in sum. Odd: admitted.
    pub length: u32,
    /// The node that it is a run of.
    pub node: NodeId,
    /// When that run started, as its own clock told.
    pub boot: u64,
}

impl Admission {
    fn hash(&self, replica: ReplicaId) -> u64 {
        let mut hasher = Xxh3Default::new();
        hasher.update(&replica.0.to_le_bytes());
        hasher.update(&self.length.to_le_bytes());
        hasher.update(&self.boot.to_le_bytes());
        hasher.update(self.node.as_str().as_bytes());
        hasher.digest()
    }
}

impl Roster {
    /// The most replicas a roster may know when it is decoded: four runs of each of 4,096 members.
    pub const MAX_ENTRIES: usize = 4 * 4_096;

    /// An empty roster.
    pub fn new() -> Self {
        Self::default()
    }

    /// Admits a replica that was never heard of. One that is known keeps its standing, though its boot may move up: who
    /// was evicted comes back only by [`readmit`](Self::readmit). Returns whether the roster changed.
    pub fn admit(&mut self, replica: ReplicaId, node: NodeId, boot: u64) -> bool {
        let length = self.entries.get(&replica).map_or(1, |known| known.length);
        self.join_one(replica, &Admission { length, node, boot })
    }

    /// The least boot with which this replica is the newest run of its node. A process that starts now is newer than
    /// every run known, also where its host's clock was set back meanwhile.
    pub fn boot_for(&self, replica: ReplicaId, node: &NodeId) -> u64 {
        match self.newest.get(node) {
            Some(&(boot, newest)) if newest != replica => boot.saturating_add(1),
            _ => 0,
        }
    }

    /// Takes back an eviction, for the merge of islands. Returns whether the roster changed. It does not help a replica
    /// whose node has a newer run.
    pub fn readmit(&mut self, replica: ReplicaId) -> bool {
        self.step(replica, |length| length % 2 == 0)
    }

    /// Evicts a replica; for ever, as far as anything that happens by itself goes. Returns whether the roster changed.
    pub fn evict(&mut self, replica: ReplicaId) -> bool {
        self.step(replica, |length| length % 2 == 1)
    }

    fn step(&mut self, replica: ReplicaId, applies: impl Fn(u32) -> bool) -> bool {
        match self.entries.get_mut(&replica) {
            Some(admission) if applies(admission.length) && admission.length < u32::MAX => {
                admission.length += 1;
                self.derive(replica);
                true
            }
            _ => false,
        }
    }

    /// Takes over what another roster knows; returns whether this one changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (&replica, theirs) in &other.entries {
            changed |= self.join_one(replica, theirs);
        }
        changed
    }

    fn join_one(&mut self, replica: ReplicaId, theirs: &Admission) -> bool {
        match self.entries.get_mut(&replica) {
            None => {
                self.entries.insert(replica, theirs.clone());
            }
            Some(ours) => {
                // Node and boot never change for a replica id. Taking the greater keeps this a join even of forgeries.
                let joined = Admission {
                    length: ours.length.max(theirs.length),
                    node: (&ours.node).max(&theirs.node).clone(),
                    boot: ours.boot.max(theirs.boot),
                };
                if *ours == joined {
                    return false;
                }
                let forged = (&ours.node, ours.boot) != (&joined.node, joined.boot);
                *ours = joined;
                if forged {
                    self.derive_anew();
                    return true;
                }
            }
        }
        self.derive(replica);
        true
    }

    /// Follows a change of one entry that did not move it to another node. Of the runs of a node only the newest can be
    /// a member.
    fn derive(&mut self, replica: ReplicaId) {
        let Some(admission) = self.entries.get(&replica) else { return };
        if let Some(before) = self.newest.get(&admission.node).and_then(|(_, before)| self.members.remove(before)) {
            self.sum = self.sum.wrapping_sub(before);
        }
        note(&mut self.newest, replica, admission);
        if let Some(&(_, newest)) = self.newest.get(&admission.node) {
            self.list(newest);
        }
    }

    /// Makes a replica a member if it is one.
    fn list(&mut self, replica: ReplicaId) {
        if let Some(admission) = self.entries.get(&replica).filter(|admission| self.holds(replica, admission)) {
            let hash = admission.hash(replica);
            let before = self.members.insert(replica, hash).unwrap_or_default();
            self.sum = self.sum.wrapping_sub(before).wrapping_add(hash);
        }
    }

    fn derive_anew(&mut self) {
        self.newest.clear();
        self.entries.iter().for_each(|(&replica, admission)| note(&mut self.newest, replica, admission));
        self.members.clear();
        self.sum = 0;
        let known: Vec<ReplicaId> = self.entries.keys().copied().collect();
        known.into_iter().for_each(|replica| self.list(replica));
    }

    /// Forgets a replica that is no member any more, as if it had never been admitted. Returns whether it did. Whoever
    /// remembers it as a member would bring it back: not to be done before all members know better.
    pub fn forget(&mut self, replica: ReplicaId) -> bool {
        if self.is_admitted(replica) {
            return false;
        }
        let Some(Admission { node, .. }) = self.entries.remove(&replica) else { return false };
        // Of a node whose newest run is forgotten, an older one must not become a member again.
        if self.newest.get(&node).is_some_and(|(_, newest)| *newest == replica) {
            self.newest.remove(&node);
            self.entries.retain(|_, older| older.node != node);
        }
        true
    }

    /// Whether joining `other` would change nothing.
    pub fn includes(&self, other: &Self) -> bool {
        let within = |ours: &Admission, theirs: &Admission| {
            theirs.length <= ours.length && theirs.boot <= ours.boot && theirs.node <= ours.node
        };
        other.entries.iter().all(|(id, theirs)| self.entries.get(id).is_some_and(|ours| within(ours, theirs)))
    }

    /// What this roster knows and `before` did not: a roster of its own, small, to be joined by others.
    #[must_use]
    pub fn difference(&self, before: &Self) -> Self {
        let mut difference = Self::default();
        for (&replica, admission) in &self.entries {
            if before.entries.get(&replica) != Some(admission) {
                difference.join_one(replica, admission);
            }
        }
        difference
    }

    /// What is known of these replicas and of the newest runs of their nodes: who of them is admitted here is so there,
    /// and who is not is not.
    #[must_use]
    pub fn about(&self, replicas: impl IntoIterator<Item = ReplicaId>) -> Self {
        let mut about = Self::default();
        for replica in replicas {
            let Some(admission) = self.entries.get(&replica) else { continue };
            about.join_one(replica, admission);
            if let Some(newest) = self.superseded_by(replica).and_then(|newest| self.entries.get_key_value(&newest)) {
                about.join_one(*newest.0, newest.1);
            }
        }
        about
    }

    /// Those that are admitted: a roster of its own, to be joined by others.
    #[must_use]
    pub fn admitted(&self) -> Self {
        let mut admitted = Self::default();
        for replica in self.members.keys() {
            if let Some(admission) = self.entries.get(replica) {
                admitted.join_one(*replica, admission);
            }
        }
        admitted
    }

    /// The same in parts of at most so many replicas, each to be joined by others in whatever order.
    pub fn parts(&self, replicas: usize) -> Vec<Self> {
        let entries: Vec<_> = self.entries.iter().collect();
        let part = |entries: &[(&ReplicaId, &Admission)]| {
            let mut part = Self::default();
            for (replica, admission) in entries {
                part.join_one(**replica, admission);
            }
            part
        };
        entries.chunks(replicas.max(1)).map(part).collect()
    }

    /// The newest run of a node: its boot and its replica.
    pub fn newest_of(&self, node: &NodeId) -> Option<(u64, ReplicaId)> {
        self.newest.get(node).copied()
    }

    /// Whether this replica belongs to the cluster.
    pub fn is_admitted(&self, replica: ReplicaId) -> bool {
        self.members.contains_key(&replica)
    }

    /// Whether this replica belonged to the cluster and no longer does: it was evicted, or its node has a newer run.
    pub fn is_evicted(&self, replica: ReplicaId) -> bool {
        self.entries.get(&replica).is_some_and(|admission| !self.holds(replica, admission))
    }

    /// Whether a newer run of the same node is known, admitted or not.
    pub fn is_superseded(&self, replica: ReplicaId) -> bool {
        self.superseded_by(replica).is_some()
    }

    /// The newest run of the same node, if it is another.
    pub fn superseded_by(&self, replica: ReplicaId) -> Option<ReplicaId> {
        let admission = self.entries.get(&replica)?;
        let &(boot, newest) = self.newest.get(&admission.node)?;
        ((boot, newest) > (admission.boot, replica)).then_some(newest)
    }

    fn holds(&self, replica: ReplicaId, admission: &Admission) -> bool {
        admission.length % 2 == 1 && !self.is_superseded(replica)
    }

    /// The admitted replicas, in order.
    pub fn members(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.members.keys().copied()
    }

    /// How many there are of them.
    pub fn len_members(&self) -> usize {
        self.members.len()
    }

    /// The admitted replicas as a set.
    pub fn member_set(&self) -> BTreeSet<ReplicaId> {
        self.members.keys().copied().collect()
    }

    /// What is known of a replica.
    pub fn get(&self, replica: ReplicaId) -> Option<&Admission> {
        self.entries.get(&replica)
    }

    /// Everything known, admitted or not, ordered by replica.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, &Admission)> + '_ {
        self.entries.iter().map(|(&replica, admission)| (replica, admission))
    }

    /// How many replicas are known, admitted or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no replica is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A hash of the members: equal on two hosts exactly when theirs are, and kept up to date entry by entry. What is known
    /// of those who are no members any more is no part of it, since that is forgotten here sooner and there later. Never
    /// 0, which stands for no roster.
    pub fn fingerprint(&self) -> u64 {
        self.sum.max(1)
    }
}

fn note(newest: &mut BTreeMap<NodeId, (u64, ReplicaId)>, replica: ReplicaId, Admission { node, boot, .. }: &Admission) {
    match newest.get_mut(node) {
        Some(newest) => *newest = (*newest).max((*boot, replica)),
        None => drop(newest.insert(node.clone(), (*boot, replica))),
    }
}

impl PartialEq for Roster {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Roster {}

impl crdts::CvRDT for Roster {
    type Validation = super::context::Impossible;

    fn validate_merge(&self, _other: &Self) -> Result<(), Self::Validation> {
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.join(&other);
    }
}

impl Serialize for Roster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.entries)
    }
}

impl<'de> Deserialize<'de> for Roster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list: Vec<(ReplicaId, Admission)> = codec::bounded::<_, _, { Self::MAX_ENTRIES }>(deserializer)?;
        let mut roster = Self::new();
        for (replica, admission) in list {
            if admission.length == 0 || roster.entries.last_key_value().is_some_and(|(last, _)| *last >= replica) {
                return Err(serde::de::Error::custom("a roster is out of order or holds one who was never admitted"));
            }
            roster.join_one(replica, &admission);
        }
        Ok(roster)
    }
}

#[cfg(test)]
mod tests;
