//! The board on which an assignment is made: who can host each role, who does, and how much each node has.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::able::{self, Apart};
use super::score::{self, Fit};
use super::{Assignment, Candidate, FencingToken, Holding, Picture, RoleSpec, answered};
use crate::id::{NodeId, ReplicaId};
use crate::time::Stamp;

/// A candidate, by its place in the sorted list.
pub(super) type Seat = usize;

/// Why a node is to host a role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Chosen {
    /// It has the role already, and nothing speaks against that.
    Incumbent,
    /// The role is being handed over to it.
    Reserved,
    /// An instance was missing, and it was the best of those that could take it.
    Placed,
    /// Another node had too much.
    Shed {
        /// That node.
        from: NodeId,
    },
    /// Another part of the cluster had two instances more than its own.
    Spread {
        /// The node there.
        from: NodeId,
    },
    /// It made way for a role that can run nowhere else.
    MadeWay {
        /// Where.
        from: NodeId,
        /// For this role.
        role: String,
    },
}

/// Why a node that has a role is not to keep it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GivenUp {
    /// There are more instances than wanted, and others come first.
    TooMany,
    /// A role that must not be beside this one has been there for longer.
    Beside {
        /// That role.
        role: String,
    },
    /// The node has too much.
    Shed {
        /// Who is to have it.
        to: NodeId,
    },
    /// Another part of the cluster has two instances fewer.
    Spread {
        /// Who is to have it.
        to: NodeId,
    },
    /// It makes way for a role that can run nowhere else.
    MakesWay {
        /// Who is to have it.
        to: NodeId,
        /// For this role.
        role: String,
    },
}

/// An instance on the board.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// Since when: that of its claim, or of the claim that names it.
    pub(super) token: FencingToken,
    pub(super) why: Chosen,
    pub(super) pinned: bool,
}

impl Host {
    pub(super) fn runs(&self) -> bool {
        self.why == Chosen::Incumbent
    }

    /// What is pinned or on its way is moved for no balance.
    pub(super) fn may_move(&self) -> bool {
        !self.pinned && self.why != Chosen::Reserved
    }
}

/// One role while the board is filled.
pub(super) struct Row<'a> {
    pub(super) spec: &'a RoleSpec,
    /// Who can build it, has the labels and is not excluded.
    pub(super) able: Vec<Seat>,
    /// How many instances can run: at most one per node that is able.
    pub(super) wanted: usize,
    /// The policy keeps it from running on this side.
    pub(super) held_back: bool,
    pub(super) hosts: BTreeMap<Seat, Host>,
    /// Nodes that will have it as soon as another role has left them.
    pub(super) waits: BTreeSet<Seat>,
    /// Who has it and is not to keep it.
    pub(super) given_up: BTreeMap<Seat, GivenUp>,
    /// Which of the lists of zones is its own.
    pub(super) spread: Option<usize>,
}

pub(super) struct Board<'a> {
    pub(super) candidates: &'a [&'a Candidate],
    /// The node of each seat, as a number. Two runs of one node, the old one not yet Down, share it.
    pub(super) node_of: Vec<usize>,
    pub(super) rows: Vec<Row<'a>>,
    /// The rows, those first that fewer nodes can host, then by name: whoever has the choice leaves room to who has none.
    pub(super) order: Vec<usize>,
    /// Instances per node, over all roles.
    pub(super) load: Vec<usize>,
    /// The same by role: those that host it, or wait for it.
    pub(super) tenants: Vec<BTreeSet<usize>>,
    pub(super) apart: Apart,
    /// For each label that somebody spreads over: the zone of each seat, as a number, in the order of the values. A node
    /// without the label is a zone of its own.
    pub(super) zones: Vec<Vec<usize>>,
    pub(super) cap: usize,
    pub(super) nodes: usize,
    who: Option<ReplicaId>,
}

