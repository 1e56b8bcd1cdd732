//! What awaits: watches, and conditions on a table.

use std::ops::RangeBounds;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::watch::{Wanted, Watch};
use super::{Frozen, Rows, Table};
use crate::cluster::UntilError;
use crate::store::{self, ChangeSink};
use crate::table::{TableValue, decode_key, encode_key};

impl<K: Serialize + DeserializeOwned, T: TableValue> Table<K, T> {
    /// Changes from now on, of this node and of the others.
    ///
    /// A watcher never holds up a writer. One that is more than 1,024 changes behind misses the oldest and is told how
    /// many. Where a value is made of shares, each write of a share is a change of the value, also if the value stays the
    /// same.
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
    pub fn watch(&self) -> Watch<K, T::Value> {
        self.watch_those(None).1
    }

    /// Everything as of now, and the changes from now on: each write is in exactly one of the two.
    pub fn watch_with_rows(&self) -> (Rows<K, T::Value>, Watch<K, T::Value>) {
        let (frozen, watch) = self.watch_those(None);
        (frozen.into_rows(), watch)
    }

    /// What a key holds now, and its changes from now on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-watch-key").port(24_220).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use unisono::Counter;
    ///
    /// let passages = cluster.table::<String, Counter>("passages")?;
    /// let (now, mut changes) = passages.watch_key(&"gate-1".into());
    /// passages.add(&"gate-2".into(), 1)?;
    /// passages.add(&"gate-1".into(), 2)?;
    /// assert_eq!((now, changes.next().await.expect("the node lives")?.new), (None, Some(2)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_key(&self, key: &K) -> (Option<T::Value>, Watch<K, T::Value>) {
        let bytes = encode_key(key).ok().map(|bytes| bytes.to_vec());
        let (frozen, watch) = self.watch_those(Some(Box::new(move |key| bytes.as_deref() == Some(key))));
        (frozen.get(key), watch)
    }

    /// What the keys in a range hold now, ordered by their encoded keys, and their changes from now on.
    pub fn watch_range(
        &self,
        range: impl RangeBounds<K> + Clone + Send + Sync + 'static,
    ) -> (Rows<K, T::Value>, Watch<K, T::Value>)
    where
        K: Ord + 'static,
    {
        let wanted = range.clone();
        let is_wanted = move |key: &[u8]| decode_key::<K>(key).is_ok_and(|key| wanted.contains(&key));
        let (frozen, watch) = self.watch_those(Some(Box::new(is_wanted)));
        let rows = frozen.into_rows().filter(move |(key, _)| range.contains(key));
        (Rows::new(rows.map(Ok), self.skipped.clone()), watch)
    }

    fn watch_those(&self, wanted: Option<Wanted>) -> (Frozen<K, T>, Watch<K, T::Value>) {
        let groups = self.opened.groups.clone();
        let (watch, sink) = Watch::new::<T>(self.local.gone(), self.skipped.clone(), groups.clone(), wanted);
        let frozen = self.opened.store.attach(self.stored(), Arc::new(sink), |rows| match &groups {
            Some(groups) => Frozen::of_shares(groups.all(), self.skipped.clone()),
            None => Frozen::of_rows(rows, self.skipped.clone()),
        });
        (frozen, watch)
    }

    /// Waits until a key holds something, and gives that. Looks at once and after every change. Cancel safe.
    ///
    /// # Errors
    /// [`UntilError`]: it did not within `timeout`, or the node is gone.
    pub async fn until_exists(&self, key: &K, timeout: Duration) -> Result<T::Value, UntilError> {
        self.until_some(timeout, || self.get(key)).await
    }

    /// Waits until `condition` is true of the table as it is at one moment, and gives that. Looks at once and after every
    /// change, or after several at a time if they come faster. Cancel safe.
    ///
    /// # Errors
    /// [`UntilError`]: it was not within `timeout`, or the node is gone.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-table-until").port(24_240).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use std::time::Duration;
    /// use unisono::Lww;
    ///
    /// let vehicles = cluster.table::<u32, Lww<u32>>("vehicles")?;
    /// let other = vehicles.clone();
    /// tokio::spawn(async move { (0..10).try_for_each(|number| other.insert(&number, &417)) });
    /// let rows = vehicles.until(Duration::from_secs(10), |rows| rows.len() == 10).await?;
    /// assert_eq!(rows.get(&9), Some(417));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn until(
        &self,
        timeout: Duration,
        mut condition: impl FnMut(&Frozen<K, T>) -> bool,
    ) -> Result<Frozen<K, T>, UntilError> {
        self.until_some(timeout, || Some(self.freeze()).filter(&mut condition)).await
    }

    async fn until_some<R>(&self, timeout: Duration, mut look: impl FnMut() -> Option<R>) -> Result<R, UntilError> {
        let changed = Arc::new(Notify::new());
        let gone = self.local.gone();
        self.opened.store.attach(self.stored(), Arc::new(Nudge(Arc::downgrade(&changed))), drop);
        let wait = async {
            loop {
                if let Some(found) = look() {
                    return Ok(found);
                }
                tokio::select! {
                    biased;
                    _ = gone.wait_for(|gone| *gone) => return Err(UntilError::Gone),
                    () = changed.notified() => {}
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.unwrap_or(Err(UntilError::Timeout { after: timeout }))
    }
}

/// Says that something changed to somebody who still waits.
struct Nudge(Weak<Notify>);

impl ChangeSink for Nudge {
    fn changed(&self, _: &store::Change) -> bool {
        self.0.upgrade().map(|changed| changed.notify_one()).is_some()
    }
}
