//! A view: the rows of a table in another order, kept up to date with every change.
//!
//! ```text
//!   store, under its lock ── Change ─▶ View: (I, key of the row) ─▶ value of the row      I = what the rows are sorted by
//!                                        ▲
//!   readers: range(from..to) ─────────────┘  read lock
//! ```
//!
//! The rows themselves are shared with the store, not copied.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::crdt::Value;
use crate::store::{Change, ChangeSink, Key};

type Sort<I> = Box<dyn Fn(&Key, &Value) -> Option<I> + Send + Sync>;

/// Where a row lies among those that are sorted alike: by its key, between two ends that are no rows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Start,
    Row(Key),
    End,
}

type Sorted<I> = BTreeMap<(I, Place), Value>;

/// A row of a view: what it is sorted by, its key, its value.
pub type Sight<I> = (I, Key, Value);

/// The rows of a table sorted by `I`, and by their keys where that is the same.
pub struct View<I> {
    sort: Sort<I>,
    rows: RwLock<Sorted<I>>,
    left_out: AtomicU64,
}

impl<I: Ord + Clone + Send + Sync> View<I> {
    /// An empty view. `sort` says where a row belongs, and `None` for one that does not; it runs under the store's
    /// lock for every change. If it panics, the row is left out and counted.
    pub fn new(sort: impl Fn(&Key, &Value) -> Option<I> + Send + Sync + 'static) -> Self {
        Self { sort: Box::new(sort), rows: RwLock::default(), left_out: AtomicU64::new(0) }
    }