impl<'a> Board<'a> {
    /// As the claims say it, whatever is too much included.
    pub(super) fn new(
        candidates: &'a [&'a Candidate],
        roles: &[&'a RoleSpec],
        picture: &Picture<'_>,
        who: Option<ReplicaId>,
    ) -> Self {
        let mut node_of: Vec<usize> = Vec::with_capacity(candidates.len());
        for (seat, candidate) in candidates.iter().enumerate() {
            let same = seat > 0 && candidates[seat - 1].node == candidate.node;
            let last = node_of.last().map_or(0, |node| *node + usize::from(!same));
            node_of.push(last);
        }
        let nodes = node_of.last().map_or(0, |last| last + 1);
        let seat_of: BTreeMap<ReplicaId, Seat> = candidates.iter().enumerate().map(|(s, c)| (c.replica, s)).collect();
        let apart = Apart::new(roles, picture, nodes, |holder| seat_of.get(&holder).map(|seat: &Seat| node_of[*seat]));
        let labels: BTreeSet<&str> = roles.iter().filter_map(|spec| spec.spread_over.as_deref()).collect();
        let zones = labels.iter().map(|label| zones(label, candidates, &node_of)).collect();
        let mut rows = Vec::with_capacity(roles.len());
        for (spec, suited) in roles.iter().zip(able::suited(roles, candidates)) {
            let spread = spec.spread_over.as_deref().and_then(|own| labels.iter().position(|label| *label == own));
            let held_back = !able::may_run(spec.partition, nodes, picture.roster);
            let claims = picture.of(&spec.name);
            rows.push(Row { spread, held_back, ..row(spec, suited, claims, &seat_of, &node_of, held_back) });
        }
        // The mean is over those that can host anything at all: members without a factory are no place to move to.
        let useful: BTreeSet<usize> = rows.iter().flat_map(|row| &row.able).map(|seat| node_of[*seat]).collect();
        let wanted: usize = rows.iter().map(|row| row.wanted).sum();
        let cap = (5 * wanted).div_ceil(4 * useful.len().max(1));
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|index| places(&rows[*index].able, &node_of));
        let mut board = Self {
            candidates,
            node_of,
            rows,
            order,
            load: vec![0; nodes],
            tenants: vec![BTreeSet::new(); nodes],
            apart,
            zones,
            cap,
            nodes,
            who,
        };
        for index in 0..board.rows.len() {
            for seat in board.rows[index].hosts.keys() {
                board.load[board.node_of[*seat]] += 1;
                board.tenants[board.node_of[*seat]].insert(index);
            }
        }
        board
    }

    pub(super) fn fit(&self, row: usize, seat: Seat) -> Fit {
        let candidate = self.candidates[seat];
        let hash = score::hash(&self.rows[row].spec.name, &candidate.node);
        Fit::new(self.who.map_or(hash, |who| hash.wrapping_mul(who.0 | 1)), candidate.load)
    }

    pub(super) fn name(&self, seat: Seat) -> NodeId {
        self.candidates[seat].node.clone()
    }

    /// The name of a role, by its number.
    pub(super) fn role(&self, number: usize) -> String {
        let asked_for = self.rows.get(number).map(|row| row.spec.name.as_str());
        asked_for.or_else(|| self.apart.stranger(number, self.rows.len())).unwrap_or_default().to_owned()
    }

    pub(super) fn put(&mut self, row: usize, seat: Seat, why: Chosen) {
        let replica = self.candidates[seat].replica;
        let token = FencingToken { stamp: Stamp(u64::MAX), replica };
        // What was to go, and comes to where it is, is what it was.
        let back = self.rows[row].given_up.remove(&seat).is_some();
        let why = if back { Chosen::Incumbent } else { why };
        self.rows[row].hosts.insert(seat, Host { token, why, pinned: false });
        self.enter(row, seat);
    }

    /// Keeps a place for a role until another one has left it.
    pub(super) fn wait(&mut self, row: usize, seat: Seat) {
        self.rows[row].waits.insert(seat);
        self.enter(row, seat);
    }

    fn enter(&mut self, row: usize, seat: Seat) {
        self.load[self.node_of[seat]] += 1;
        self.tenants[self.node_of[seat]].insert(row);
    }

    /// Takes an instance off the board; an incumbent remembers why.
    pub(super) fn remove(&mut self, row: usize, seat: Seat, why: GivenUp) -> Option<Host> {
        let host = self.rows[row].hosts.remove(&seat)?;
        if host.runs() {
            self.rows[row].given_up.insert(seat, why);
        }
        let node = self.node_of[seat];
        self.load[node] -= 1;
        if !self.rows[row].hosts.keys().any(|other| self.node_of[*other] == node) {
            self.tenants[node].remove(&row);
        }
        Some(host)
    }

    /// How many instances each zone of a role has. Empty for roles that are not spread.
    pub(super) fn zone_counts(&self, row: usize) -> Vec<usize> {
        let Some(zones) = self.zones_of(row) else { return Vec::new() };
        let mut counts = vec![0; zones.iter().max().map_or(0, |last| last + 1)];
        for seat in self.rows[row].hosts.keys().chain(&self.rows[row].waits) {
            counts[zones[*seat]] += 1;
        }
        counts
    }

    pub(super) fn zones_of(&self, row: usize) -> Option<&Vec<usize>> {
        self.rows[row].spread.map(|label| &self.zones[label])
    }

    /// How many instances the zone of a seat has.
    pub(super) fn in_zone(&self, row: usize, counts: &[usize], seat: Seat) -> usize {
        self.zones_of(row).map_or(0, |zones| counts[zones[seat]])
    }

    pub(super) fn finish(self) -> Assignment {
        let mut assignment = Assignment { cap: self.cap, ..Assignment::default() };
        for row in self.rows {
            let name = &row.spec.name;
            let short = row.spec.count.saturating_sub(u32::try_from(row.hosts.len()).unwrap_or(u32::MAX));
            if row.held_back {
                assignment.held_back.insert(name.clone());
            } else if short > 0 {
                assignment.missing.insert(name.clone(), short);
            }
            let hosts = row.hosts.keys().map(|seat| self.candidates[*seat].replica).collect();
            assignment.hosts.insert(name.clone(), hosts);
        }
        assignment
    }
}

