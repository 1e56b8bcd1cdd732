//! A table's rows at one moment, decoded as they are asked for.

use std::fmt;

use super::skipped::Skipped;
use crate::table::RowError;

type Decoded<K, V> = Box<dyn Iterator<Item = Result<(K, V), RowError>> + Send>;

/// Keys and values of a table as they were when [`Table::iter`](super::Table::iter) was called.
pub struct Rows<K, V> {
    rows: Decoded<K, V>,
    skipped: Skipped,
}

impl<K, V> Rows<K, V> {
    pub(super) fn new(rows: impl Iterator<Item = Result<(K, V), RowError>> + Send + 'static, skipped: Skipped) -> Self {
        Self { rows: Box::new(rows), skipped }
    }
}

impl<K, V> Iterator for Rows<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        let skipped = &self.skipped;
        self.rows.find_map(|row| skipped.count(row))
    }
}

impl<K, V> fmt::Debug for Rows<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}
