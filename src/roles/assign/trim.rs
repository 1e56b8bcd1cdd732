//! What is too much: more instances than wanted, and roles that exclude each other on one node.

use std::collections::{BTreeMap, BTreeSet};

use super::board::{Board, GivenUp, Seat};
use super::{Chosen, FencingToken};

/// Who was there first: what runs before what is on its way, then by age.
type Age = (bool, FencingToken, usize);

impl Board<'_> {
    /// Too many incumbents, after a heal or because fewer are wanted: those stay that run, where nothing excludes them, in
    /// as many zones as there are, on nodes within the cap, for longest.
    pub(super) fn trim(&mut self) {
        for row in 0..self.rows.len() {
            let hosts = &self.rows[row].hosts;
            let nodes: BTreeSet<usize> = hosts.keys().map(|seat| self.node_of[*seat]).collect();
            if hosts.len() <= self.rows[row].wanted && nodes.len() == hosts.len() {
                continue;
            }
            let kept = self.kept(row);
            let seats: Vec<Seat> = self.rows[row].hosts.keys().copied().filter(|seat| !kept.contains(seat)).collect();
            for seat in seats {
                self.remove(row, seat, GivenUp::TooMany);
            }
        }
    }

    fn kept(&self, row: usize) -> BTreeSet<Seat> {
        let mut open: BTreeMap<Seat, _> = BTreeMap::new();
        for (seat, host) in &self.rows[row].hosts {
            let node = self.node_of[*seat];
            let first = (!host.runs(), self.older_beside(row, *seat).is_some());
            let rest = (self.load[node] > self.cap, host.token, self.candidates[*seat].replica);
            open.insert(*seat, (first, rest));
        }
        let mut in_zone = vec![0_usize; self.zone_counts(row).len()];
        let (mut kept, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        while kept.len() < self.rows[row].wanted {
            let next =
                open.iter().min_by_key(|(seat, (first, rest))| (first, self.in_zone(row, &in_zone, **seat), rest));
            let Some(seat) = next.map(|(seat, _)| *seat) else { break };
            open.remove(&seat);
            if nodes.insert(self.node_of[seat]) {
                kept.insert(seat);
                if let Some(zones) = self.zones_of(row) {
                    in_zone[zones[seat]] += 1;
                }
            }
        }
        kept
    }

    /// Of those that exclude each other on one node the older stays, also where that was no news: a spec changed, or sides
    /// of a partition met. What is on its way does not come where a task of such a role may still run.
    pub(super) fn part(&mut self) {
        let mut hosts: Vec<(Age, Seat)> = Vec::new();
        for (row, of) in self.rows.iter().enumerate() {
            if !self.apart.of(row).is_empty() {
                hosts.extend(of.hosts.keys().map(|seat| (self.age(row, *seat), *seat)));
            }
        }
        hosts.sort_unstable();
        // From the oldest on.
        let mut stay: BTreeSet<(usize, usize)> = BTreeSet::new();
        for ((late, _, row), seat) in hosts {
            let node = self.node_of[seat];
            let running = if late { self.apart.running(row, node).next() } else { None };
            let older = self.apart.of(row).iter().copied().find(|other| stay.contains(&(*other, node)));
            if let Some(other) = older.or(running) {
                let role = self.role(other);
                self.remove(row, seat, GivenUp::Beside { role });
            } else {
                stay.insert((row, node));
            }
        }
    }

    /// A role on the same node that excludes this one and was there before.
    fn older_beside(&self, row: usize, seat: Seat) -> Option<usize> {
        let node = self.node_of[seat];
        let mut others = self.apart.of(row).iter().copied().filter(|other| self.tenants[node].contains(other));
        others.find(|other| {
            let seats = self.rows[*other].hosts.keys().filter(|seat| self.node_of[**seat] == node);
            seats.map(|seat| self.age(*other, *seat)).min().is_some_and(|age| age < self.age(row, seat))
        })
    }

    fn age(&self, row: usize, seat: Seat) -> Age {
        let host = &self.rows[row].hosts[&seat];
        (host.why != Chosen::Incumbent, host.token, row)
    }
}
