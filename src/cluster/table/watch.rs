//! Changes of a table, as a stream of typed rows.
//!
//! ```text
//!   writer ─▶ store (under its lock) ─▶ Sink ─▶ broadcast of 1,024 ─▶ Watch::next ─▶ Change<K, V>
//!                                        │ never waits: the oldest change goes, the reader is told
//!                                        └ looks whether anybody asked for that key
//! ```

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use super::skipped::Skipped;
use crate::cluster::events::{Lagged, item};
use crate::driver::Reader;
use crate::store::{self, ChangeSink, Origin};
use crate::table::{Group, Groups, RowError, TableValue, decode_key, fold, key_of};

/// How many changes a watcher may be behind before it misses some.
const CAPACITY: usize = 1_024;

/// A key of a table whose value changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<K, V> {
    /// The key.
    pub key: K,
    /// What it held before; `None` if nothing, or nothing of this table's type.
    pub old: Option<V>,
    /// What it holds now; `None` if that was removed or its time was over.
    pub new: Option<V>,
    /// Whether this node wrote it, or which other one.
    pub origin: Origin,
}

/// A change that was not decoded yet.
#[derive(Clone)]
enum Raw {
    Row(store::Change),
    Shares { key: Box<[u8]>, old: Group, new: Group, origin: Origin },
}

/// Of which keys a watcher wants to hear, given their bytes.
pub(super) type Wanted = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// The stream of [`Table::watch`](super::Table::watch) and its like: each change of what is watched, in the order in which
/// this node applied them.
pub struct Watch<K, V> {
    changes: broadcast::Receiver<Raw>,
    decode: fn(&Raw) -> Result<Change<K, V>, RowError>,
    gone: Reader<bool>,
    skipped: Skipped,
}

impl<K: DeserializeOwned, V> Watch<K, V> {
    pub(super) fn new<T: TableValue<Value = V>>(
        gone: Reader<bool>,
        skipped: Skipped,
        groups: Option<Arc<Groups>>,
        wanted: Option<Wanted>,
    ) -> (Self, Sink) {
        let (sender, changes) = broadcast::channel(CAPACITY);
        (Self { changes, decode: decode::<K, T>, gone, skipped }, Sink { sender, groups, wanted })
    }

    /// The next change, [`Lagged`] where the reader was more than 1,024 changes behind, and `None` once the node is
    /// gone and everything before was read. Rows that are not of this table's type are skipped and counted.
    ///
    /// Cancel safe: a change is not lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Change<K, V>, Lagged>> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.changes.recv() => item(received),
                _ = self.gone.wait_for(|gone| *gone) => None,
            };
            match received? {
                Ok(raw) => match self.skipped.count((self.decode)(&raw)) {
                    Some(change) => return Some(Ok(change)),
                    None => continue,
                },
                Err(lagged) => return Some(Err(lagged)),
            }
        }
    }
}

fn decode<K: DeserializeOwned, T: TableValue>(raw: &Raw) -> Result<Change<K, T::Value>, RowError> {
    match raw {
        Raw::Row(store::Change { key, old, new, origin }) => Ok(Change {
            key: decode_key(key)?,
            old: old.as_ref().and_then(|row| T::read_row(row).ok()),
            new: new.as_ref().map(|row| T::read_row(row)).transpose()?,
            origin: *origin,
        }),
        Raw::Shares { key, old, new, origin } => Ok(Change {
            key: decode_key(key)?,
            old: fold::<T>(old).ok().flatten(),
            new: fold::<T>(new)?,
            origin: *origin,
        }),
    }
}

impl<K, V> std::fmt::Debug for Watch<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("behind", &self.changes.len()).finish_non_exhaustive()
    }
}

/// The end that the store holds.
pub(super) struct Sink {
    sender: broadcast::Sender<Raw>,
    /// Where values are made of shares: told of each change before this one is, as it was there first.
    groups: Option<Arc<Groups>>,
    wanted: Option<Wanted>,
}

impl Sink {
    /// What a change of a share does to the value that it belongs to.
    fn shares(&self, groups: &Groups, change: &store::Change) -> Option<Raw> {
        let key = key_of(&change.key)?;
        let new = groups.group(key);
        let mut old = new.clone();
        match &change.old {
            Some(value) => drop(old.insert(change.key.clone(), value.clone())),
            None => drop(old.remove(&change.key)),
        }
        Some(Raw::Shares { key: key.into(), old, new, origin: change.origin })
    }
}

