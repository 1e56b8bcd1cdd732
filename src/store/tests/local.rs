//! Local writes, reads, watchers and the outbox.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::store::write::{Update, WriteError};

#[test]
fn a_replica_alone_queues_nothing_but_what_its_engine_reads() {
    let store = store(1);
    store.set_alone(true);
    put(&store, 1_000, "a", "in");
    store.put(at(1_000), &name("_roles"), b"gate", b"in").unwrap();
    let queued = sent(&store);
    assert_eq!(queued.iter().map(|row| row.table.as_str()).collect::<Vec<_>>(), ["_roles"]);
    store.set_alone(false);
    put(&store, 1_000, "b", "in");
    assert_eq!(sent(&store).len(), 1);
    assert_eq!(store.serve(&Context::new()).remaining(), 3, "whoever comes is given all");
}

#[test]
fn a_store_is_closed_until_it_is_opened() {
    let store = Store::new(StoreConfig::new(id(1), 0));
    assert_eq!(store.put(at(1), &cars(), b"k", b"v"), Err(WriteError::NotReady));
    assert_eq!(store.put_own(at(1), &name("@load"), b"k", b"v"), Err(WriteError::NotReady));
    assert!(store.take_outbox(9).rows.is_empty() && store.context().is_empty());
    store.open();
    assert!(store.put(at(1), &cars(), b"k", b"v").is_ok());
}

#[test]
fn bounds_hold_at_the_write() {
    let store = store(1);
    let long = vec![0; crate::store::MAX_VALUE + 1];
    assert_eq!(store.put(at(1), &cars(), b"", b"v"), Err(WriteError::KeyEmpty));
    assert_eq!(store.put(at(1), &cars(), &long[..1_025], b"v"), Err(WriteError::KeyTooLong { bytes: 1_025 }));
    assert_eq!(store.put(at(1), &cars(), b"k", &long), Err(WriteError::ValueTooLong { bytes: 65_537 }));
    assert_eq!(
        store.update(at(1), &cars(), b"k", |_| (Update::Put(long.clone()), ())),
        Err(WriteError::ValueTooLong { bytes: 65_537 })
    );
    let claims = name("@claims");
    assert_eq!(store.put(at(1), &claims, b"k", b"v"), Err(WriteError::Reserved { table: claims.clone() }));
    assert_eq!(store.put_own(at(1), &cars(), b"k", b"v"), Err(WriteError::Reserved { table: cars() }));
    assert!(store.put(at(1), &name("_roles"), b"gate", &long[1..]).is_ok());
    assert!(TableName::new("").is_err() && TableName::new("x".repeat(129)).is_err());
    assert!(postcard::from_bytes::<TableName>(&[0]).is_err());
}

#[test]
fn only_removals_of_nothing_and_equal_owner_rows_are_no_writes() {
    let store = store(1);
    let first = put(&store, 1_000, "k", "v");
    assert_eq!(put(&store, 1_000, "k", "v").seq, first.seq + 1, "an equal value is a write");
    assert!(remove(&store, 1_000, "k") && !remove(&store, 1_000, "k") && !remove(&store, 1_000, "other"));
    assert!(store.put_own(at(1_000), &name("@load"), b"cpu", b"1").unwrap().is_some());
    assert_eq!(store.put_own(at(1_000), &name("@load"), b"cpu", b"1").unwrap(), None);
    assert!(store.remove_own(at(1_000), &name("@load"), b"cpu").unwrap());
    assert!(!store.remove_own(at(1_000), &name("@load"), b"cpu").unwrap());
    assert_eq!(store.base_of(id(1)), 5);
    let stats = store.stats();
    assert_eq!((stats.live, stats.tombstones, stats.tables), (0, 2, 2));
}

#[test]
fn a_put_survives_the_removal_of_an_older_put() {
    let (a, b) = (store(1), store(2));
    put(&a, 1_000, "k", "old");
    b.merge(at(1_000), sent(&a));
    put(&a, 1_001, "k", "new");
    assert!(remove(&b, 9_000, "k"), "b removes the old one, much later");
    let (from_a, from_b) = (sent(&a), sent(&b));
    a.merge(at(9_000), from_b);
    b.merge(at(9_000), from_a);
    assert_eq!((get(&a, "k"), get(&b, "k")), (Some("new".into()), Some("new".into())));
}

