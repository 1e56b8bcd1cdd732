//! The table of roles: a row for each name, revision and origin, and the rule which of them stands.
//!
//! ```text
//!   key: name, revision, origin    value: the spec, or that the role was removed
//!   of one name stands:   the highest revision, then what was changed at run time, then, under one key, the later write
//! ```
//!
//! This is a total order on the content of rows and their ranks, so nodes that hold the same rows see the same stand, in
//! whatever order the rows came. Rows of different revision or origin never overwrite each other. Those that do not stand are
//! removed once the view agrees on what does; one that comes back from a node that was away changes nothing.
//!
//! A removal is a row like any other, since a tombstone is collected: a node that starts later and declares its
//! configuration has to find it. Removals are limited in number. The oldest go first, but those of roles that no
//! configuration was known to name go before all others: a program that adds and removes a role for each of its jobs must
//! not push the removal of a configured role out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::roles::{RoleOrigin, RoleSpec};
use crate::sabotage::{Rule, Sabotage};
use crate::store::{Key, Store, TableName};
use crate::time::Stamp;
use crate::wire;

/// So many removals are kept.
pub(super) const MAX_REMOVALS: usize = 1_000;

/// What orders the rows of a role: revision, then origin.
pub(super) type Rank = (u64, RoleOrigin);

/// The value of a row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct RoleRow {
    /// What is asked for; `None` for a removal.
    pub(super) spec: Option<RoleSpec>,
    /// When it was written.
    pub(super) written: Stamp,
    /// Whether a configuration names the role, as far as the author of the row knew.
    pub(super) configured: bool,
}

/// The rows, as far as they can be read.
#[derive(Default, PartialEq, Debug)]
pub(super) struct RoleRows {
    rows: BTreeMap<String, BTreeMap<Rank, RoleRow>>,
    sabotage: Sabotage,
}

impl RoleRows {
    pub(super) fn new(sabotage: Sabotage) -> Self {
        Self { rows: BTreeMap::new(), sabotage }
    }

    /// The rows that a store holds in this moment.
    pub(super) fn read(store: &Store, table: &TableName, sabotage: Sabotage) -> Self {
        let mut rows = Self::new(sabotage);
        store.table(table).snapshot().iter().for_each(|(key, value)| rows.put(&key, Some(&value)));
        rows
    }

    /// Takes over what is in a row now: nothing, where it is gone or cannot be read.
    pub(super) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some((role, rank)) = split_key(key) else { return };
        // A row under the key of another role, or of another revision, would be in two minds.
        let fits =
            |row: &RoleRow| row.spec.as_ref().is_none_or(|spec| (&*spec.name, spec.revision) == (&*role, rank.0));
        let row = value.and_then(|value| wire::decode(value).ok()).filter(fits);
        match row {
            Some(row) => drop(self.rows.entry(role).or_default().insert(rank, row)),
            None => {
                if let Some(rows) = self.rows.get_mut(&role) {
                    rows.remove(&rank);
                    if rows.is_empty() {
                        self.rows.remove(&role);
                    }
                }
            }
        }
    }

    /// Orders ranks: the row of the highest stands.
    pub(super) fn outranks(&self, one: Rank, other: Rank) -> bool {
        self.weight(one) > self.weight(other)
    }

    fn weight(&self, (revision, origin): Rank) -> (u64, bool) {
        let revision = if self.sabotage.breaks(Rule::LowerRevisionStands) { !revision } else { revision };
        let broken = self.sabotage.breaks(Rule::ConfigurationStands);
        (revision, (origin == RoleOrigin::RunTime) != broken)
    }

    /// What stands under a name: a spec or a removal.
    pub(super) fn standing(&self, role: &str) -> Option<(Rank, &RoleRow)> {
        self.highest(self.rows.get(role)?)
    }

    fn highest<'a>(&self, rows: &'a BTreeMap<Rank, RoleRow>) -> Option<(Rank, &'a RoleRow)> {
        rows.iter().max_by_key(|(rank, _)| self.weight(**rank)).map(|(rank, row)| (*rank, row))
    }

    /// What stands under each name.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, Rank, &RoleRow)> {
        self.rows.iter().filter_map(|(role, rows)| self.highest(rows).map(|(rank, row)| (role.as_str(), rank, row)))
    }

    /// The specs that stand, by name.
    pub(super) fn specs(&self) -> impl Iterator<Item = &RoleSpec> {
        self.all().filter_map(|(_, _, row)| row.spec.as_ref())
    }

    /// The keys of rows that serve no purpose any more: what does not stand, and the removals that are too many.
    pub(super) fn superfluous(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        let mut removals = Vec::new();
        for (role, standing, row) in self.all() {
            let others = self.rows[role].keys().filter(|rank| **rank != standing);
            keys.extend(others.map(|rank| key(role, *rank)));
            if row.spec.is_none() {
                removals.push((row.configured, row.written, role, standing));
            }
        }
        removals.sort_unstable();
        let excess = removals.len().saturating_sub(MAX_REMOVALS);
        keys.extend(removals[..excess].iter().map(|(_, _, role, rank)| key(role, *rank)));
        keys
    }
}

