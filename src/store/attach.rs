//! Watching a table from an exact moment on.

use std::sync::Arc;

use super::Store;
use super::table::{Change, ChangeSink, Origin, Snapshot, StoredTable};

impl Store {
    /// Tells `sink` of each change from now on, and lets `read` see the rows as they are now: every write is in exactly one
    /// of the two. `read` runs under the store's lock, as a sink does.
    pub fn attach<R>(&self, table: &StoredTable, sink: Arc<dyn ChangeSink>, read: impl FnOnce(Snapshot) -> R) -> R {
        let _core = self.lock();
        let read = read(table.snapshot());
        table.watch(sink);
        read
    }

    /// Tells `sink` of each row that there is now, as if it were put just now, and then of each change. Holds up writes
    /// for as long as that takes.
    pub fn attach_from_start(&self, table: &StoredTable, sink: Arc<dyn ChangeSink>) {
        let _core = self.lock();
        for (key, value) in table.snapshot().iter() {
            if !sink.changed(&Change { key, old: None, new: Some(value), origin: Origin::Local }) {
                return;
            }
        }
        table.watch(sink);
    }
}
