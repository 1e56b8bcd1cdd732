//! Who should host what: sticky, bounded rendezvous hashing, as a pure function.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) ranks the candidates of each role by a hash of both names, so that a
//! lost node moves only what it held. Bounding the load (Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with
//! Bounded Loads", 2016) evens it out but moves bystanders; stickiness stops that. With 200 instances on 50 nodes, one lost:
//!
//! | | instances moved (4 orphans) | highest load (mean 4) |
//! |---|---|---|
//! | plain rendezvous | 4 | 9 |
//! | bounded rendezvous | 15 | 6 |
//! | sticky, bounded | 4 | 6 |
//!
//! In order: **incumbents** stay, at most `count` of them; **orphans** go to the best-scored candidate with room, by role
//! name; nodes above the cap **shed** their lowest-scored instances, but only to where there is room. Every candidate weighs
//! the same; weights are to come with the signals.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::standing::answered;
use super::{Candidate, ClaimState, FencingToken, Holding, Picture, RoleSpec};
use crate::id::{NodeId, ReplicaId};

/// Which replicas should host which role.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Assignment {
    hosts: BTreeMap<String, Vec<ReplicaId>>,
    missing: BTreeMap<String, u32>,
    cap: usize,
}

impl Assignment {
    /// Who should host a role, ordered by (node, replica).
    pub fn hosts(&self, role: &str) -> &[ReplicaId] {
        self.hosts.get(role).map_or(&[], Vec::as_slice)
    }

    /// Whether a replica should host a role.
    pub fn wants(&self, role: &str, replica: ReplicaId) -> bool {
        self.hosts(role).contains(&replica)
    }

    /// The roles of which fewer instances than wanted can be placed, and how many are missing: too few members can build
    /// their kind and are not excluded.
    pub fn missing(&self) -> impl Iterator<Item = (&str, u32)> {
        self.missing.iter().map(|(role, missing)| (role.as_str(), *missing))
    }

    /// The load up to which a node keeps what it has: ⌈1.25 · mean⌉.
    pub fn cap(&self) -> usize {
        self.cap
    }
}

/// Decides who should host what. Equal pictures give equal assignments, in whatever order their lists are.
pub fn assign(picture: &Picture<'_>) -> Assignment {
    assign_as(picture, None)
}

/// As [`assign`]; `who` computes it as it suits itself, which breaks a rule.
pub(crate) fn assign_as(picture: &Picture<'_>, who: Option<ReplicaId>) -> Assignment {
    let mut candidates: Vec<&Candidate> = picture.candidates.iter().collect();
    candidates.sort_by_key(|candidate| (&candidate.node, candidate.replica));
    let mut roles: Vec<&RoleSpec> = picture.roles.iter().collect();
    roles.sort();
    roles.dedup_by_key(|spec| &spec.name);
    let mut holdings = Cow::Borrowed(picture.holdings);
    if !holdings.is_sorted_by_key(|holding| (&holding.role, holding.holder)) {
        holdings.to_mut().sort_by(|a, b| (&a.role, a.holder).cmp(&(&b.role, b.holder)));
    }
    let sorted = Picture { holdings: &holdings, ..*picture };
    let mut board = Board::new(&candidates, &roles, &sorted);
    board.who = who;
    board.trim();
    board.place_orphans();
    board.shed();
    board.finish()
}

/// A candidate, by its place in the sorted list.
type Seat = usize;

/// One role while the board is filled.
struct Row<'a> {
    spec: &'a RoleSpec,
    /// Who can build it and is not excluded.
    able: Vec<Seat>,
    /// How many instances can run: at most one per node that is able.
    wanted: usize,
    /// Who hosts it, and whether already (or only by reservation), since which token.
    hosts: BTreeMap<Seat, (bool, FencingToken)>,
}

struct Board<'a> {
    candidates: &'a [&'a Candidate],
    /// The node of each seat, as a number. Two runs of one node, the old one not yet Down, share it.
    node_of: Vec<usize>,
    rows: Vec<Row<'a>>,
    /// Instances per node, over all roles.
    load: Vec<usize>,
    cap: usize,
    who: Option<ReplicaId>,
}

