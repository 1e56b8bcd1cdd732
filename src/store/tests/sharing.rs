//! One allocation for each row, wherever it is seen.

use super::*;
use crate::crdt::{Mark, Record};

/// Entries of all kinds: put, removed, ranking elsewhere than at their stamp, with and without an expiry.
fn entries() -> Vec<Entry> {
    let far = |entry: Entry| Entry { rank_time: Stamp(u64::MAX), rank_author: id(u64::MAX), ..entry };
    let expiring = |entry: Entry| Entry { expires: Some(Stamp(u64::MAX)), ..entry };
    let plain = [entry(u64::MAX, u64::MAX, 1_000, Some("value")), entry(1, 1, 1, None), entry(2, 9, 5, Some(""))];
    plain
        .into_iter()
        .flat_map(|entry| [entry.clone(), far(entry.clone()), expiring(entry.clone()), expiring(far(entry))])
        .collect()
}

#[test]
fn rows_come_back_from_the_wire_as_they_went_and_within_the_size_they_told() {
    for entry in entries() {
        let mut sent = row(&cars(), b"key", entry);
        sent.swallowed = vec![u64::MAX; 2];
        let bytes = postcard::to_stdvec(&sent).unwrap();
        assert!(bytes.len() <= sent.max_size(), "{} bytes of {}", bytes.len(), sent.max_size());
        assert_eq!(postcard::from_bytes::<Row>(&bytes).unwrap(), sent);
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), sent, "{text}");
        let entry = postcard::to_stdvec(&sent.entry).unwrap();
        assert_eq!(postcard::from_bytes::<Entry>(&entry).unwrap(), sent.entry);
    }
}

#[test]
fn a_rank_that_follows_from_the_stamp_is_not_sent_and_not_taken() {
    let put = entry(2, 1, 1_000, Some("value"));
    let with_rank = |rank: Option<(Stamp, ReplicaId)>| {
        postcard::to_stdvec(&(put.dot, put.stamp, rank, None::<Stamp>, put.value.as_ref())).unwrap()
    };
    assert_eq!(postcard::to_stdvec(&put).unwrap(), with_rank(None));
    assert!(postcard::from_bytes::<Entry>(&with_rank(None)).is_ok());
    assert!(postcard::from_bytes::<Entry>(&with_rank(Some((put.stamp, id(2))))).is_err(), "there is one encoding only");
    assert!(postcard::from_bytes::<Entry>(&with_rank(Some((put.stamp, id(3))))).is_ok());
}

#[test]
fn from_frame_to_reader_and_on_to_others_a_row_is_copied_once() {
    let store = store(1);
    let recorder = Arc::new(Recorder::default());
    store.table(&cars()).watch(recorder.clone());
    let bytes = postcard::to_stdvec(&row(&cars(), b"key", entry(2, 1, 1_000, Some("value")))).unwrap();
    let taken: Row = postcard::from_bytes(&bytes).unwrap();
    let value = taken.entry.value.clone().unwrap();
    assert_eq!(taken.key.as_ptr_range().end, value.as_ptr(), "key and value lie side by side");
    let merged = store.merge(at(1_000), vec![taken]);
    let changes = recorder.0.lock().unwrap();
    let snapshot: Vec<_> = store.table(&cars()).snapshot().iter().collect();
    let seen = [
        store.get(&cars(), b"key"),
        merged.news[0].entry.value.clone(),
        changes[0].new.clone(),
        snapshot.first().map(|(_, value)| value.clone()),
        rows(&store)[0].entry.value.clone(),
    ];
    for (place, seen) in seen.iter().enumerate() {
        assert!(std::ptr::eq(&raw const **seen.as_ref().unwrap(), &raw const *value), "place {place} has a copy");
    }
}

#[test]
fn what_waits_to_be_sent_is_what_the_table_holds() {
    let store = store(1);
    put(&store, 1_000, "key", "value");
    let sent = sent(&store);
    let held = store.get(&cars(), b"key").unwrap();
    assert!(std::ptr::eq(&raw const **sent[0].entry.value.as_ref().unwrap(), &raw const *held));
}

#[test]
fn tables_count_the_bytes_that_live() {
    let store = store(1);
    let table = store.table(&cars());
    put(&store, 1_000, "key", "value");
    put(&store, 1_000, "other", "1");
    assert_eq!((table.bytes(), table.len()), (3 + 5 + 5 + 1, 2));
    put(&store, 1_001, "key", "longer value");
    assert_eq!((table.bytes(), table.len()), (3 + 12 + 5 + 1, 2));
    remove(&store, 1_002, "key");
    assert_eq!((table.bytes(), table.len(), store.stats().bytes), (6, 1, 9), "a tombstone has a key still");
    store.merge(at(1_003), vec![row(&cars(), b"other", entry(2, 1, 2_000, Some("1234")))]);
    assert_eq!((table.bytes(), table.len()), (9, 1));
}

#[test]
fn values_are_read_alike_in_place_and_by_handle() {
    let store = store(1);
    let table = store.table(&cars());
    for length in [0, 1, 127, 128, 129, 5_000] {
        let value = vec![7; length];
        store.put_in(at(1_000), &table, b"key", &value, None).unwrap();
        assert_eq!(table.read(b"key", <[u8]>::to_vec), Some(value.clone()));
        assert_eq!(table.get(b"key").as_deref(), Some(&value[..]));
    }
    store.remove_in(at(1_001), &table, b"key").unwrap();
    assert_eq!((table.read(b"key", <[u8]>::len), table.read(b"none", <[u8]>::len)), (None, None));
}

#[test]
fn a_row_that_was_changed_since_is_merged_as_it_is_now() {
    let store = store(1);
    let stamp = Stamp::from_millis(1_000);
    let mark = Mark {
        dot: Dot { replica: id(2), seq: 1 },
        stamp,
        rank_time: stamp,
        rank_author: id(2),
        expires: None,
        removal: false,
    };
    let mut changed = Row::of(cars(), &Record::new(b"key", mark, b"value"));
    changed.entry.dot.seq = 2;
    changed.entry.value = Some(b"other".into());
    store.merge(at(1_000), vec![changed.clone()]);
    assert_eq!(rows(&store), [changed]);
}
