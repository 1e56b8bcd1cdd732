//! Writes to tables whose rows are values: the later one wins.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Table, WriteError};
use crate::crdt::Value;
use crate::store::Update;
use crate::table::{Lww, RowError, decode_value, encode_key, encode_value, key_bytes, value_bytes};

impl<K, V> Table<K, Lww<V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Puts a row, whatever was there before. Concurrent puts of other nodes: the highest stamp wins everywhere.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
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
        self.put(key, value, self.opened.config.ttl)
    }

    /// As [`Table::insert`], for a row that vanishes by itself after `ttl` unless it is put again before: on all nodes at
    /// the same time, as far as their clocks agree, within some milliseconds. To readers and watchers that is a removal.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-ttl").port(24_140).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use std::time::Duration;
    /// use unisono::Lww;
    ///
    /// let tickets = cluster.table::<u32, Lww<String>>("tickets")?;
    /// tickets.insert_for(&1, &"B-AB 123".into(), Duration::from_millis(50))?;
    /// assert!(tickets.contains_key(&1));
    /// tickets.until(Duration::from_secs(10), |rows| rows.is_empty()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_for(&self, key: &K, value: &V, ttl: Duration) -> Result<(), WriteError> {
        self.put(key, value, Some(ttl))
    }

    fn put(&self, key: &K, value: &V, ttl: Option<Duration>) -> Result<(), WriteError> {
        let (key, value) = (key_bytes(key)?, value_bytes(value)?);
        let now = self.local.writable()?;
        self.opened.store.put_in(now, &self.opened.stored, &key, &value, ttl)?;
        Ok(())
    }

    /// Puts many rows in one step: no other write of this node comes between, and the engine is woken once. Returns how
    /// many there were.
    ///
    /// # Errors
    /// [`WriteError`]. If a key or a value does not fit, nothing was changed; if the [quota](super::TableConfig::quota) is
    /// full, the rows before that are written.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-many").port(24_160).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use unisono::Lww;
    ///
    /// let (vehicles, copy) = (cluster.table::<u32, Lww<u32>>("vehicles")?, cluster.table::<u32, Lww<u32>>("copy")?);
    /// assert_eq!(vehicles.insert_many((0..1_000).map(|number| (number, 0)))?, 1_000);
    /// copy.insert_many(vehicles.iter())?;
    /// assert_eq!(vehicles.clear()?, 1_000);
    /// assert_eq!((vehicles.len(), copy.len()), (0, 1_000));
    /// # Ok(())
    /// # }
    /// ```
    pub fn insert_many(&self, rows: impl IntoIterator<Item = (K, V)>) -> Result<usize, WriteError> {
        let encode = |(key, value): (K, V)| Ok((encode_key(&key)?, encode_value(&value)?));
        let rows: Vec<_> = rows.into_iter().map(encode).collect::<Result<_, RowError>>()?;
        let now = self.local.writable()?;
        self.opened.store.transact(now, |writer| {
            for (key, value) in &rows {
                writer.put(self.stored(), key, value, self.opened.config.ttl)?;
            }
            Ok(rows.len())
        })
    }

    /// Removes a row and returns what it held. Removing a row that is not there is no write and no error, nor is
    /// removing one of a foreign type: that returns `None` and is counted.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove(&self, key: &K) -> Result<Option<V>, WriteError> {
        let key = key_bytes(key)?;
        let now = self.local.writable()?;
        let old = self.opened.store.remove_in(now, &self.opened.stored, &key)?;
        Ok(old.and_then(|bytes| self.skipped.count(decode_value(&bytes))))
    }

    /// Reads a row and writes what `change` makes of it, with no other write of this node in between: `Some` puts,
    /// `None` removes, and giving back what was there is no write. It returns what the row holds then.
    ///
    /// It is atomic on this node only. Two nodes that update one row at the same time do not see each other, and one
    /// of the two results stays: for a number to which several nodes add, take a [`Counter`](crate::Counter).
    ///
    /// `change` runs while the store is locked: it must be quick, and using any table in it may never return. If it
    /// panics, nothing was changed.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
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
        let stored = self.stored();
        self.opened.store.transact(now, |writer| {
            let old: Option<Value> = writer.get(stored, &key);
            let (update, new) = updated(old.as_deref(), change)?;
            writer.apply(stored, &key, update, self.opened.config.ttl)?;
            Ok(new)
        })
    }
}

/// What an update comes to: what to do with the row, and what it holds then.
pub(super) fn updated<V: Serialize + DeserializeOwned>(
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
