//! One file per subject; here is what they share.

mod laws;
mod local;
mod sessions;
mod sharing;
mod stable_time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::*;
use crate::crdt::Entry;
use crate::time::{Instant, Now, Stamp};

pub(super) fn at(wall_ms: u64) -> Now {
    Now { instant: Instant::from_nanos(wall_ms * 1_000_000), wall_ms }
}

pub(super) fn id(n: u64) -> ReplicaId {
    ReplicaId(n)
}

pub(super) fn name(text: &str) -> TableName {
    TableName::new(text).unwrap()
}

pub(super) fn cars() -> TableName {
    name("cars")
}

/// An open store whose roster is replicas 1 to 3.
pub(super) fn store(replica: u64) -> Arc<Store> {
    store_with(StoreConfig::new(id(replica), replica * 77))
}

pub(super) fn store_with(config: StoreConfig) -> Arc<Store> {
    let store = Arc::new(Store::new(config));
    store.open();
    store.set_roster(&members(3), 1);
    store
}

pub(super) fn members(count: u64) -> BTreeSet<ReplicaId> {
    (1..=count).map(ReplicaId).collect()
}

pub(super) fn put(store: &Store, ms: u64, key: &str, value: &str) -> Dot {
    store.put(at(ms), &cars(), key.as_bytes(), value.as_bytes()).unwrap()
}

pub(super) fn remove(store: &Store, ms: u64, key: &str) -> bool {
    store.remove(at(ms), &cars(), key.as_bytes()).unwrap().is_some()
}

pub(super) fn get(store: &Store, key: &str) -> Option<String> {
    store.get(&cars(), key.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

pub(super) fn sent(store: &Store) -> Vec<Row> {
    store.take_outbox(usize::MAX).rows
}

/// A whole repair session: `to` pulls from `from`.
pub(super) fn pull(now: Now, to: &Arc<Store>, from: &Arc<Store>) {
    let mut serving = from.serve(&to.context());
    while let Some(rows) = serving.next_rows(300) {
        to.merge(now, rows);
    }
    to.join_context(serving.context());
}

/// Everything a store holds, tombstones too, in order.
pub(super) fn rows(store: &Arc<Store>) -> Vec<Row> {
    let mut serving = store.serve(&Context::new());
    std::iter::from_fn(|| serving.next_rows(usize::MAX)).flatten().collect()
}

pub(super) fn live(store: &Arc<Store>) -> BTreeMap<(TableName, Key), Value> {
    let rows = rows(store).into_iter();
    rows.filter_map(|row| Some(((row.table, row.key), row.entry.value?))).collect()
}

/// Remembers all changes.
#[derive(Default)]
pub(super) struct Recorder(Mutex<Vec<Change>>);

impl ChangeSink for Recorder {
    fn changed(&self, change: &Change) -> bool {
        let mut changes = self.0.lock().unwrap();
        changes.push(change.clone());
        changes.len() < 4
    }
}

impl Recorder {
    pub(super) fn seen(&self) -> Vec<(Option<String>, Option<String>, Origin)> {
        let text = |value: &Option<Value>| value.as_ref().map(|value| String::from_utf8(value.to_vec()).unwrap());
        self.0.lock().unwrap().iter().map(|change| (text(&change.old), text(&change.new), change.origin)).collect()
    }
}

pub(super) fn entry(author: u64, seq: u64, stamp_ms: u64, value: Option<&str>) -> Entry {
    let stamp = Stamp::from_millis(stamp_ms);
    let value = value.map(|value| value.as_bytes().into());
    Entry {
        dot: Dot { replica: id(author), seq },
        stamp,
        rank_time: stamp,
        rank_author: id(author),
        expires: None,
        value,
    }
}

pub(super) fn row(table: &TableName, key: &[u8], entry: Entry) -> Row {
    Row { table: table.clone(), key: key.into(), entry, swallowed: Vec::new() }
}
