//! The shards of a table under locks of which readers on different cores share none.
//!
//! ```text
//!              shard 0   shard 1  …  shard 15
//!    main   ┌────●─────────●────────────●────┐  the one that counts: writes, snapshots, who finds nothing elsewhere
//!    lane 0 │    ●                      ●    │  the same shards once more, each behind a lock of its own, for the
//!    lane 1 └──────────────●────────────●────┘  threads of this lane; empty where a shard was written since
//! ```
//!
//! A lock that two cores take in turns, though only to read, moves between their caches, and that takes longer than
//! the lookup. So each thread reads through a lane, and puts shards into it that nobody writes. A writer empties the
//! lanes that hold the shard it is about to change, and there are none as long as nobody reads: who only writes pays
//! nothing. Only tables with many rows have lanes.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::shard::Shard;
use super::table::SHARDS;

/// From so many rows in one shard on, a table has lanes: a kilobyte or two.
const LANES_FROM_ROWS: usize = 64;

/// A reader puts a shard into its lane at one in so many chances: where writes and reads alternate, the lanes would
/// otherwise be filled and emptied for every one.
const FILLS_ONE_IN: usize = 8;

/// The shards of a table and their locks.
pub(super) struct Lanes {
    main: [RwLock<Arc<Shard>>; SHARDS],
    /// Which lanes hold each shard, a bit for each. Changes only under the shard's main lock.
    filled: [AtomicU64; SHARDS],
    lanes: OnceLock<Box<[Lane]>>,
    count: usize,
}

/// Alone on its cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Lane {
    shards: [RwLock<Option<Arc<Shard>>>; SHARDS],
}

impl Lanes {
    /// As many lanes as that, 64 at most; with none or one there is only the main lock.
    pub(super) fn new(seed: u64, count: usize) -> Self {
        let empty = Arc::new(Shard::new(seed));
        Self {
            // Shared until the first row of each comes: most tables of most nodes are small.
            main: std::array::from_fn(|_| RwLock::new(Arc::clone(&empty))),
            filled: Default::default(),
            lanes: OnceLock::new(),
            count: count.min(64),
        }
    }

    /// Looks at a shard. `look` must be quick and must not come back here.
    pub(super) fn read<R>(&self, shard: usize, look: impl FnOnce(&Shard) -> R) -> R {
        let Some(lanes) = self.lanes.get() else { return look(&read(&self.main[shard])) };
        let number = lane_of_this_thread() % lanes.len();
        let lane = &lanes[number].shards[shard];
        if let Some(shard) = &*read(lane) {
            return look(shard);
        }
        let main = read(&self.main[shard]);
        if has_chance() {
            // The main lock first and then the lane's, as in `change`.
            *write(lane) = Some(Arc::clone(&main));
            self.filled[shard].fetch_or(1 << number, Ordering::Relaxed);
        }
        look(&main)
    }

    /// All shards at one instant: whoever writes two rows in a row writes them before or after, since all read locks
    /// are held together.
    pub(super) fn freeze(&self) -> [Arc<Shard>; SHARDS] {
        let guards = std::array::from_fn::<_, SHARDS, _>(|index| read(&self.main[index]));
        std::array::from_fn(|index| Arc::clone(&guards[index]))
    }

    /// Changes a shard; copies it first if somebody else holds it. Only one at a time, which the store's lock sees to.
    pub(super) fn change<R>(&self, shard: usize, change: impl FnOnce(&mut Shard) -> R) -> R {
        let mut main = self.write(shard);
        if Arc::get_mut(&mut main).is_none() {
            // That takes long, and readers need not wait for it: nobody else writes meanwhile.
            let held = Arc::clone(&main);
            drop(main);
            let copy = Arc::new(Shard::clone(&held));
            drop(held);
            main = self.write(shard);
            *main = copy;
        }
        let shard = Arc::make_mut(&mut main);
        let result = change(shard);
        let has_many = shard.len() >= LANES_FROM_ROWS;
        drop(main);
        if has_many && self.count > 1 {
            self.lanes.get_or_init(|| std::iter::repeat_with(Lane::default).take(self.count).collect());
        }
        result
    }

