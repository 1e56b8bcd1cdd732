//! Rows that end: hidden in time, told to watchers, forgotten by stable time, never back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::id::ReplicaId;
use crate::store::{Change, ChangeSink, Origin, Row, Store, StoreConfig, TableName};
use crate::time::{Instant, Now, Stamp};

const TTL: Duration = Duration::from_millis(100);

fn at(ms: u64) -> Now {
    Now { instant: Instant::from_nanos(ms * 1_000_000), wall_ms: 1_000_000 + ms }
}

fn cars() -> TableName {
    TableName::new("cars").unwrap()
}

fn replica(id: u64) -> Arc<Store> {
    let store = Store::new(StoreConfig::new(ReplicaId(id), 0));
    store.set_roster(&[ReplicaId(1), ReplicaId(2)].into(), 7);
    store.open();
    Arc::new(store)
}

fn put(store: &Store, now: Now, key: &[u8]) -> Vec<Row> {
    store.put_in(now, &store.table(&cars()), key, b"in", Some(TTL)).unwrap();
    store.take_outbox(usize::MAX).rows
}

/// Both tell each other all they know and promise, twice: once for the rows, once for the coverage.
fn settle(now: Now, stores: &[&Arc<Store>; 2]) {
    for _ in 0..2 {
        for (one, other) in [(0, 1), (1, 0)] {
            let mut serving = stores[one].serve(&stores[other].context());
            while let Some(rows) = serving.next_rows(usize::MAX) {
                stores[other].merge(now, rows);
            }
            stores[other].join_context(serving.context());
            let report = stores[one].report(now);
            stores[other].observe_report(report);
        }
    }
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(bool, bool, Origin)>>);

impl ChangeSink for Recorder {
    fn changed(&self, change: &Change) -> bool {
        self.0.lock().unwrap().push((change.old.is_some(), change.new.is_some(), change.origin));
        true
    }
}

#[test]
fn a_row_is_hidden_when_its_time_is_over_and_not_before() {
    let store = replica(1);
    let recorder = Arc::new(Recorder::default());
    store.attach_from_start(&store.table(&cars()), recorder.clone());
    assert_eq!(store.next_expiry(at(0)), None);
    put(&store, at(0), b"a");
    let end = store.next_expiry(at(50)).unwrap();
    assert_eq!(end, at(101).instant);
    assert_eq!((store.expire(at(100)), store.table(&cars()).len()), (0, 1));
    assert_eq!((store.expire(at(101)), store.table(&cars()).len()), (1, 0));
    assert_eq!(store.get(&cars(), b"a"), None);
    assert_eq!(store.next_expiry(at(101)), None);
    let told = recorder.0.lock().unwrap().clone();
    assert_eq!(told, [(false, true, Origin::Local), (true, false, Origin::Expired)]);
    assert!(store.take_outbox(1).rows.is_empty(), "nobody is told: all know it themselves");
}

#[test]
fn who_puts_a_row_again_gives_it_a_new_end_or_none() {
    let store = replica(1);
    put(&store, at(0), b"a");
    put(&store, at(80), b"a");
    assert_eq!((store.expire(at(150)), store.next_expiry(at(150))), (0, Some(at(181).instant)));
    store.put(at(160), &cars(), b"a", b"for ever").unwrap();
    assert_eq!((store.expire(at(1_000)), store.next_expiry(at(1_000))), (0, None));
    put(&store, at(1_000), b"b");
    store.remove(at(1_010), &cars(), b"b").unwrap();
    assert_eq!(store.next_expiry(at(1_010)), None, "what is removed does not end again");
}

#[test]
fn a_put_over_what_has_ended_wins_everywhere() {
    let (one, other) = (replica(1), replica(2));
    other.merge(at(0), put(&one, at(0), b"a"));
    one.expire(at(200));
    one.put(at(200), &cars(), b"a", b"again").unwrap();
    let rows = one.take_outbox(1).rows;
    other.merge(at(90), rows);
    assert_eq!(other.expire(at(300)), 0);
    assert_eq!(other.get(&cars(), b"a").as_deref(), Some(&b"again"[..]));
}