#[test]
fn a_write_wins_over_an_entry_from_the_future() {
    let store = store(1);
    let hour = 3_600_000;
    let merged = store.merge(at(1_000), vec![row(&cars(), b"k", entry(2, 1, 1_000 + hour, Some("future")))]);
    assert_eq!(merged.ahead, Some((id(2), Duration::from_millis(hour))));
    assert_eq!((merged.news.len(), get(&store, "k").as_deref()), (1, Some("future")), "it is taken all the same");
    put(&store, 1_001, "k", "now");
    assert_eq!(get(&store, "k").as_deref(), Some("now"));
    let rows = sent(&store);
    let written = rows[0].entry.clone();
    let other = super::store(2);
    assert_eq!(other.merge(at(900), rows).ahead, None, "who writes over it is not ahead");
    assert!(other.tick(at(900)) > written.stamp);
    assert!(written.stamp < Stamp::from_millis(2_000), "our clock stays where it is");
    assert_eq!(written.rank_time, Stamp::from_millis(1_000 + hour).next());
    assert!(remove(&store, 1_002, "k"));
    put(&store, 1_003, "k", "again");
    assert_eq!(get(&store, "k").as_deref(), Some("again"), "also over the tombstone of such an entry");
    assert_eq!(store.stats().ahead, 1);
}

#[test]
fn updates_do_not_come_between_each_other() {
    let store = store(1);
    let count = |store: &Store| {
        for _ in 0..500 {
            let read =
                |value: Option<&Value>| value.map_or(0, |value| u32::from_le_bytes((**value).try_into().unwrap()));
            let bump = |value: Option<&Value>| (Update::Put((read(value) + 1).to_le_bytes().to_vec()), ());
            store.update(at(1), &cars(), b"count", bump).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| count(&store));
        scope.spawn(|| count(&store));
    });
    assert_eq!(*store.get(&cars(), b"count").unwrap(), 1_000_u32.to_le_bytes());
    let keep = store.update(at(1), &cars(), b"count", |value| (Update::Keep, value.is_some()));
    let removed = store.update(at(1), &cars(), b"count", |_| (Update::Remove, ()));
    assert_eq!((keep, removed, store.base_of(id(1))), (Ok(true), Ok(()), 1_001));
    assert!(store.table(&cars()).is_empty());
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let store = store(1);
    for key in ["c", "a", "b"] {
        put(&store, 1_000, key, "1");
    }
    remove(&store, 1_000, "b");
    let table = store.table(&cars());
    let snapshot = table.snapshot();
    put(&store, 1_001, "a", "2");
    remove(&store, 1_001, "c");
    put(&store, 1_001, "d", "2");
    let keys: Vec<_> = snapshot.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    assert_eq!(keys, [(b"a".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"1".to_vec())]);
    assert_eq!((snapshot.get(b"c").is_some(), snapshot.get(b"d").is_some()), (true, false));
    assert_eq!((table.len(), table.contains(b"c"), table.contains(b"d")), (2, false, true));
}

/// A writer raises sixteen keys round by round, always in the same order: no snapshot may see a later key ahead.
#[test]
fn a_snapshot_is_one_instant() {
    let store = store(1);
    let table = store.table(&cars());
    let keys: Vec<_> = (0..16).map(|n| format!("k{n}")).collect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 100..400 {
                for key in &keys {
                    put(&store, 1_000, key, &round.to_string());
                }
            }
        });
        while !writer.is_finished() {
            let snapshot = table.snapshot();
            let seen: Vec<_> = keys.iter().map(|key| snapshot.get(key.as_bytes())).collect();
            assert!(seen.is_sorted_by(|earlier, later| earlier >= later), "{seen:?}");
        }
    });
}