    /// Locks a shard out of all lanes.
    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Arc<Shard>> {
        let main = write(&self.main[shard]);
        let mut filled = self.filled[shard].load(Ordering::Relaxed);
        if filled != 0 {
            self.filled[shard].store(0, Ordering::Relaxed);
            let lanes = self.lanes.get().map_or(&[][..], |lanes| lanes);
            while filled != 0 {
                *write(&lanes[filled.trailing_zeros() as usize].shards[shard]) = None;
                filled &= filled - 1;
            }
        }
        main
    }
}

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
    static MISSES: Cell<usize> = const { Cell::new(0) };
}

/// Threads are counted in the order in which they first read.
fn lane_of_this_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    LANE.with(|lane| {
        if lane.get() == usize::MAX {
            lane.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        lane.get()
    })
}

fn has_chance() -> bool {
    MISSES.with(|misses| {
        misses.set(misses.get().wrapping_add(1));
        misses.get().is_multiple_of(FILLS_ONE_IN)
    })
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::crdt::{Dot, Mark, Record};
    use crate::id::ReplicaId;
    use crate::time::Stamp;

    fn record(key: u8, seq: u64) -> Record {
        let (author, stamp) = (ReplicaId(1), Stamp(seq));
        let dot = Dot { replica: author, seq };
        let mark = Mark { dot, stamp, rank_time: stamp, rank_author: author, expires: None, removal: false };
        Record::new(&[key], mark, &seq.to_le_bytes())
    }

    fn seq(lanes: &Lanes, key: u8) -> u64 {
        lanes.read(3, |shard| shard.get(&[key]).map_or(0, |record| record.mark().dot.seq))
    }

    fn with_rows(rows: u8) -> Lanes {
        let lanes = Lanes::new(1, 2);
        for key in 0..rows {
            lanes.change(3, |shard| shard.replace(record(key, 1)));
        }
        lanes
    }

    #[test]
    fn small_tables_have_no_lanes() {
        assert!(with_rows(63).lanes.get().is_none());
        assert_eq!(with_rows(64).lanes.get().map(|lanes| lanes.len()), Some(2));
    }

    #[test]
    fn a_lane_is_filled_by_readers_and_emptied_by_the_writer() {
        let lanes = with_rows(64);
        let filled = || lanes.filled[3].load(Ordering::Relaxed);
        assert_eq!(filled(), 0, "nobody read");
        for _ in 0..FILLS_ONE_IN {
            assert_eq!(seq(&lanes, 7), 1);
        }
        assert_eq!(filled().count_ones(), 1, "this thread's");
        let held = lanes.freeze();
        lanes.change(3, |shard| shard.replace(record(7, 2)));
        assert_eq!((filled(), seq(&lanes, 7)), (0, 2));
        assert_eq!(held[3].get(&[7]).map(|record| record.mark().dot.seq), Some(1), "a snapshot stays as it was");
        assert_eq!(Arc::strong_count(&held[3]), 1, "nobody else holds what was replaced");
    }

    struct Over<'a>(&'a AtomicBool);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn no_reader_goes_back_in_time() {
        let lanes = with_rows(64);
        let is_over = AtomicBool::new(false);
        let read = || {
            let mut last = 0;
            while !is_over.load(Ordering::Relaxed) {
                let next = seq(&lanes, 7);
                assert!(next >= last, "{next} after {last}");
                last = next;
            }
        };
        std::thread::scope(|scope| {
            // Also when the writer panics.
            let _over = Over(&is_over);
            (0..3).for_each(|_| drop(scope.spawn(read)));
            for next in 2..=20_000 {
                lanes.change(3, |shard| shard.replace(record(7, next)));
                assert_eq!(seq(&lanes, 7), next, "the writer sees what it wrote");
            }
        });
    }
}