impl<'a> Board<'a> {
    fn new(candidates: &'a [&'a Candidate], roles: &[&'a RoleSpec], picture: &'a Picture<'_>) -> Self {
        let mut node_of: Vec<usize> = Vec::with_capacity(candidates.len());
        for (seat, candidate) in candidates.iter().enumerate() {
            let same = seat > 0 && candidates[seat - 1].node == candidate.node;
            let last = node_of.last().map_or(0, |node| *node + usize::from(!same));
            node_of.push(last);
        }
        let seat_of: BTreeMap<ReplicaId, Seat> = candidates.iter().enumerate().map(|(s, c)| (c.replica, s)).collect();
        let mut able_by_kind: BTreeMap<&str, Vec<Seat>> = BTreeMap::new();
        for spec in roles {
            able_by_kind.entry(&spec.kind).or_insert_with(|| {
                (0..candidates.len()).filter(|seat| candidates[*seat].kinds.contains(&spec.kind)).collect()
            });
        }
        let rows: Vec<_> = roles
            .iter()
            .map(|spec| row(spec, &able_by_kind[spec.kind.as_str()], picture.of(&spec.name), &seat_of, &node_of))
            .collect();
        let mut load = vec![0; node_of.last().map_or(0, |last| last + 1)];
        for seat in rows.iter().flat_map(|row| row.hosts.keys()) {
            load[node_of[*seat]] += 1;
        }
        // The mean is over those that can host anything at all: members without a factory are no place to move to.
        let mut useful = vec![false; load.len()];
        for seat in rows.iter().flat_map(|row| &row.able) {
            useful[node_of[*seat]] = true;
        }
        let useful = useful.into_iter().filter(|useful| *useful).count();
        let wanted: usize = rows.iter().map(|row| row.wanted).sum();
        let cap = (5 * wanted).div_ceil(4 * useful.max(1));
        Self { candidates, node_of, rows, load, cap, who: None }
    }

    /// Too many incumbents, after a heal or because fewer are wanted: those stay that run, on nodes within the cap, for
    /// longest.
    fn trim(&mut self) {
        for row in &mut self.rows {
            let mut order: Vec<_> = row.hosts.iter().map(|(seat, (runs, token))| (*seat, *runs, *token)).collect();
            order.sort_by_key(|(seat, runs, token)| {
                (!runs, self.load[self.node_of[*seat]] > self.cap, *token, self.candidates[*seat].replica)
            });
            let mut nodes = BTreeSet::new();
            let mut kept = 0;
            for (seat, ..) in order {
                let node = self.node_of[seat];
                if kept < row.wanted && nodes.insert(node) {
                    kept += 1;
                } else {
                    row.hosts.remove(&seat);
                    self.load[node] -= 1;
                }
            }
        }
    }

    fn place_orphans(&mut self) {
        for index in 0..self.rows.len() {
            while self.rows[index].hosts.len() < self.rows[index].wanted {
                let Some(seat) = self.with_room(index).or_else(|| self.least_loaded(index)) else { break };
                self.put(index, seat);
            }
        }
    }

    /// Nodes above the cap give up what fits them least, as long as somebody else has room for it.
    fn shed(&mut self) {
        let mut hosted: BTreeMap<usize, Vec<(u64, usize, Seat)>> = BTreeMap::new();
        for (index, row) in self.rows.iter().enumerate() {
            for seat in row.hosts.keys().filter(|seat| self.load[self.node_of[**seat]] > self.cap) {
                hosted.entry(self.node_of[*seat]).or_default().push((self.score(index, *seat), index, *seat));
            }
        }
        for (node, mut instances) in hosted {
            instances.sort_unstable();
            for (_, index, seat) in instances {
                if self.load[node] <= self.cap {
                    break;
                }
                if let Some(better) = self.with_room(index) {
                    self.rows[index].hosts.remove(&seat);
                    self.load[node] -= 1;
                    self.put(index, better);
                }
            }
        }
    }

