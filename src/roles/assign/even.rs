//! Moves for the sake of the whole: between zones, between nodes that host unlike numbers, and away from nodes that have too much.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::board::{Board, GivenUp, Host, Seat};
use super::{Balance, Chosen};

/// What a node gives up first: the role that suits it least.
type Unfit = Reverse<Reverse<u64>>;

impl Board<'_> {
    /// Evens out the zones of every role that is spread: as long as one has two instances more than another that could take
    /// one, one moves. Returns whether any did.
    pub(super) fn spread(&mut self) -> bool {
        let mut moved = false;
        for row in 0..self.rows.len() {
            if self.rows[row].spread.is_none() {
                continue;
            }
            // Each move takes an instance out of a fuller zone.
            for _ in 0..self.rows[row].hosts.len() {
                let counts = self.zone_counts(row);
                let movable = self.rows[row].hosts.iter().filter(|(_, host)| host.may_move()).map(|(seat, _)| *seat);
                let fullest = movable.max_by_key(|seat| {
                    let over = self.load[self.node_of[*seat]] > self.cap;
                    (self.in_zone(row, &counts, *seat), over, self.suits(row, *seat), *seat)
                });
                let free = self.open(row).filter(|seat| self.beside(row, *seat).is_none());
                let emptiest = free.map(|seat| self.in_zone(row, &counts, seat)).min();
                let (Some(seat), Some(least)) = (fullest, emptiest) else { break };
                if self.in_zone(row, &counts, seat) < least + 2 {
                    break;
                }
                let Some(to) = self.best(row) else { break };
                let (from, target) = (self.name(seat), self.name(to));
                self.shift(row, seat, to, GivenUp::Spread { to: target }, Chosen::Spread { from });
                moved = true;
            }
        }
        moved
    }

    /// Moves roles from nodes to others that host two fewer or less and are not busier, where nothing else is about to change.
    /// While it is not calm, only notes whether there would be something to move.
    ///
    /// Each move makes the sum of the squares of the loads smaller, so this ends, whatever else changes.
    pub(super) fn even_out(&mut self, calm: bool) {
        let mut hosts = self.rows.iter().flat_map(|row| row.hosts.values());
        if !hosts.all(Host::is_settled) || self.rows.iter().any(|row| !row.given_up.is_empty() || !row.waits.is_empty())
        {
            return;
        }
        let on_the_way =
            self.rows.iter().flat_map(|row| row.hosts.values()).filter(|host| host.why == Chosen::Reserved);
        let at_once = Balance::at_once(self.load.iter().sum()).saturating_sub(on_the_way.count());
        if !calm {
            self.uneven = self.next_move().is_some();
            return;
        }
        for _ in 0..at_once {
            let Some((row, seat, to)) = self.next_move() else { break };
            let (from, target) = (self.name(seat), self.name(to));
            self.shift(row, seat, to, GivenUp::Evened { to: target }, Chosen::Evened { from });
        }
    }

    /// The instance that is to be moved next, and where: from the node that hosts the most to the one that hosts the least, as
    /// far as there is one that may move so; of those, the one that suits the taker best.
    fn next_move(&self) -> Option<(usize, Seat, Seat)> {
        let mut nodes: Vec<usize> = self.useful.iter().copied().collect();
        nodes.sort_by_key(|node| (Reverse(self.load[*node]), *node));
        let least = nodes.last().map(|node| self.load[*node])?;
        if nodes.first().is_none_or(|node| self.load[*node] < least + 2) {
            return None;
        }
        let bases: BTreeSet<u8> = self.rows.iter().map(|row| row.base).collect();
        for from in nodes.iter().copied().take_while(|node| self.load[*node] >= least + 2) {
            for to in nodes.iter().rev().copied().take_while(|node| self.load[*node] + 2 <= self.load[from]) {
                if !bases.iter().any(|base| self.is_busier(from, to, *base)) {
                    continue;
                }
                let moves = self.tenants[from].iter().filter_map(|row| self.even_move(*row, from, to));
                if let Some(best) = moves.min_by_key(|(row, _, to)| (self.suits(*row, *to), *row)) {
                    return Some(best);
                }
            }
        }
        None
    }

    /// Whether one node would still be as busy as another if a role went over, for roles of which the least busy node that can
    /// run them has the load `base`.
    fn is_busier(&self, one: usize, other: usize, base: u8) -> bool {
        let most = self.seats_of(one).map(|seat| self.load_of(seat, base)).max().unwrap_or_default();
        let least = self.seats_of(other).map(|seat| self.load_of(seat, base)).min().unwrap_or_default();
        self.load[other] as u64 + least + 2 <= self.load[one] as u64 + most
    }

    /// The instance of a role on one node, and the seat on another that may take it for balance.
    fn even_move(&self, row: usize, from: usize, to: usize) -> Option<(usize, Seat, Seat)> {
        if self.tenants[to].contains(&row) {
            return None;
        }
        let own = &self.rows[row];
        let seat = self.seats_of(from).find(|seat| own.hosts.get(seat).is_some_and(Host::may_move))?;
        let target = self.seats_of(to).find(|seat| own.able.binary_search(seat).is_ok())?;
        let zones = self.zones_of(row).is_none_or(|zones| {
            let counts = self.zone_counts(row);
            zones[seat] == zones[target] || counts[zones[target]] < counts[zones[seat]]
        });
        let may = zones && self.beside(row, target).is_none() && self.busy(row, target) + 2 <= self.busy(row, seat);
        may.then_some((row, seat, target))
    }

    /// Nodes above the cap give up what suits them least, as long as that gains something. Returns whether any did.
    ///
    /// Each move makes the loads more even, so this ends.
    pub(super) fn shed(&mut self) -> bool {
        let mut ever = false;
        loop {
            let mut moved = false;
            for (node, mut instances) in self.above_the_cap() {
                instances.sort_unstable();
                for (_, row, seat) in instances {
                    if self.load[node] <= self.cap {
                        break;
                    }
                    if let Some(to) = self.relief(row, seat) {
                        let (from, target) = (self.name(seat), self.name(to));
                        self.shift(row, seat, to, GivenUp::Shed { to: target }, Chosen::Shed { from });
                        moved = true;
                    }
                }
            }
            if !moved {
                return ever;
            }
            ever = true;
        }
    }

    /// What could be moved away from each node above the cap.
    fn above_the_cap(&self) -> BTreeMap<usize, Vec<(Unfit, usize, Seat)>> {
        let mut hosted: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (row, of) in self.rows.iter().enumerate() {
            for (seat, host) in &of.hosts {
                let node = self.node_of[*seat];
                if self.load[node] > self.cap && host.may_move() {
                    hosted.entry(node).or_default().push((Reverse(self.suits(row, *seat)), row, *seat));
                }
            }
        }
        hosted
    }

    /// Who should have an instance of a node above the cap: with a quarter less there than here it is worth a move. A node
    /// that is above the cap by two or more gives to whoever stays closer to it.
    fn relief(&self, row: usize, seat: Seat) -> Option<Seat> {
        let here = self.load[self.node_of[seat]];
        let counts = self.zone_counts(row);
        let gains = |to: &Seat| {
            let there = self.load[self.node_of[*to]];
            let worth = there < self.cap && 4 * (there + 1) <= 3 * here;
            let zones = self
                .zones_of(row)
                .is_none_or(|zones| zones[seat] == zones[*to] || counts[zones[*to]] < counts[zones[seat]]);
            zones && (worth || (here > self.cap + 1 && there <= self.cap))
        };
        let seats = self.open(row).filter(gains).filter(|to| self.beside(row, *to).is_none());
        seats.min_by_key(|to| {
            let (_, full, busy, suits, at) = self.rank(row, &counts, *to);
            (full, busy, suits, at)
        })
    }

    /// Moves an instance; one that had not begun yet is simply placed elsewhere.
    fn shift(&mut self, row: usize, seat: Seat, to: Seat, why: GivenUp, chosen: Chosen) {
        let Some(host) = self.remove(row, seat, why) else { return };
        self.put(row, to, if host.runs() { chosen } else { host.why });
    }
}