#[test]
fn watchers_hear_what_changes_and_nothing_else() {
    let (a, b) = (store(1), store(2));
    let recorder = Arc::new(Recorder::default());
    a.table(&cars()).watch(recorder.clone());
    put(&b, 1_000, "k", "early");
    put(&a, 1_001, "k", "1");
    a.merge(at(1_001), sent(&b));
    b.merge(at(1_001), sent(&a));
    put(&b, 1_002, "k", "2");
    a.merge(at(1_002), sent(&b));
    remove(&a, 1_003, "k");
    put(&a, 1_004, "k", "3");
    put(&a, 1_005, "k", "not heard: the watcher had enough");
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (None, text("1"), Origin::Local),
        (text("1"), text("2"), Origin::Remote(id(2))),
        (text("2"), None, Origin::Local),
        (None, text("3"), Origin::Local),
    ];
    assert_eq!(recorder.seen(), expected);
}

#[test]
fn the_outbox_wakes_once_and_keeps_the_order() {
    let store = store(1);
    let woken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&woken);
    store.on_outbox(Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed)));
    for key in ["a", "b", "c"] {
        put(&store, 1_000, key, "v");
    }
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    let seqs = |outbox: Outbox| outbox.rows.iter().map(|row| row.entry.dot.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.take_outbox(2)), [1, 2]);
    assert_eq!(seqs(store.take_outbox(2)), [3]);
    put(&store, 1_000, "d", "v");
    assert_eq!(woken.load(Ordering::Relaxed), 2);
    store.merge(at(1_000), vec![row(&cars(), b"x", entry(2, 1, 1_000, Some("theirs")))]);
    assert_eq!(seqs(store.take_outbox(9)), [4], "rows of others are no local writes");
}

#[test]
fn owner_rows_coalesce_and_every_dot_arrives() {
    let (a, b) = (store(1), store(2));
    let load = name("@load");
    let put_load = |value: u8| a.put_own(at(1_000), &load, b"cpu", &[value]).unwrap();
    put_load(1);
    put(&a, 1_000, "k", "v");
    put_load(2);
    a.put_own(at(1_000), &load, b"memory", b"9").unwrap();
    put_load(3);
    let rows = sent(&a);
    let shape: Vec<_> = rows.iter().map(|row| (row.entry.dot.seq, row.swallowed.clone())).collect();
    assert_eq!(shape, [(5, vec![1, 3]), (2, vec![]), (4, vec![])], "the newest takes the place of the oldest");
    b.merge(at(1_000), rows);
    assert_eq!((b.base_of(id(1)), b.gaps(), b.digest()), (5, vec![], a.digest()));
    let owned = |name: &[u8], value: &[u8]| (id(1), name.to_vec(), Value::from(value));
    assert_eq!(b.owner_rows(&load), [owned(b"cpu", &[3]), owned(b"memory", b"9")]);
    put_load(4);
    assert_eq!(sent(&a)[0].swallowed, [5], "also what was taken, which may have been lost, but no more of it");
    for value in 5..71 {
        put_load(value);
    }
    let rows = sent(&a);
    assert_eq!(rows.iter().map(|row| row.swallowed.len()).collect::<Vec<_>>(), [Row::MAX_SWALLOWED, 2]);
}

#[test]
fn a_full_outbox_leaves_its_rows_to_repair() {
    let a = store_with(StoreConfig { outbox_bytes: 1_000, ..StoreConfig::new(id(1), 1) });
    let b = store(2);
    for n in 0..20 {
        put(&a, 1_000, &format!("k{n}"), "v");
        a.put_own(at(1_000), &name("@load"), b"cpu", &[n]).unwrap();
    }
    let outbox = a.take_outbox(usize::MAX);
    assert!(outbox.overflowed && !outbox.rows.is_empty() && outbox.rows.len() < 21);
    assert!(outbox.rows.iter().map(Row::max_size).sum::<usize>() <= 1_000);
    assert!(a.stats().outbox_dropped > 0);
    b.merge(at(1_000), outbox.rows);
    assert_eq!(b.gaps(), [id(1)]);
    pull(at(1_000), &b, &a);
    assert_eq!((b.gaps(), b.digest()), (vec![], a.digest()));
    for taken in [9, 1, usize::MAX].repeat(20) {
        put(&a, 1_000, "k", "v");
        put(&a, 1_000, "k", "v");
        assert!(!a.take_outbox(taken).overflowed, "what was taken takes no room");
    }
}
