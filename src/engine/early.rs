//! Rows that came before the news of an admission.
//!
//! ```text
//!   sponsor ── admission ─▶ some ─▶ some more ─▶ everybody
//!   newcomer ── its first rows ─▶ some, who do not know it yet ─▶ kept until they do
//! ```
//!
//! In a large cluster both travel from member to member, on different ways. Were the rows refused where they come first,
//! which is where they begin to spread, hardly anybody would get them, and all would have to fetch them from the newcomer.

use std::collections::BTreeMap;

use super::Engine;
use crate::id::ReplicaId;
use crate::membership::Liveness;
use crate::store::Row;

/// So many rows are kept at the most, of all together; each came in a datagram. They are dropped at the next housekeeping.
const MOST_ROWS: usize = 1_024;

/// Rows by the member on whose admission they wait.
#[derive(Debug, Default)]
pub(super) struct Early {
    rows: BTreeMap<ReplicaId, Vec<Row>>,
    count: usize,
}

impl Early {
    fn keep(&mut self, until: ReplicaId, row: Row) -> bool {
        let fits = self.count < MOST_ROWS;
        if fits {
            self.count += 1;
            self.rows.entry(until).or_default().push(row);
        }
        fits
    }

    fn take(&mut self, admitted: ReplicaId) -> Option<Vec<Row>> {
        let rows = self.rows.remove(&admitted)?;
        self.count -= rows.len();
        Some(rows)
    }

    /// Whoever was not admitted by now is not about to be.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Engine {
    /// Whether somebody may be about to be admitted, of whom the roster has never heard.
    fn may_be_admitted(&self, replica: ReplicaId) -> bool {
        let lives = || self.swim.member(replica).is_some_and(|(_, liveness)| liveness != Liveness::Down);
        self.roster.get(replica).is_none() && self.is_crowd() && lives()
    }

    /// Keeps the rows of a sender outside the roster, if it may be about to be admitted; returns whether it did.
    pub(super) fn keep_early(&mut self, sender: ReplicaId, rows: impl FnOnce() -> Vec<Row>) -> bool {
        self.formed() && self.may_be_admitted(sender) && rows().into_iter().all(|row| self.early.keep(sender, row))
    }

    /// Keeps those rows whose owner may be about to be admitted, and gives back the others.
    pub(super) fn sort_early(&mut self, mut rows: Vec<Row>) -> Vec<Row> {
        let early = |row: &mut Row| row.owner().is_some_and(|owner| owner != self.own && self.may_be_admitted(owner));
        for row in rows.extract_if(.., early).collect::<Vec<_>>() {
            if let Some(owner) = row.owner()
                && !self.early.keep(owner, row)
            {
                self.stats.rows_refused += 1;
            }
        }
        rows
    }

    /// These were admitted: what they and others sent of them too early is taken as if it came now.
    pub(super) fn merge_early(&mut self, admitted: &[ReplicaId]) {
        for replica in admitted {
            if let Some(rows) = self.early.take(*replica) {
                self.merge_eager(rows);
            }
        }
    }
}