#[test]
fn what_comes_after_its_end_is_never_seen() {
    let (one, other) = (replica(1), replica(2));
    let recorder = Arc::new(Recorder::default());
    other.attach_from_start(&other.table(&cars()), recorder.clone());
    let merged = other.merge(at(101), put(&one, at(0), b"a"));
    assert_eq!((merged.news.len(), other.table(&cars()).len(), other.stats().tombstones), (1, 0, 1));
    assert!(recorder.0.lock().unwrap().is_empty());
    one.expire(at(101));
    assert_eq!(one.digest().root, other.digest().root);
}

/// Else the one that holds the end would pass on that the removal is known, and not the removal.
#[test]
fn a_removal_wins_over_the_end_of_the_same_row() {
    let (one, other) = (replica(1), replica(2));
    let rows = put(&one, at(0), b"a");
    one.remove(at(10), &cars(), b"a").unwrap();
    let removal = one.take_outbox(1).rows;
    for rows in [rows.clone(), removal] {
        other.merge(at(101), rows);
    }
    let third = replica(3);
    third.merge(at(10), rows);
    let mut serving = other.serve(&third.context());
    third.merge(at(11), serving.next_rows(usize::MAX).unwrap());
    third.join_context(serving.context());
    assert_eq!(third.get(&cars(), b"a"), None, "what it knows to be removed it does not hold");
    drop(serving);
    settle(at(150), &[&one, &other]);
    assert_eq!((one.collect(at(150)), other.collect(at(150))), (1, 1));
}

#[test]
fn what_has_ended_is_forgotten_once_all_are_past_it_and_does_not_come_back() {
    let (one, other) = (replica(1), replica(2));
    other.merge(at(0), put(&one, at(0), b"a"));
    settle(at(50), &[&one, &other]);
    assert_eq!(one.expire(at(101)), 1);
    // The other has promised nothing beyond the end yet: it may still hold the row as live, and give it away.
    assert_eq!(one.collect(at(101)), 0);
    let mut late = other.serve_buckets(&one.bucket_hashes());
    settle(at(150), &[&one, &other]);
    assert_eq!((one.collect(at(150)), one.stats().tombstones), (1, 0));
    let rows = late.next_rows(usize::MAX).unwrap();
    assert_eq!(rows.len(), 1);
    one.merge_buckets(at(151), rows);
    assert_eq!(one.table(&cars()).len(), 0, "a repair brings it as what has ended");
    other.expire(at(151));
    assert_eq!(one.digest().root, other.digest().root);
}

#[test]
fn tables_that_are_not_sent_end_their_rows_and_forget_them() {
    let store = replica(1);
    let woken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&woken);
    store.on_outbox(Box::new(move || *count.lock().unwrap() += 1));
    let unsent = store.unsent();
    let table = unsent.table(&cars());
    unsent.put_in(at(0), &table, b"a", b"in", None).unwrap();
    assert_eq!(*woken.lock().unwrap(), 0, "there is nothing to be done");
    unsent.put_in(at(0), &table, b"b", b"in", Some(TTL)).unwrap();
    unsent.put_in(at(1), &table, b"c", b"in", Some(TTL)).unwrap();
    assert_eq!(*woken.lock().unwrap(), 1, "only the first end counts");
    assert_eq!(store.next_expiry(at(0)), Some(at(101).instant));
    assert_eq!((store.expire(at(101)), table.len()), (1, 2));
    assert_eq!(unsent.remove(at(101), &cars(), b"a").unwrap().as_deref(), Some(&b"in"[..]));
    assert_eq!((table.len(), unsent.stats().tombstones, store.stats().live), (1, 0, 0));
    assert!(unsent.take_outbox(1).rows.is_empty() && store.take_outbox(1).rows.is_empty());
}

#[test]
fn there_is_no_end_beyond_time() {
    let (one, other) = (replica(1), replica(2));
    one.put_in(at(0), &one.table(&cars()), b"a", b"in", Some(Duration::MAX)).unwrap();
    let merged = other.merge(at(0), one.take_outbox(1).rows);
    assert_eq!((merged.refused, other.table(&cars()).len()), (0, 1));
    assert!(one.next_expiry(at(0)).is_some());
    assert_eq!(other.expire(Now { wall_ms: Stamp(1 << 62).as_millis(), ..at(0) }), 0);
}