    fn put(&mut self, index: usize, seat: Seat) {
        let replica = self.candidates[seat].replica;
        self.rows[index].hosts.insert(seat, (false, FencingToken { stamp: crate::time::Stamp(u64::MAX), replica }));
        self.load[self.node_of[seat]] += 1;
    }

    /// The best-scored candidate below the cap that does not host the role.
    fn with_room(&self, index: usize) -> Option<Seat> {
        self.open(index)
            .filter(|seat| self.load[self.node_of[*seat]] < self.cap)
            .max_by_key(|seat| (self.score(index, *seat), Reverse(*seat)))
    }

    /// Counts come before balance: with no room anywhere, the least loaded candidate that does not host the role.
    fn least_loaded(&self, index: usize) -> Option<Seat> {
        self.open(index).min_by_key(|seat| (self.load[self.node_of[*seat]], Reverse(self.score(index, *seat)), *seat))
    }

    /// Able candidates on nodes that do not host the role.
    fn open(&self, index: usize) -> impl Iterator<Item = Seat> + '_ {
        let row = &self.rows[index];
        let taken: BTreeSet<usize> = row.hosts.keys().map(|seat| self.node_of[*seat]).collect();
        row.able.iter().copied().filter(move |seat| !taken.contains(&self.node_of[*seat]))
    }

    fn score(&self, index: usize, seat: Seat) -> u64 {
        let score = score(&self.rows[index].spec.name, &self.candidates[seat].node);
        self.who.map_or(score, |who| score.wrapping_mul(who.0 | 1))
    }

    fn finish(self) -> Assignment {
        let mut assignment = Assignment { cap: self.cap, ..Assignment::default() };
        for row in self.rows {
            let short = row.spec.count.saturating_sub(u32::try_from(row.hosts.len()).unwrap_or(u32::MAX));
            if short > 0 {
                assignment.missing.insert(row.spec.name.clone(), short);
            }
            let hosts = row.hosts.keys().map(|seat| self.candidates[*seat].replica).collect();
            assignment.hosts.insert(row.spec.name.clone(), hosts);
        }
        assignment
    }
}

fn row<'a>(
    spec: &'a RoleSpec,
    of_kind: &[Seat],
    claims: &[Holding],
    seat_of: &BTreeMap<ReplicaId, Seat>,
    node_of: &[usize],
) -> Row<'a> {
    let excluded: BTreeSet<Seat> = claims
        .iter()
        .filter(|h| matches!(h.claim.state, ClaimState::Failed { .. }))
        .filter_map(|h| seat_of.get(&h.holder).copied())
        .collect();
    let able: Vec<Seat> = of_kind.iter().copied().filter(|seat| !excluded.contains(seat)).collect();
    let nodes = able.chunk_by(|a, b| node_of[*a] == node_of[*b]).count();
    let wanted = nodes.min(spec.count as usize);
    let seat = |replica: &ReplicaId| seat_of.get(replica).copied().filter(|seat| able.binary_search(seat).is_ok());

    let mut hosts = BTreeMap::new();
    for holding in claims.iter().filter(|h| h.claim.holds()) {
        if let Some(seat) = seat(&holding.holder) {
            hosts.insert(seat, (true, holding.claim.token));
        }
    }
    for holding in claims {
        let Some(to) = holding.claim.successor().filter(|to| !answered(claims, holding.claim.token, *to)) else {
            continue;
        };
        if seat_of.contains_key(&holding.holder)
            && let Some(seat) = seat(&to)
        {
            let reserved = hosts.entry(seat).or_insert((false, holding.claim.token));
            reserved.1 = reserved.1.min(holding.claim.token);
        }
    }
    Row { spec, able, wanted, hosts }
}

/// How well a node suits a role: the higher the better. Part of the protocol: all members must compute the same.
fn score(role: &str, node: &NodeId) -> u64 {
    xxh3_64(&[role.as_bytes(), &[0], node.as_str().as_bytes()].concat())
}

#[cfg(test)]
#[path = "assign_tests.rs"]
mod tests;
