//! Where what is missing goes.

use std::collections::BTreeSet;

use super::Chosen;
use super::board::{Board, GivenUp, Seat};
use super::score::Fit;

/// What the best of several seats goes by, the least first: the instances in its zone; whether it has no room, and if so,
/// how much it has; and how well it suits.
pub(super) type Rank = (usize, Option<usize>, Fit, Seat);

/// What it costs to move an instance out of the way: whether it runs, whether it was moved a short time ago, how well the
/// seat suits whoever takes it, and which role it is of.
type Cost = (bool, bool, Rank, usize);

impl Board<'_> {
    /// Puts every instance that is missing somewhere, as far as there is a node that can take it. Counts come before balance.
    /// Returns whether it placed any.
    pub(super) fn place_orphans(&mut self) -> bool {
        let mut placed = false;
        for row in self.order.clone() {
            while self.rows[row].hosts.len() + self.rows[row].waits.len() < self.rows[row].wanted {
                if let Some(seat) = self.best(row) {
                    self.put(row, seat, Chosen::Placed);
                } else if let Some(seat) = self.soon(row) {
                    self.wait(row, seat);
                } else if !self.make_way(row) {
                    break;
                }
                placed = true;
            }
        }
        placed
    }

    /// The best seat for one more instance: in the emptiest zone, on a node with room, as suitable as can be. With no room
    /// anywhere in that zone, the least loaded.
    pub(super) fn best(&self, row: usize) -> Option<Seat> {
        self.best_of(row, |seat| self.beside(row, seat).is_none())
    }

    fn best_of(&self, row: usize, fits: impl Fn(Seat) -> bool) -> Option<Seat> {
        let counts = self.zone_counts(row);
        let seats = self.open(row).filter(|seat| fits(*seat));
        seats.min_by_key(|seat| self.rank(row, &counts, *seat))
    }

    pub(super) fn rank(&self, row: usize, counts: &[usize], seat: Seat) -> Rank {
        let load = self.load[self.node_of[seat]];
        (self.in_zone(row, counts, seat), (load >= self.cap).then_some(load), self.fit(row, seat), seat)
    }

    /// Able candidates on nodes that neither host the role nor wait for it.
    pub(super) fn open(&self, row: usize) -> impl Iterator<Item = Seat> + '_ {
        let own = &self.rows[row];
        let seats = own.hosts.keys().chain(&own.waits);
        let taken: BTreeSet<usize> = seats.map(|seat| self.node_of[*seat]).collect();
        own.able.iter().copied().filter(move |seat| !taken.contains(&self.node_of[*seat]))
    }

    /// A role that keeps this one from being placed here: it is to be here, or a task of it may still run here.
    pub(super) fn beside(&self, row: usize, seat: Seat) -> Option<usize> {
        let node = self.node_of[seat];
        self.tenant_beside(row, node).next().or_else(|| self.apart.running(row, node).next())
    }

    fn tenant_beside(&self, row: usize, node: usize) -> impl Iterator<Item = usize> + '_ {
        self.apart.of(row).iter().copied().filter(move |other| self.tenants[node].contains(other))
    }

    /// A seat that nothing keeps the role from but a task that is about to go.
    fn soon(&self, row: usize) -> Option<Seat> {
        if self.apart.of(row).is_empty() {
            return None;
        }
        self.best_of(row, |seat| self.tenant_beside(row, self.node_of[seat]).next().is_none())
    }

    /// Moves the only instance that keeps a role from a node, if that one can go elsewhere without moving yet another: one
    /// step deep, so some counts that a cleverer search would meet stay unmet. What is on its way is left alone.
    fn make_way(&mut self, row: usize) -> bool {
        let counts = self.zone_counts(row);
        let mut best: Option<(Cost, Seat, Seat, Seat)> = None;
        for seat in self.open(row) {
            let node = self.node_of[seat];
            let mut others = self.tenant_beside(row, node);
            let (Some(other), None) = (others.next(), others.next()) else { continue };
            let there = |(at, _): &(&Seat, _)| self.node_of[**at] == node;
            let Some((at, host)) = self.rows[other].hosts.iter().find(there) else { continue };
            if host.why == Chosen::Reserved {
                continue;
            }
            let Some(to) = self.best(other) else { continue };
            // Rather one that runs nowhere yet, and rather one that was not moved a short time ago.
            let order = (host.runs(), host.pinned, self.rank(row, &counts, seat), other);
            if best.as_ref().is_none_or(|(least, ..)| order < *least) {
                best = Some((order, seat, *at, to));
            }
        }
        let Some(((runs, _, _, other), seat, at, to)) = best else { return false };
        let (role, from) = (self.rows[row].spec.name.clone(), self.name(at));
        self.remove(other, at, GivenUp::MakesWay { to: self.name(to), role: role.clone() });
        self.put(other, to, if runs { Chosen::MadeWay { from, role } } else { Chosen::Placed });
        // One that had to go for the other is there still.
        let there = self.rows[row].given_up.contains_key(&seat);
        if !there && self.beside(row, seat).is_some() {
            self.wait(row, seat);
        } else {
            self.put(row, seat, Chosen::Placed);
        }
        true
    }
}
