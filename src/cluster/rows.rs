//! A table's rows at one moment, decoded as they are asked for.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::skipped::Skipped;
use crate::crdt::Value;
use crate::store::{Key, Snapshot};
use crate::table::{decode_key, decode_value};

/// The rows of a table as they were when [`Table::iter`](super::Table::iter) was called.
pub struct Rows<K, V> {
    rows: Box<dyn Iterator<Item = (Key, Value)> + Send>,
    skipped: Skipped,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Rows<K, V> {
    pub(super) fn new(snapshot: &Snapshot, skipped: Skipped) -> Self {
        Self { rows: Box::new(snapshot.iter()), skipped, types: PhantomData }
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Iterator for Rows<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        let skipped = &self.skipped;
        self.rows
            .find_map(|(key, value)| skipped.count(decode_key(&key).and_then(|key| Ok((key, decode_value(&value)?)))))
    }
}

impl<K, V> fmt::Debug for Rows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}
