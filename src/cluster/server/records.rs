//! The rows that tell which tables have been created, and who would create one.
//!
//! `_tables` has a row for each table, by its name: who created it and when. It is an ordinary replicated table. `@creating`
//! is an owner table: each replica that would create a table says since when it waits for its turn.

use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::id::{NodeId, ReplicaId};
use crate::store::{Change, ChangeSink, Store, TableName, WriteError};
use crate::time::{Now, Stamp};
use crate::wire;

/// A table was created.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// On which node.
    pub(super) node: NodeId,
    /// In which run of it.
    pub(super) replica: ReplicaId,
    /// What `created` wrote is among the first so many writes of that replica.
    pub(super) writes: u64,
    /// By the clock of that node, milliseconds since the Unix epoch.
    pub(super) wall_ms: u64,
}

/// What is known of one table.
pub(super) struct Records {
    store: Arc<Store>,
    tables: TableName,
    creating: TableName,
    /// The name of the table, as both system tables have it.
    key: Box<[u8]>,
}

/// Whether a table has been created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Created {
    No,
    By(Record),
    /// By a later version of this crate, whose record cannot be read here.
    BySomebody,
}

impl Records {
    pub(super) fn new(store: Arc<Store>, table: &str) -> Self {
        let name = |name| TableName::new(name).expect("the names of system tables are well formed");
        Self { store, tables: name("_tables"), creating: name("@creating"), key: table.as_bytes().into() }
    }

    pub(super) fn created(&self) -> Created {
        match self.store.get(&self.tables, &self.key) {
            None => Created::No,
            Some(row) => wire::decode(&row).map_or(Created::BySomebody, Created::By),
        }
    }

    /// Whether everything is here that `created` wrote.
    pub(super) fn holds_all_of(&self, record: &Record) -> bool {
        self.store.base_of(record.replica) >= record.writes
    }

    /// Says that the table is created, by all that this replica wrote until now.
    pub(super) fn record(&self, now: Now, node: NodeId) -> Result<(), WriteError> {
        let replica = self.store.replica();
        let record = Record { node, replica, writes: self.store.base_of(replica), wall_ms: now.wall_ms };
        self.store.put(now, &self.tables, &self.key, &wire::encode(&record)).map(drop)
    }

    /// Says that this replica would create the table, after all those that are known to.
    pub(super) fn line_up(&self, now: Now) -> Result<(), WriteError> {
        let last = self.line().map(|(stamp, _)| stamp).max();
        // The clock alone sees to that, except above a stamp that is too far ahead to advance it.
        let stamp = last.map_or(Stamp::default(), Stamp::next).max(self.store.tick(now));
        self.store.put_own(now, &self.creating, &self.key, &wire::encode(&stamp)).map(drop)
    }

    /// Takes that back.
    pub(super) fn step_out(&self, now: Now) {
        // Where nothing can be written any more, the row goes with its owner.
        let _ = self.store.remove_own(now, &self.creating, &self.key);
    }

    /// Whether this replica is in line, and of those that satisfy `counts` has waited longest.
    pub(super) fn is_first(&self, counts: impl Fn(ReplicaId) -> bool) -> bool {
        let own = self.store.replica();
        let first = self.line().filter(|(_, owner)| *owner == own || counts(*owner)).min();
        first.is_some_and(|(_, owner)| owner == own)
    }

    /// Who would create the table, and since when.
    fn line(&self) -> impl Iterator<Item = (Stamp, ReplicaId)> {
        let rows = self.store.owner_rows(&self.creating).into_iter();
        rows.filter(|(_, name, _)| **name == *self.key)
            .filter_map(|(owner, _, value)| Some((wire::decode(&value).ok()?, owner)))
    }

    /// Rings when any of these rows changes, for as long as the bell is there.
    pub(super) fn ring(&self, bell: &Arc<Notify>) {
        for table in [&self.tables, &self.creating] {
            self.store.table(table).watch(Arc::new(Rope(Arc::downgrade(bell))));
        }
    }
}

struct Rope(Weak<Notify>);

