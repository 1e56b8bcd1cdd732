//! Writes to tables whose values are made of shares: each replica puts its own, and removes what it saw.

use crdts::CvRDT;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Table, WriteError};
use crate::store::Writer;
use crate::table::{
    Bag, Counter, Group, Merge, MultiValue, Set, Share, TableValue, decode_value, encode_key, encode_value, fold,
    key_bytes, row_key, row_value, shares,
};

impl<K: Serialize + DeserializeOwned, T: TableValue> Table<K, T> {
    /// Removes everything that is there now, in one step; returns how many keys had a value. What other nodes write at
    /// the same time stays.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn clear(&self) -> Result<usize, WriteError> {
        let now = self.local.writable()?;
        self.opened.store.transact(now, |writer| {
            let keys = self.len();
            // The picture is let go before the first removal, which would copy what it shares with the table.
            let rows = self.stored().snapshot().iter();
            for (row, _) in rows {
                writer.remove(self.stored(), &row)?;
            }
            Ok(keys)
        })
    }

    /// Removes all shares of a key that this node has seen, and gives back what they made.
    fn remove_shares(&self, key: &K) -> Result<Option<T::Value>, WriteError> {
        self.write_shares(key, |_, writer, group| {
            for row in group.keys() {
                writer.remove(self.stored(), row)?;
            }
            Ok(self.skipped.count(fold::<T>(group)).flatten())
        })
    }

    /// Lets `write` change the shares of a key, of which it is given those that are there.
    fn write_shares<R>(
        &self,
        key: &K,
        write: impl FnOnce(&[u8], &mut Writer<'_>, &Group) -> Result<R, WriteError>,
    ) -> Result<R, WriteError> {
        let key = key_bytes(key)?;
        let now = self.local.writable()?;
        self.opened.store.transact(now, |writer| {
            // Under the lock: nothing changes a share between this and the write.
            let group = self.opened.groups.as_ref().map(|groups| groups.group(&key)).unwrap_or_default();
            write(&key, writer, &group)
        })
    }

    fn put_share(&self, writer: &mut Writer<'_>, key: &[u8], part: &[u8], payload: &[u8]) -> Result<(), WriteError> {
        let author = self.local.author;
        writer.put(self.stored(), &row_key(key, part, author.replica)?, &row_value(author, payload), None)?;
        Ok(())
    }

    /// Removes those shares of a key that `gone` picks.
    fn remove_where(
        &self,
        writer: &mut Writer<'_>,
        group: &Group,
        gone: impl Fn(&Share<'_>) -> bool,
    ) -> Result<bool, WriteError> {
        let mut removed = false;
        for (row, _) in group.keys().zip(shares(group)?).filter(|(_, share)| gone(share)) {
            removed |= writer.remove(self.stored(), row)?.is_some();
        }
        Ok(removed)
    }
}

impl<K, T> Table<K, Set<T>>
where
    K: Serialize + DeserializeOwned,
    T: Serialize + DeserializeOwned + Ord + 'static,
{
    /// Adds an element. It is a write also if the element is there: it then stays in spite of a removal elsewhere that has
    /// not seen this.
    ///
    /// # Errors
    /// [`WriteError`]; key and element together have to fit into a row's key.
    pub fn add(&self, key: &K, element: &T) -> Result<(), WriteError> {
        let element = encode_value(element)?;
        self.write_shares(key, |key, writer, _| self.put_share(writer, key, &element, &[]))
    }

    /// Takes an element out; returns whether it was in.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove(&self, key: &K, element: &T) -> Result<bool, WriteError> {
        let element = encode_value(element)?;
        self.write_shares(key, |_, writer, group| self.remove_where(writer, group, |share| share.part == element))
    }

    /// Takes out all elements that this node knows of, and returns them.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove_all(&self, key: &K) -> Result<Option<std::collections::BTreeSet<T>>, WriteError> {
        self.remove_shares(key)
    }

    /// Whether an element is in the set of a key.
    pub fn contains(&self, key: &K, element: &T) -> bool {
        let (Ok(key), Ok(element)) = (encode_key(key), encode_value(element)) else { return false };
        let group = self.opened.groups.as_ref().map(|groups| groups.group(&key)).unwrap_or_default();
        shares(&group).is_ok_and(|shares| shares.iter().any(|share| share.part == element))
    }
}

