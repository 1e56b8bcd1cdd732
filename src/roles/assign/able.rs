//! Who can host a role at all, and who must not: the constraints that a spec sets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::board::Seat;
use super::{Candidate, ClaimState, Holding, PartitionPolicy, Picture, RoleSpec};
use crate::id::ReplicaId;

/// Why a node cannot be given a role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Obstacle {
    /// It cannot build the kind.
    Kind,
    /// It leaves the cluster.
    Leaves,
    /// It came back from the dead too often, and waits; others can build the kind.
    Unready,
    /// It has not the label that the role requires, or another value of it.
    Label {
        /// The label.
        label: String,
        /// What the role requires.
        wanted: String,
        /// What the node has.
        has: Option<String>,
    },
    /// The role failed there too often.
    Failed {
        /// In words.
        why: String,
        /// When the node is asked again, in milliseconds of estimated time.
        until_ms: u64,
    },
    /// It hosts a role which this one must not be beside, or is about to.
    Beside {
        /// That role.
        role: String,
    },
    /// Another run of the same node has it.
    SameNode,
}

/// Why a candidate is none for a role, apart from what the claims say.
pub(super) fn unfit(spec: &RoleSpec, candidate: &Candidate) -> Option<Obstacle> {
    if !candidate.kinds.contains(&spec.kind) {
        return Some(Obstacle::Kind);
    }
    spec.requires.iter().find_map(|(label, wanted)| {
        let has = candidate.labels.get(label);
        (has != Some(wanted)).then(|| Obstacle::Label {
            label: label.clone(),
            wanted: wanted.clone(),
            has: has.cloned(),
        })
    })
}

/// The candidates that suit each role, claims aside. Roles of one kind and the same labels are looked at once.
pub(super) fn suited<'a>(roles: &[&'a RoleSpec], candidates: &[&Candidate]) -> Vec<Vec<Seat>> {
    let mut known: BTreeMap<(&'a str, &'a BTreeMap<String, String>), Vec<Seat>> = BTreeMap::new();
    let one = |spec: &&'a RoleSpec| {
        let found = known
            .entry((&spec.kind, &spec.requires))
            .or_insert_with(|| (0..candidates.len()).filter(|seat| unfit(spec, candidates[*seat]).is_none()).collect());
        found.clone()
    };
    roles.iter().map(one).collect()
}

/// Who gave the role up because it failed too often.
pub(super) fn excluded(claims: &[Holding]) -> BTreeSet<ReplicaId> {
    claims.iter().filter(|h| matches!(h.claim.state, ClaimState::Failed { .. })).map(|h| h.holder).collect()
}

/// Whether a side of so many nodes, out of a roster, runs a role of this policy.
pub(super) fn may_run(policy: PartitionPolicy, nodes: usize, roster: usize) -> bool {
    match policy {
        PartitionPolicy::Overlap => true,
        PartitionPolicy::Majority => 2 * nodes > roster,
        PartitionPolicy::Quorum(least) => nodes >= least as usize,
    }
}

/// Which roles exclude which, and where a task of one of them may still run.
#[derive(Default)]
pub(super) struct Apart {
    /// By role, as numbers: those of the roles asked for, then those of roles that are merely named.
    of: Vec<BTreeSet<usize>>,
    /// By node: the roles of which a task may run there, by its claim.
    occupied: Vec<BTreeSet<usize>>,
    /// What the numbers beyond the roles asked for stand for.
    strangers: Vec<String>,
}

impl Apart {
    /// `node_of` tells the node of a holder. Costs nothing where no role names another.
    pub(super) fn new(
        roles: &[&RoleSpec],
        picture: &Picture<'_>,
        nodes: usize,
        node_of: impl Fn(ReplicaId) -> Option<usize>,
    ) -> Self {
        let mut apart = Self { of: vec![BTreeSet::new(); roles.len()], ..Self::default() };
        if roles.iter().all(|spec| spec.apart_from.is_empty()) {
            return apart;
        }
        let mut numbers: BTreeMap<&str, usize> =
            roles.iter().enumerate().map(|(index, spec)| (spec.name.as_str(), index)).collect();
        for (index, spec) in roles.iter().enumerate() {
            for name in spec.apart_from.iter().filter(|name| **name != spec.name) {
                let next = apart.of.len();
                let other = *numbers.entry(name).or_insert(next);
                if other == next {
                    apart.of.push(BTreeSet::new());
                    apart.strangers.push(name.clone());
                }
                apart.of[index].insert(other);
                apart.of[other].insert(index);
            }
        }
        apart.occupied = vec![BTreeSet::new(); nodes];
        for (name, number) in numbers.into_iter().filter(|(_, number)| !apart.of[*number].is_empty()) {
            let running = picture.of(name).iter().filter(|holding| holding.claim.occupies());
            for node in running.filter_map(|holding| node_of(holding.holder)) {
                apart.occupied[node].insert(number);
            }
        }
        apart
    }

    /// The roles that exclude this one.
    pub(super) fn of(&self, row: usize) -> &BTreeSet<usize> {
        &self.of[row]
    }

    /// The roles that exclude this one and may run there now.
    pub(super) fn running(&self, row: usize, node: usize) -> impl Iterator<Item = usize> + '_ {
        let there = self.occupied.get(node).into_iter().flatten().copied();
        there.filter(move |other| self.of[row].contains(other))
    }

    /// The name of one that is merely named.
    pub(super) fn stranger(&self, number: usize, roles: usize) -> Option<&str> {
        self.strangers.get(number.checked_sub(roles)?).map(String::as_str)
    }
}
