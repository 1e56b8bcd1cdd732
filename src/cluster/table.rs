//! A replicated table as the application sees it: the lens of [`crate::table`] over the store of this node.
//!
//! Reads and writes go straight to the store on the caller's thread; the engine hears of writes afterwards and passes
//! them on. Only [`Watch`] waits for anything.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::node::Local;
use super::rows::Rows;
use super::skipped::Skipped;
use super::watch::Watch;
use crate::crdt::Value;
use crate::store::{self, StoredTable, TableName, TableNameError, Update};
use crate::table::{Lww, RowError, TableValue, decode_value, encode_value, key_bytes, value_bytes};

/// Why there is no table of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The name is empty or too long.
    #[error(transparent)]
    Name(#[from] TableNameError),
    /// The name is one of the system's.
    #[error("the table name {name:?} is reserved; names that begin with '_' or '@' belong to the cluster itself")]
    Reserved {
        /// The name.
        name: String,
    },
}

/// Why a write was not carried out. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The node has not joined yet: what it wrote now could be mistaken for news by nodes that know better.
    #[error("this node has not joined yet; await `Cluster::ready` before the first write")]
    NotReady,
    /// The node left the cluster or was dropped.
    #[error("this node left the cluster; start a new one to write")]
    Gone,
    /// The key or value does not fit into a row, or the row that is there is not of this table's type.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The store refused for another reason.
    #[error(transparent)]
    Store(store::WriteError),
}

impl From<store::WriteError> for WriteError {
    fn from(error: store::WriteError) -> Self {
        match error {
            store::WriteError::NotReady => Self::NotReady,
            store::WriteError::Closed => Self::Gone,
            other => Self::Store(other),
        }
    }
}

/// A table that every node of the cluster holds a copy of, with keys `K` and rows of `T`, such as
/// [`Lww<V>`](crate::Lww).
///
/// Get one from [`Cluster::table`](super::Cluster::table). All handles to one name are one table. Cloning is cheap. A
/// table does not keep its node alive; on one that is gone, reads give the last state and writes [`WriteError::Gone`].
///
/// Writes are applied here before they return, and reach the other nodes in the background, usually within
/// milliseconds. Reads are local, never wait for the network and see at once what this node wrote. Keys are ordered by
/// their encoded bytes, which for most types is not the order of `K`.
///
/// The types behind a name are not written down anywhere: all nodes have to use the same ones. Rows that do not decode
/// are kept and passed on, but [`Table::get`], [`Table::iter`] and [`Table::watch`] skip and count them; see
/// [`Table::skipped`].
pub struct Table<K, T> {
    local: Arc<Local>,
    name: TableName,
    stored: Arc<StoredTable>,
    skipped: Skipped,
    types: PhantomData<fn() -> (K, T)>,
}

impl<K, T: TableValue> Table<K, T> {
    pub(super) fn new(local: Arc<Local>, name: &str) -> Result<Self, TableError> {
        let name = TableName::new(name)?;
        if name.is_reserved() {
            return Err(TableError::Reserved { name: name.as_str().to_owned() });
        }
        let stored = local.store.table(&name);
        Ok(Self { skipped: Skipped::new(name.as_str()), local, name, stored, types: PhantomData })
    }

    /// The name of the table.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// How many rows there are, those of a foreign type included.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often this handle, its clones and their watches skipped a row that is not of the table's type. Above 0 it
    /// means that some node writes another schema under this name: give the new schema a name of its own.
    pub fn skipped(&self) -> u64 {
        self.skipped.rows()
    }
}

