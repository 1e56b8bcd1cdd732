//! Reads: the same for every kind of value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frozen::Frozen;
use super::rows::Rows;
use super::{Scope, Table};
use crate::store::StoredTable;
use crate::table::{RowError, TableValue, fold, key_bytes};

impl<K, T: TableValue> Table<K, T> {
    /// The name of the table.
    pub fn name(&self) -> &str {
        &self.opened.name
    }

    /// Who has a copy of it.
    pub fn scope(&self) -> Scope {
        self.opened.config.scope.unwrap_or_default()
    }

    /// How many keys have a value, those of a foreign type included.
    pub fn len(&self) -> usize {
        match &self.opened.groups {
            Some(groups) => groups.len(),
            None => self.stored().len(),
        }
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes its keys and values take, encoded; what a [quota](super::TableConfig::quota) is compared with.
    pub fn bytes(&self) -> u64 {
        self.stored().bytes()
    }

    /// A sum over all rows: two nodes whose digests of a table are equal hold the same rows. Constant time.
    pub fn digest(&self) -> u64 {
        self.stored().digest()
    }

    /// How often this handle, its clones and their watches skipped a row that is not of the table's type. Above 0 it
    /// means that some node writes another schema under this name: give the new schema a name of its own.
    pub fn skipped(&self) -> u64 {
        self.skipped.rows()
    }

    pub(super) fn stored(&self) -> &StoredTable {
        &self.opened.stored
    }
}

impl<K: Serialize + DeserializeOwned, T: TableValue> Table<K, T> {
    /// What a key holds; `None` if nothing, or something that is not of this table's type (which is counted, see
    /// [`Table::skipped`]), or if the key is too long to be there.
    pub fn get(&self, key: &K) -> Option<T::Value> {
        // A key that cannot be encoded was never written.
        self.skipped.count(self.read(&key_bytes(key).ok()?))?
    }

    /// What a key holds, and an error where [`Table::get`] gives `None` for what is not of this table's type.
    ///
    /// # Errors
    /// [`RowError`]: the key does not fit into a row, or the row is of another schema.
    pub fn try_get(&self, key: &K) -> Result<Option<T::Value>, RowError> {
        self.read(&key_bytes(key)?)
    }

    /// Whether a key holds anything, of whatever type.
    pub fn contains_key(&self, key: &K) -> bool {
        key_bytes(key).is_ok_and(|key| match &self.opened.groups {
            Some(groups) => groups.contains(&key),
            None => self.stored().contains(&key),
        })
    }

    fn read(&self, key: &[u8]) -> Result<Option<T::Value>, RowError> {
        match &self.opened.groups {
            Some(groups) => fold::<T>(&groups.group(key)),
            None => self.stored().read(key, T::read_row).transpose(),
        }
    }

    /// The table at this moment: later writes do not change it. Cheap for [`Lww`](crate::Lww), as expensive as a walk
    /// through the table for the others.
    pub fn freeze(&self) -> Frozen<K, T> {
        Frozen::take(&self.opened, self.skipped.clone())
    }

    /// All keys and values as of now: a consistent picture that later writes do not change, ordered by the encoded keys.
    pub fn iter(&self) -> Rows<K, T::Value> {
        self.freeze().into_rows()
    }

    /// The keys and values of which `wanted` is true, at one moment, ordered by the encoded keys. It looks at all of them;
    /// see [`Table::index`] for a way around that.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-select").port(24_120).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use unisono::{Lww, Table};
    ///
    /// let levels: Table<String, Lww<u32>> = cluster.table("levels")?; // where each car stands
    /// levels.insert_many([("B-AB 123".to_owned(), 2), ("B-CD 456".to_owned(), 1)])?;
    /// assert_eq!(levels.select(|_, level| *level > 1), [("B-AB 123".to_owned(), 2)]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn select(&self, mut wanted: impl FnMut(&K, &T::Value) -> bool) -> Vec<(K, T::Value)> {
        self.iter().filter(|(key, value)| wanted(key, value)).collect()
    }
}
