//! What a newcomer needs: to start over, and not to write below what others have already collected.

use super::Store;
use super::core::Slot;
use super::row::Row;
use super::table::Origin;
use crate::crdt::{Context, Record};
use crate::time::Stamp;

impl Store {
    /// No floor is above this, in the year 4199.
    const MAX_FLOOR: Stamp = Stamp(Row::MAX_STAMP.0 / 2);

    /// Forgets everything that was pulled; for a newcomer whose sponsor was lost half-way. Whoever is asked next may
    /// never have heard of this replica, and so may have collected removals of rows that it holds already: they would
    /// come back with it. Does nothing once writes are let in.
    pub fn start_over(&self) {
        if self.is_open() {
            return;
        }
        let mut core = self.lock();
        for table in self.all_tables() {
            let shards = table.freeze();
            let mut keys: Vec<_> = shards.iter().flat_map(|shard| shard.iter()).map(Record::share_key).collect();
            drop(shards);
            keys.sort_unstable();
            for key in keys {
                core.set(Slot::new(&table, &key), None, Origin::Local);
            }
        }
        core.replace_context(Context::new());
    }

    /// The newest stamp up to which removals were collected, here or where this replica pulled from.
    pub fn floor(&self) -> Stamp {
        self.lock().floor
    }

    /// Lifts the clock above a floor. Where a removal was collected, nothing tells any more that a write stamped below
    /// it came too late, while another replica, which has not collected yet, still knows: a newcomer with a slow clock
    /// would write rows that win here and lose there. No bound on drift applies: a floor is the least of what all
    /// members have promised, so no single clock can push it ahead. One beyond all time is damage and dropped, and so
    /// is one that leaves no room: what is stamped above the highest stamp, all others would refuse.
    pub fn raise_floor(&self, floor: Stamp) {
        if floor > Self::MAX_FLOOR {
            return;
        }
        let mut core = self.lock();
        core.floor = core.floor.max(floor);
        core.clock.raise(floor);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::id::ReplicaId;
    use crate::store::{Row, Store, StoreConfig, TableName};
    use crate::time::{Instant, Now, Stamp};

    fn at(wall_ms: u64) -> Now {
        Now { instant: Instant::from_nanos(wall_ms.saturating_mul(1_000_000)), wall_ms }
    }

    fn replica(id: u64) -> Arc<Store> {
        let store = Store::new(StoreConfig::new(ReplicaId(id), 0));
        store.set_roster(&[ReplicaId(1), ReplicaId(2)].into(), 7);
        Arc::new(store)
    }

    #[test]
    fn a_newcomer_that_starts_over_is_like_new() {
        let (sponsor, newcomer) = (replica(1), replica(2));
        let cars = TableName::new("cars").unwrap();
        sponsor.open();
        for number in 0_u64..100 {
            sponsor.put(at(1_000), &cars, &number.to_be_bytes(), b"in").unwrap();
        }
        let empty = newcomer.digest();
        let mut serving = sponsor.serve(&newcomer.context());
        newcomer.merge(at(1_000), serving.next_rows(1_000).unwrap());
        assert_ne!(newcomer.digest(), empty);
        newcomer.start_over();
        assert_eq!(newcomer.digest(), empty);
        assert_eq!(newcomer.table(&cars).len(), 0);
        assert!(newcomer.context().is_empty());
        newcomer.open();
        newcomer.put(at(1_000), &cars, b"own", b"in").unwrap();
        newcomer.start_over();
        assert_eq!(newcomer.table(&cars).len(), 1, "what was written after that stays");
    }

    #[test]
    fn a_slow_clock_does_not_write_below_the_floor() {
        let newcomer = replica(2);
        newcomer.open();
        newcomer.raise_floor(Stamp::from_millis(5_000_000));
        assert!(newcomer.tick(at(1_000)) > Stamp::from_millis(5_000_000));
        assert_eq!(newcomer.floor(), Stamp::from_millis(5_000_000));
    }

    #[test]
    fn no_floor_makes_a_newcomer_write_what_others_refuse() {
        for floor in [Store::MAX_FLOOR, Row::MAX_STAMP, Stamp(u64::MAX)] {
            let (member, newcomer) = (replica(1), replica(2));
            newcomer.raise_floor(floor);
            newcomer.open();
            newcomer.put(at(1_000), &TableName::new("cars").unwrap(), b"own", b"in").unwrap();
            let merged = member.merge(at(1_000), newcomer.take_outbox(1).rows);
            assert_eq!((merged.refused, merged.news.len()), (0, 1), "above {floor:?}");
        }
    }
}