/// The zone of each seat: the value of the label, or else the node itself.
fn zones(label: &str, candidates: &[&Candidate], node_of: &[usize]) -> Vec<usize> {
    let zone = |seat: Seat| match candidates[seat].labels.get(label) {
        Some(value) => (Some(value), 0),
        None => (None, node_of[seat]),
    };
    let all: BTreeSet<_> = (0..candidates.len()).map(zone).collect();
    let all: Vec<_> = all.into_iter().collect();
    (0..candidates.len()).map(|seat| all.partition_point(|other| *other < zone(seat))).collect()
}

/// On how many nodes these seats are.
fn places(able: &[Seat], node_of: &[usize]) -> usize {
    able.chunk_by(|a, b| node_of[*a] == node_of[*b]).count()
}

fn row<'a>(
    spec: &'a RoleSpec,
    suited: Vec<Seat>,
    claims: &[Holding],
    seat_of: &BTreeMap<ReplicaId, Seat>,
    node_of: &[usize],
    held_back: bool,
) -> Row<'a> {
    let excluded: BTreeSet<Seat> =
        able::excluded(claims).iter().filter_map(|holder| seat_of.get(holder).copied()).collect();
    let able: Vec<Seat> = suited.into_iter().filter(|seat| !excluded.contains(seat)).collect();
    let wanted = if held_back { 0 } else { places(&able, node_of).min(spec.count as usize) };
    let seat = |replica: &ReplicaId| seat_of.get(replica).copied().filter(|seat| able.binary_search(seat).is_ok());

    let mut hosts = BTreeMap::new();
    for holding in claims.iter().filter(|h| h.claim.holds()) {
        if let Some(seat) = seat(&holding.holder) {
            let (token, pinned) = (holding.claim.token, holding.claim.pinned);
            hosts.insert(seat, Host { token, why: Chosen::Incumbent, pinned });
        }
    }
    for holding in claims {
        let token = holding.claim.token;
        let Some(to) = holding.claim.successor().filter(|to| !answered(claims, token, *to)) else { continue };
        if seat_of.contains_key(&holding.holder)
            && let Some(seat) = seat(&to)
        {
            let reserved = hosts.entry(seat).or_insert(Host { token, why: Chosen::Reserved, pinned: false });
            reserved.token = reserved.token.min(token);
        }
    }
    Row { spec, able, wanted, held_back, hosts, waits: BTreeSet::new(), given_up: BTreeMap::new(), spread: None }
}
