//! Moves for the sake of the whole: between zones, and away from nodes that have too much.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Chosen;
use super::board::{Board, GivenUp, Seat};
use super::score::Fit;

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
                    (self.in_zone(row, &counts, *seat), over, self.fit(row, *seat), *seat)
                });
                let (Some(seat), Some(to)) = (fullest, self.best(row)) else { break };
                if self.in_zone(row, &counts, seat) < self.in_zone(row, &counts, to) + 2 {
                    break;
                }
                let (from, target) = (self.name(seat), self.name(to));
                self.shift(row, seat, to, GivenUp::Spread { to: target }, Chosen::Spread { from });
                moved = true;
            }
        }
        moved
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
    fn above_the_cap(&self) -> BTreeMap<usize, Vec<(Reverse<Fit>, usize, Seat)>> {
        let mut hosted: BTreeMap<usize, Vec<_>> = BTreeMap::new();
        for (row, of) in self.rows.iter().enumerate() {
            for (seat, host) in &of.hosts {
                let node = self.node_of[*seat];
                if self.load[node] > self.cap && host.may_move() {
                    hosted.entry(node).or_default().push((Reverse(self.fit(row, *seat)), row, *seat));
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
            let (_, full, fit, at) = self.rank(row, &counts, *to);
            (full, fit, at)
        })
    }

    /// Moves an instance; one that had not begun yet is simply placed elsewhere.
    fn shift(&mut self, row: usize, seat: Seat, to: Seat, why: GivenUp, chosen: Chosen) {
        let Some(host) = self.remove(row, seat, why) else { return };
        self.put(row, to, if host.runs() { chosen } else { host.why });
    }
}