impl ChangeSink for Sink {
    fn changed(&self, change: &store::Change) -> bool {
        let key = if self.groups.is_some() { key_of(&change.key) } else { Some(&*change.key) };
        if !key.is_some_and(|key| self.wanted.as_ref().is_none_or(|wanted| wanted(key))) {
            return self.sender.receiver_count() > 0;
        }
        let raw = match &self.groups {
            Some(groups) => self.shares(groups, change),
            None => Some(Raw::Row(change.clone())),
        };
        raw.is_none_or(|raw| self.sender.send(raw).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::Value;
    use crate::driver::Latest;
    use crate::id::ReplicaId;
    use crate::table::{Lww, encode_key, encode_value};

    const AUTHOR: Origin = Origin::Remote(ReplicaId(7));

    fn change(key: &str, old: Option<u32>, new: Option<u32>) -> store::Change {
        let value = |value: Option<u32>| value.map(|value| Value::from(encode_value(&value).unwrap()));
        let key = encode_key(key).unwrap().into();
        store::Change { key, old: value(old), new: value(new), origin: AUTHOR }
    }

    fn watch() -> (Watch<String, u32>, Sink, Latest<bool>, Skipped) {
        let gone = Latest::new(false);
        let skipped = Skipped::new("vehicles");
        let (watch, sink) = Watch::new::<Lww<u32>>(gone.reader(), skipped.clone(), None, None);
        (watch, sink, gone, skipped)
    }

    #[tokio::test]
    async fn changes_come_typed_and_in_order() {
        let (mut watch, sink, gone, _) = watch();
        assert!(sink.changed(&change("a", None, Some(1))));
        assert!(sink.changed(&change("a", Some(1), None)));
        gone.set(true);
        let put = Change { key: "a".to_owned(), old: None, new: Some(1), origin: AUTHOR };
        assert_eq!(watch.next().await, Some(Ok(put)));
        let removal = Change { key: "a".to_owned(), old: Some(1), new: None, origin: AUTHOR };
        assert_eq!(watch.next().await, Some(Ok(removal)));
        assert_eq!(watch.next().await, None, "the node is gone and all before was read");
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_how_much_it_missed_and_goes_on() {
        let (mut watch, sink, _gone, _) = watch();
        for number in 0..1_030 {
            assert!(sink.changed(&change("a", None, Some(number))), "the writer is never held up");
        }
        assert_eq!(watch.next().await, Some(Err(Lagged { missed: 6 })));
        assert_eq!(watch.next().await.unwrap().unwrap().new, Some(6));
    }

    #[tokio::test]
    async fn a_watcher_may_be_as_far_behind_as_there_is_room_and_no_further() {
        let room = u32::try_from(CAPACITY).unwrap();
        for (changes, lagged) in [(room - 1, None), (room, None), (room + 1, Some(Lagged { missed: 1 }))] {
            let (mut watch, sink, _gone, _) = watch();
            for number in 0..changes {
                assert!(sink.changed(&change("a", None, Some(number))));
            }
            assert_eq!(watch.next().await.unwrap().err(), lagged, "{changes} changes");
        }
    }

    #[tokio::test]
    async fn rows_of_another_type_are_skipped_and_counted() {
        let (mut watch, sink, _gone, skipped) = watch();
        let foreign = Some(Value::from(encode_value("no number").unwrap()));
        sink.changed(&store::Change { new: foreign.clone(), ..change("a", None, None) });
        sink.changed(&store::Change { key: vec![9].into(), ..change("a", None, Some(1)) });
        sink.changed(&store::Change { old: foreign, ..change("b", None, Some(2)) });
        let seen = watch.next().await.unwrap().unwrap();
        assert_eq!((seen.key.as_str(), seen.old, seen.new), ("b", None, Some(2)));
        assert_eq!(skipped.rows(), 2);
    }

    #[test]
    fn the_store_drops_the_sink_of_a_watch_that_was_dropped() {
        let (watch, sink, _gone, _) = watch();
        drop(watch);
        assert!(!sink.changed(&change("a", None, Some(1))));
    }

    #[test]
    fn also_where_nothing_that_is_watched_changes() {
        let wanted: Wanted = Box::new(|_| false);
        let gone = Latest::new(false);
        let (watch, sink) =
            Watch::<String, u32>::new::<Lww<u32>>(gone.reader(), Skipped::new("vehicles"), None, Some(wanted));
        assert!(sink.changed(&change("a", None, Some(1))));
        drop(watch);
        assert!(!sink.changed(&change("a", None, Some(1))));
    }
}