impl ChangeSink for Rope {
    fn changed(&self, _: &Change) -> bool {
        match self.0.upgrade() {
            Some(bell) => {
                bell.notify_one();
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreConfig;
    use crate::time::Instant;

    fn records(replica: u64) -> (Arc<Store>, Records) {
        let store = Arc::new(Store::new(StoreConfig::new(ReplicaId(replica), 1)));
        store.open();
        store.set_roster(&[1, 2, 9].map(ReplicaId).into(), 1);
        let records = Records::new(Arc::clone(&store), "visits");
        (store, records)
    }

    fn at(wall_ms: u64) -> Now {
        Now { instant: Instant::ZERO, wall_ms }
    }

    /// Lets one store know all that another one knows.
    fn tell(from: &Arc<Store>, to: &Store) {
        let mut serving = from.serve(&to.context());
        while let Some(rows) = serving.next_rows(usize::MAX) {
            to.merge(at(1), rows);
        }
    }

    #[test]
    fn who_lines_up_later_is_later_whatever_its_clock_says() {
        let ((one, first), (two, second)) = (records(9), records(2));
        first.line_up(at(3_600_000)).unwrap();
        tell(&one, &two);
        second.line_up(at(1_000)).unwrap();
        tell(&two, &one);
        assert!(first.is_first(|_| true));
        assert!(!second.is_first(|_| true));
        assert!(second.is_first(|_| false), "the other one is out of the view");
        first.step_out(at(3_600_000));
        assert!(!first.is_first(|_| true), "who is not in line is not first");
        tell(&one, &two);
        assert!(second.is_first(|_| true));
    }

    #[test]
    fn of_two_at_the_same_moment_the_lower_replica_is_first() {
        let ((one, first), (two, second)) = (records(9), records(2));
        first.line_up(at(1_000)).unwrap();
        second.line_up(at(1_000)).unwrap();
        tell(&one, &two);
        tell(&two, &one);
        assert!(second.is_first(|_| true) && !first.is_first(|_| true));
    }

    #[test]
    fn each_table_has_a_line_and_a_record_of_its_own() {
        let (store, visits) = records(1);
        let cars = Records::new(Arc::clone(&store), "cars");
        visits.line_up(at(1)).unwrap();
        assert!(visits.is_first(|_| true) && !cars.is_first(|_| true));
        visits.record(at(7), NodeId::new("larry").unwrap()).unwrap();
        let Created::By(record) = visits.created() else { panic!("not recorded") };
        assert_eq!((record.node.as_str(), record.replica, record.wall_ms), ("larry", ReplicaId(1), 7));
        assert_eq!(cars.created(), Created::No);
    }

    #[test]
    fn a_record_says_which_writes_belong_to_it() {
        let ((one, creator), (two, other)) = (records(1), records(2));
        let cars = TableName::new("visits").unwrap();
        let dots = [b"a", b"b"].map(|key| one.put(at(1), &cars, key, b"").unwrap());
        creator.record(at(1), NodeId::new("larry").unwrap()).unwrap();
        let mut serving = one.serve(&two.context());
        let mut rows = Vec::new();
        while let Some(part) = serving.next_rows(usize::MAX) {
            rows.extend(part);
        }
        let (late, early) = rows.into_iter().partition(|row| row.entry.dot == dots[0]);
        two.merge(at(1), early);
        let Created::By(record) = other.created() else { panic!("not recorded") };
        assert!(!other.holds_all_of(&record), "the first of the two is missing");
        two.merge(at(1), late);
        assert!(other.holds_all_of(&record));
    }

    #[test]
    fn a_record_that_cannot_be_read_is_one_all_the_same() {
        let (store, visits) = records(1);
        store.put(at(1), &TableName::new("_tables").unwrap(), b"visits", &[0xff; 3]).unwrap();
        assert_eq!(visits.created(), Created::BySomebody);
        let creating = TableName::new("@creating").unwrap();
        store.put_own(at(1), &creating, b"visits", &[0xff; 20]).unwrap();
        assert!(!visits.is_first(|_| true));
        visits.line_up(at(1)).unwrap();
        assert!(visits.is_first(|_| true));
    }
}