impl<K, V> Table<K, Lww<V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Puts a row, whatever was there before. Concurrent puts of other nodes: the highest stamp wins everywhere.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-insert").port(21_100).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use unisono::Lww;
    ///
    /// let vehicles = cluster.table::<String, Lww<u32>>("vehicles")?;
    /// vehicles.insert(&"B-AB 123".into(), &417)?;
    /// assert_eq!(vehicles.get(&"B-AB 123".into()), Some(417));
    /// assert_eq!(vehicles.remove(&"B-AB 123".into())?, Some(417));
    /// assert!(vehicles.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert(&self, key: &K, value: &V) -> Result<(), WriteError> {
        let (key, value) = (key_bytes(key)?, value_bytes(value)?);
        let now = self.local.writable()?;
        self.local.store.put_in(now, &self.stored, &key, &value, None)?;
        Ok(())
    }

    /// Removes a row and returns what it held. Removing a row that is not there is no write and no error, nor is
    /// removing one of a foreign type: that returns `None` and is counted.
    pub fn remove(&self, key: &K) -> Result<Option<V>, WriteError> {
        let key = key_bytes(key)?;
        let now = self.local.writable()?;
        let old = self.local.store.remove_in(now, &self.stored, &key)?;
        Ok(old.and_then(|bytes| self.skipped.count(decode_value(&bytes))))
    }

    /// Reads a row and writes what `change` makes of it, with no other write of this node in between: `Some` puts,
    /// `None` removes, and giving back what was there is no write. It returns what the row holds then.
    ///
    /// It is atomic on this node only. Two nodes that update one row at the same time do not see each other, and one
    /// of the two results stays: a counter over several nodes needs a row per node.
    ///
    /// `change` runs while the store is locked: it must be quick, and using any table in it may never return. If it
    /// panics, nothing was changed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-update").port(21_120).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// # use unisono::Lww;
    /// let visits = cluster.table::<String, Lww<u32>>("visits")?;
    /// visits.update(&"gate-1".into(), |visits| Some(visits.unwrap_or(0) + 1))?;
    /// assert_eq!(visits.get(&"gate-1".into()), Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn update(&self, key: &K, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<Option<V>, WriteError> {
        let key = key_bytes(key)?;
        let now = self.local.writable()?;
        let updated = self.local.store.update_in(now, &self.stored, &key, |old: Option<&Value>| {
            match updated(old.map(|bytes| &**bytes), change) {
                Ok((update, new)) => (update, Ok(new)),
                Err(error) => (Update::Keep, Err(error)),
            }
        })?;
        Ok(updated?)
    }

    /// What a row holds; `None` if it is not there, or is not of this table's type (which is counted, see
    /// [`Table::skipped`]) or the key is too long to be there.
    pub fn get(&self, key: &K) -> Option<V> {
        // A key that cannot be encoded was never written.
        let key = key_bytes(key).ok()?;
        self.skipped.count(self.stored.read(&key, decode_value)?)
    }

    /// What a row holds, and an error where [`Table::get`] gives `None` for a row that is not of this table's type.
    pub fn try_get(&self, key: &K) -> Result<Option<V>, RowError> {
        self.stored.read(&key_bytes(key)?, decode_value).transpose()
    }

    /// Whether there is such a row, of whatever type.
    pub fn contains_key(&self, key: &K) -> bool {
        key_bytes(key).is_ok_and(|key| self.stored.contains(&key))
    }

    /// All rows as of now: a consistent picture that later writes do not change, ordered by the encoded keys.
    pub fn iter(&self) -> Rows<K, V> {
        Rows::new(&self.stored.snapshot(), self.skipped.clone())
    }

    /// Changes from now on, of this node and of the others.
    ///
    /// A watcher never holds up a writer. One that is more than 1,024 changes behind misses the oldest and is told how
    /// many.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-watch").port(21_140).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// # use unisono::Lww;
    /// let vehicles = cluster.table::<String, Lww<u32>>("vehicles")?;
    /// let mut changes = vehicles.watch();
    /// vehicles.insert(&"B-AB 123".into(), &417)?;
    ///
    /// let change = changes.next().await.expect("the node lives")?;
    /// assert_eq!((change.old, change.new), (None, Some(417)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self) -> Watch<K, V> {
        let (watch, sink) = Watch::new(self.local.gone(), self.skipped.clone());
        self.stored.watch(Arc::new(sink));
        watch
    }

    /// The rows as of now and the changes from now on. A change that falls between the two is in both, none is in
    /// neither: take [`Change::new`](super::Change::new) for what the row holds and forget
    /// [`Change::old`](super::Change::old).
    pub fn watch_with_rows(&self) -> (Rows<K, V>, Watch<K, V>) {
        let watch = self.watch();
        (self.iter(), watch)
    }
}

/// What an update comes to: what to do with the row, and what it holds then.
fn updated<V: Serialize + DeserializeOwned>(
    old: Option<&[u8]>,
    change: impl FnOnce(Option<V>) -> Option<V>,
) -> Result<(Update, Option<V>), RowError> {
    let new = change(old.map(decode_value).transpose()?);
    let update = match &new {
        Some(value) => match encode_value(value)? {
            bytes if Some(&*bytes) == old => Update::Keep,
            bytes => Update::Put(bytes),
        },
        None if old.is_none() => Update::Keep,
        None => Update::Remove,
    };
    Ok((update, new))
}

impl<K, T> Clone for Table<K, T> {
    fn clone(&self) -> Self {
        Self {
            local: Arc::clone(&self.local),
            name: self.name.clone(),
            stored: Arc::clone(&self.stored),
            skipped: self.skipped.clone(),
            types: PhantomData,
        }
    }
}

impl<K, T> fmt::Debug for Table<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name.as_str()).field("rows", &self.stored.len()).finish()
    }
}

#[cfg(test)]
mod tests;
