//! Rows that are not of a table's type: counted, told once, never an error of the application that reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::table::RowError;

/// A count that the clones of a table and its watches share.
#[derive(Clone, Debug)]
pub(super) struct Skipped {
    table: Arc<str>,
    rows: Arc<AtomicU64>,
}

impl Skipped {
    pub(super) fn new(table: &str) -> Self {
        Self { table: table.into(), rows: Arc::default() }
    }

    /// What was decoded; counts it if that failed.
    pub(super) fn count<T>(&self, decoded: Result<T, RowError>) -> Option<T> {
        match decoded {
            Ok(item) => Some(item),
            Err(error) => {
                if self.rows.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(table = &*self.table, %error, "a row was skipped; further ones are only counted");
                }
                None
            }
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}