    /// The rows in a range, in order, as of one moment.
    pub fn range(&self, range: impl RangeBounds<I>) -> Vec<(Key, Value)> {
        let from = match range.start_bound() {
            Bound::Included(from) => Bound::Included((from.clone(), Place::Start)),
            Bound::Excluded(from) => Bound::Included((from.clone(), Place::End)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let to = match range.end_bound() {
            Bound::Included(to) => Bound::Excluded((to.clone(), Place::End)),
            Bound::Excluded(to) => Bound::Excluded((to.clone(), Place::Start)),
            Bound::Unbounded => Bound::Unbounded,
        };
        if let (Bound::Included(from), Bound::Excluded(to)) = (&from, &to)
            && from >= to
        {
            return Vec::new();
        }
        let rows = self.read();
        rows.range((from, to)).filter_map(|(place, value)| Some((key(place)?, value.clone()))).collect()
    }

    /// The first row, or the one behind another.
    pub fn next(&self, behind: Option<&Sight<I>>) -> Option<Sight<I>> {
        let from = behind.map_or(Bound::Unbounded, |row| Bound::Excluded(place_of(row)));
        self.read().range((from, Bound::Unbounded)).next().and_then(sight)
    }

    /// The last row, or the one before another.
    pub fn previous(&self, before: Option<&Sight<I>>) -> Option<Sight<I>> {
        let to = before.map_or(Bound::Unbounded, |row| Bound::Excluded(place_of(row)));
        self.read().range((Bound::Unbounded, to)).next_back().and_then(sight)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a row was left out because `sort` panicked.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    fn place(&self, key: &Key, value: &Value) -> Option<(I, Place)> {
        let sorted = catch_unwind(AssertUnwindSafe(|| (self.sort)(key, value)));
        let place = sorted.unwrap_or_else(|_| {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        });
        Some((place?, Place::Row(key.clone())))
    }

    /// Only whole rows are put in and taken out under it.
    fn read(&self) -> RwLockReadGuard<'_, Sorted<I>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<I>((_, place): &(I, Place)) -> Option<Key> {
    if let Place::Row(key) = place { Some(key.clone()) } else { None }
}

fn place_of<I: Clone>((sorted, key, _): &Sight<I>) -> (I, Place) {
    (sorted.clone(), Place::Row(key.clone()))
}

fn sight<I: Clone>((place, value): (&(I, Place), &Value)) -> Option<Sight<I>> {
    Some((place.0.clone(), key(place)?, value.clone()))
}

impl<I: Ord + Clone + Send + Sync> ChangeSink for View<I> {
    fn changed(&self, change: &Change) -> bool {
        // The application's function runs before the lock is taken.
        let old = change.old.as_ref().and_then(|value| self.place(&change.key, value));
        let new = change.new.as_ref().and_then(|value| Some((self.place(&change.key, value)?, value.clone())));
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        // Also where the new row lies in the same place: a key keeps its row alive.
        if let Some(old) = old {
            rows.remove(&old);
        }
        if let Some((place, value)) = new {
            rows.insert(place, value);
        }
        true
    }
}

impl<I> std::fmt::Debug for View<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Origin;

    fn change(key: &[u8], old: Option<u8>, new: Option<u8>) -> Change {
        let value = |value: Option<u8>| value.map(|value| Value::from([value]));
        Change { key: Key::from(key), old: value(old), new: value(new), origin: Origin::Local }
    }

    fn keys(view: &View<u8>, from: u8, to: u8) -> Vec<Vec<u8>> {
        view.range(from..to).into_iter().map(|(key, _)| key.to_vec()).collect()
    }

    #[test]
    fn rows_move_with_their_values_and_go_with_their_removal() {
        let view = View::new(|_, value| Some(value[0]));
        for (key, value) in [(b"a", 3), (b"b", 1), (b"c", 3)] {
            assert!(view.changed(&change(key, None, Some(value))));
        }
        assert_eq!(keys(&view, 0, 9), [b"b", b"a", b"c"]);
        assert!(view.changed(&change(b"a", Some(3), Some(0))));
        assert_eq!(keys(&view, 0, 9), [b"a", b"b", b"c"]);
        assert_eq!(keys(&view, 3, 4), [b"c"]);
        assert!(view.changed(&change(b"c", Some(3), None)));
        assert_eq!((keys(&view, 3, 4).len(), view.len()), (0, 2));
        assert!(keys(&view, 5, 4).is_empty(), "an empty range is no panic");
    }

    #[test]
    fn bounds_mean_all_rows_that_are_sorted_alike() {
        let view = View::new(|_, value| Some(value[0]));
        for (key, value) in [(b"a", 1), (b"b", 2), (b"c", 2), (b"d", 3)] {
            assert!(view.changed(&change(key, None, Some(value))));
        }
        let count = |from: Bound<u8>, to: Bound<u8>| view.range((from, to)).len();
        assert_eq!(count(Bound::Included(2), Bound::Included(2)), 2);
        assert_eq!(count(Bound::Excluded(2), Bound::Unbounded), 1);
        assert_eq!(count(Bound::Excluded(1), Bound::Excluded(3)), 2);
        assert_eq!(count(Bound::Excluded(2), Bound::Excluded(2)), 0);
        assert_eq!(count(Bound::Excluded(2), Bound::Included(2)), 0);
        assert_eq!(count(Bound::Unbounded, Bound::Excluded(2)), 1);
        let first = view.next(None).unwrap();
        assert_eq!((first.0, &*view.next(Some(&first)).unwrap().1), (1, &b"b"[..]));
        let last = view.previous(None).unwrap();
        assert_eq!((last.0, &*view.previous(Some(&last)).unwrap().1), (3, &b"c"[..]));
        assert!(view.next(Some(&last)).is_none() && view.previous(Some(&first)).is_none());
    }

    #[test]
    fn a_sort_function_that_panics_leaves_the_row_out() {
        let view = View::new(|_, value| if value[0] == 7 { panic!("seven") } else { Some(value[0]) });
        assert!(view.changed(&change(b"a", None, Some(7))));
        assert!(view.changed(&change(b"b", None, Some(1))));
        assert_eq!((view.len(), view.left_out()), (1, 1));
        assert!(view.changed(&change(b"a", Some(7), Some(2))));
        assert_eq!(keys(&view, 0, 9), [b"b", b"a"]);
    }
}