impl<K, V> Table<K, Bag<V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Adds a row to those of a key.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn insert(&self, key: &K, value: &V) -> Result<(), WriteError> {
        let value = encode_value(value)?;
        self.write_shares(key, |key, writer, _| self.put_share(writer, key, &name_of(&value), &value))
    }

    /// Removes one row of a key; returns whether it was there.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove(&self, key: &K, value: &V) -> Result<bool, WriteError> {
        let value = encode_value(value)?;
        self.write_shares(key, |_, writer, group| self.remove_where(writer, group, |share| share.payload == value))
    }

    /// Removes all rows of a key that this node knows of, and returns them.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove_all(&self, key: &K) -> Result<Option<Vec<V>>, WriteError> {
        self.remove_shares(key)
    }
}

/// What a row of a bag is called in the key of its share: 128 bits of hash, as the row may be larger than a key.
fn name_of(value: &[u8]) -> [u8; 16] {
    xxhash_rust::xxh3::xxh3_128(value).to_be_bytes()
}

impl<K: Serialize + DeserializeOwned> Table<K, Counter> {
    /// Adds to a counter, or takes away from it, and returns what it holds then as far as this node knows. A counter that
    /// nobody has added to begins at 0.
    ///
    /// # Errors
    /// [`WriteError::Overflow`] and others; nothing was changed.
    pub fn add(&self, key: &K, amount: i64) -> Result<i64, WriteError> {
        self.write_shares(key, |key, writer, group| {
            let own = self.local.author;
            let mut count = amount;
            let mut predecessors = Vec::new();
            for (row, share) in group.keys().zip(shares(group)?).filter(|(_, share)| share.author.node == own.node) {
                let is_own = share.author.replica == own.replica;
                // Who ran under this node's name before and will write no more: its share is ours to carry on.
                if is_own || writer.has_departed(share.author.replica) {
                    count = count.checked_add(decode_value(share.payload)?).ok_or(WriteError::Overflow)?;
                    predecessors.extend((!is_own).then_some(row));
                }
            }
            self.put_share(writer, key, &[], &encode_value(&count)?)?;
            for row in predecessors {
                writer.remove(self.stored(), row)?;
            }
            let group = self.opened.groups.as_ref().map(|groups| groups.group(key)).unwrap_or_default();
            Ok(fold::<Counter>(&group)?.unwrap_or_default())
        })
    }

    /// Removes a counter, which is then as if nobody had added to it, and returns what it held. A node that adds at the
    /// same time brings back all that it had counted itself.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove(&self, key: &K) -> Result<Option<i64>, WriteError> {
        self.remove_shares(key)
    }
}

impl<K, V> Table<K, MultiValue<V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Puts a value in the place of all that this node has seen.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn put(&self, key: &K, value: &V) -> Result<(), WriteError> {
        let value = encode_value(value)?;
        self.write_shares(key, |key, writer, group| {
            self.put_share(writer, key, &[], &value)?;
            self.remove_where(writer, group, |share| share.author.replica != self.local.author.replica)?;
            Ok(())
        })
    }

    /// Removes all values that this node has seen, and returns them.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove(&self, key: &K) -> Result<Option<Vec<V>>, WriteError> {
        self.remove_shares(key)
    }
}

impl<K, C> Table<K, Merge<C>>
where
    K: Serialize + DeserializeOwned,
    C: CvRDT + Default + Serialize + DeserializeOwned + 'static,
{
    /// Lets `change` write to the value of a key, beginning with the default where there is none, and returns what it
    /// gives back. No other write of this node comes between.
    ///
    /// `change` runs while the store is locked: it must be quick, and using any table in it may never return. If it
    /// panics, nothing was changed. It may only do what the type calls an update: what it takes away by other means comes
    /// back with the shares of others.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn update<R>(&self, key: &K, change: impl FnOnce(&mut C) -> R) -> Result<R, WriteError> {
        self.write_shares(key, |key, writer, group| {
            let mut whole = fold::<Merge<C>>(group)?.unwrap_or_default();
            let result = change(&mut whole);
            self.put_share(writer, key, &[], &encode_value(&whole)?)?;
            // What this node's former runs wrote is in the whole.
            let own = self.local.author;
            self.remove_where(writer, group, |share| {
                share.author.node == own.node && share.author.replica != own.replica
            })?;
            Ok(result)
        })
    }

    /// Merges a value from elsewhere into that of a key.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn merge(&self, key: &K, value: C) -> Result<(), WriteError> {
        self.update(key, |whole| whole.merge(value))
    }

    /// Removes the shares of a key that this node has seen, and returns what they made. A node that writes at the same time
    /// brings back all that it knew.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn remove(&self, key: &K) -> Result<Option<C>, WriteError> {
        self.remove_shares(key)
    }
}