/// The key of a row.
pub(super) fn key(role: &str, (revision, origin): Rank) -> Key {
    let mut key = role.as_bytes().to_vec();
    key.extend(revision.to_be_bytes());
    key.push(u8::from(origin == RoleOrigin::RunTime));
    Key::from(key.as_slice())
}

fn split_key(key: &[u8]) -> Option<(String, Rank)> {
    let (rest, [origin]) = key.split_last_chunk()?;
    let (role, revision) = rest.split_last_chunk()?;
    let role = std::str::from_utf8(role).ok().filter(|role| RoleSpec::is_name(role))?;
    let origin = match origin {
        0 => RoleOrigin::Configuration,
        1 => RoleOrigin::RunTime,
        _ => return None,
    };
    Some((role.to_owned(), (u64::from_be_bytes(*revision), origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: RoleOrigin = RoleOrigin::Configuration;
    const CHANGED: RoleOrigin = RoleOrigin::RunTime;

    fn gate(count: u32, revision: u64) -> RoleRow {
        let spec = RoleSpec::new("gate").count(count).revision(revision);
        RoleRow { spec: Some(spec), written: Stamp(1), configured: true }
    }

    fn removal(written: u64, configured: bool) -> RoleRow {
        RoleRow { spec: None, written: Stamp(written), configured }
    }

    fn put(rows: &mut RoleRows, role: &str, rank: Rank, row: Option<&RoleRow>) {
        rows.put(&key(role, rank), row.map(wire::encode).as_deref());
    }

    #[test]
    fn the_highest_rank_stands_in_whatever_order_rows_come() {
        let ranked = [
            ((1, CONFIGURED), gate(1, 1)),
            ((1, CHANGED), gate(2, 1)),
            ((2, CONFIGURED), gate(3, 2)),
            ((2, CHANGED), removal(5, true)),
            ((3, CONFIGURED), gate(4, 3)),
        ];
        for most in 1..=ranked.len() {
            for first in 0..most {
                let mut rows = RoleRows::default();
                for at in 0..most {
                    let (rank, row) = &ranked[(first + at * 7) % most];
                    put(&mut rows, "gate", *rank, Some(row));
                }
                let (rank, row) = &ranked[most - 1];
                assert_eq!(rows.standing("gate"), Some((*rank, row)));
                assert_eq!(rows.specs().collect::<Vec<_>>(), row.spec.iter().collect::<Vec<_>>());
                let outranked: BTreeSet<_> = ranked[..most - 1].iter().map(|(rank, _)| key("gate", *rank)).collect();
                assert_eq!(rows.superfluous(), outranked);
                outranked.iter().for_each(|key| rows.put(key, None));
                assert_eq!((rows.standing("gate"), rows.superfluous()), (Some((*rank, row)), BTreeSet::new()));
                put(&mut rows, "gate", *rank, None);
                assert_eq!(rows, RoleRows::default());
            }
        }
    }

    #[test]
    fn a_row_that_contradicts_its_key_is_passed_over() {
        let mut rows = RoleRows::default();
        put(&mut rows, "gate", (2, CHANGED), Some(&gate(1, 1)));
        put(&mut rows, "lamp", (1, CHANGED), Some(&gate(1, 1)));
        put(&mut rows, "", (1, CHANGED), Some(&removal(1, false)));
        rows.put(b"gate\0\0\0\0\0\0\0\x01\x02", Some(&wire::encode(&gate(1, 1))));
        rows.put(b"gate", Some(&wire::encode(&gate(1, 1))));
        rows.put(&key("gate", (1, CHANGED)), Some(b"rubbish"));
        assert_eq!(rows, RoleRows::default());
    }

    #[test]
    fn of_too_many_removals_the_oldest_go_but_those_of_configured_roles_last() {
        let mut rows = RoleRows::default();
        let name = |number: u64| format!("role-{number:04}");
        put(&mut rows, "configured", (0, CHANGED), Some(&removal(0, true)));
        for number in 1..=1_200 {
            // The later the name, the older.
            put(&mut rows, &name(number), (0, CHANGED), Some(&removal(2_000 - number, false)));
        }
        put(&mut rows, "stands", (0, CHANGED), Some(&RoleRow { spec: Some(RoleSpec::new("stands")), ..gate(1, 0) }));
        let oldest: BTreeSet<_> = (1_000..=1_200).map(|number| key(&name(number), (0, CHANGED))).collect();
        let gone = rows.superfluous();
        assert_eq!(gone, oldest);
        gone.iter().for_each(|key| rows.put(key, None));
        assert_eq!(rows.superfluous(), BTreeSet::new());
        assert!(rows.standing("configured").is_some() && rows.specs().count() == 1);
    }
}
