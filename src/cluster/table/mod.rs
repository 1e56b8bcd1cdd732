//! A table as the application sees it: the lens of [`crate::table`] over the store of this node.
//!
//! ```text
//!   Table<K, T> ─┬─ reads, for every T              reads.rs   on the store, on the caller's thread
//!                ├─ writes, for each T its own      lww.rs, shares.rs
//!                ├─ Ordered, Index                  sorted.rs  views that the store keeps up to date
//!                └─ watch, until, conflicts         watch.rs, waits.rs    all that awaits anything
//! ```
//!
//! The engine hears of writes afterwards and passes them on.

mod config;
mod conflicts;
mod error;
mod frozen;
mod lww;
mod opened;
mod reads;
mod rows;
mod shares;
mod skipped;
mod sorted;
mod waits;
mod watch;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

pub use config::{Scope, TableConfig};
pub use conflicts::{Conflict, Conflicts};
pub use error::{TableError, WriteError};
pub use frozen::Frozen;
pub(super) use opened::{Tables, split_form};
pub use rows::Rows;
pub use sorted::{Index, Ordered};
pub use watch::{Change, Watch};

use self::opened::Opened;
use self::skipped::Skipped;
use super::node::Local;
use crate::table::TableValue;

/// A table of which every node of the cluster holds a copy, with keys `K` and values as `T` says: [`Lww<V>`](crate::Lww)
/// for rows of which the later write wins, [`Set`](crate::Set), [`Bag`](crate::Bag), [`Counter`](crate::Counter),
/// [`MultiValue`](crate::MultiValue) and [`Merge`](crate::Merge) for values that several nodes write to at once.
///
/// Get one from [`Cluster::table`](super::Cluster::table). All handles to one name are one table. Cloning is cheap. A
/// table does not keep its node alive; on one that is gone, reads give the last state and writes [`WriteError::Gone`].
///
/// # Reads and writes at the same time
///
/// Reads are local, never wait for the network or the engine, and see at once what this node wrote. [`Table::get`] costs a
/// hash and a clone; it sees each row before or after any write, never half of it. [`Table::iter`], [`Table::select`] and
/// [`Table::freeze`] see one moment: of two writes of this node one after the other never the second alone. While such a
/// picture is held, a write copies the part of the table that it falls into (one in 16), once.
///
/// Writes are applied here before they return, and reach the other nodes in the background, usually within
/// milliseconds; [`Cluster::await_visible`](super::Cluster::await_visible) waits until they did. Of concurrent writes to
/// one key all nodes keep the same, as `T` says. Keys are ordered by their encoded bytes, which for most types is not the
/// order of `K`: see [`Table::ordered`].
///
/// # Types
///
/// All nodes have to use the same types for a name. One that does not is told of
/// ([`Event::SchemaDiffers`](crate::Event::SchemaDiffers)), and nothing is spoilt: tables whose `T` is of another form are
/// apart, and rows that do not decode are kept and passed on, but reads and watches skip and count them; see
/// [`Table::skipped`]. A node that does not know a table keeps and passes on its rows as well.
pub struct Table<K, T> {
    local: Arc<Local>,
    opened: Arc<Opened>,
    skipped: Skipped,
    types: PhantomData<fn() -> (K, T)>,
}

impl<K, T: TableValue> Table<K, T> {
    pub(super) fn new(local: Arc<Local>, config: TableConfig) -> Result<Self, TableError> {
        let opened = local.tables.open::<K, T>(config)?;
        Ok(Self { skipped: Skipped::new(&opened.name), local, opened, types: PhantomData })
    }
}

impl<K, T> Clone for Table<K, T> {
    fn clone(&self) -> Self {
        Self {
            local: Arc::clone(&self.local),
            opened: Arc::clone(&self.opened),
            skipped: self.skipped.clone(),
            types: PhantomData,
        }
    }
}

impl<K, T> fmt::Debug for Table<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Opened { name, stored, .. } = &*self.opened;
        f.debug_struct("Table").field("name", name).field("rows", &stored.len()).finish()
    }
}

#[cfg(test)]
mod tests;
