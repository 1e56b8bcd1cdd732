//! Rows in another order than that of their encoded keys: by the keys themselves, or by a function of the row.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::{Arc, Weak};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Table;
use super::rows::Rows;
use super::skipped::Skipped;
use crate::crdt::Value;
use crate::store::{self, ChangeSink, Key};
use crate::table::{Lww, Sight, View, decode_key, decode_value};

impl<K, V> Table<K, Lww<V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// The table in the order of its keys, with ranges, first and last. The order is kept from now on, with each change;
    /// setting it up looks at all rows and holds up writes for as long, so do it once, at the start. It takes about 100
    /// bytes a row besides the key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-ordered").port(24_180).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use unisono::Lww;
    ///
    /// let queue = cluster.table::<i32, Lww<String>>("queue")?.ordered();
    /// queue.insert_many([(30, "c".to_owned()), (-1, "a".to_owned()), (7, "b".to_owned())])?;
    /// assert_eq!(queue.first(), Some((-1, "a".to_owned())));
    /// assert_eq!(queue.range(0..30).count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ordered(&self) -> Ordered<K, V>
    where
        K: Ord + Clone + Send + Sync + 'static,
    {
        let skipped = self.skipped.clone();
        let view = self.view(move |key, _| skipped.count(decode_key::<K>(key)));
        Ordered { table: self.clone(), view }
    }

    /// The rows by what `of` makes of them: all rows of one colour, say, or those between two dates. Kept up with each
    /// change, as with [`Table::ordered`]. `of` runs while the store is locked: it must be quick and must not use any
    /// table. A row for which it panics is left out and counted, see [`Index::left_out`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cluster = unisono::Cluster::builder().name("doc-index").port(24_200).start().await?;
    /// # cluster.ready(std::time::Duration::from_secs(10)).await?;
    /// use unisono::Lww;
    ///
    /// let cars = cluster.table::<String, Lww<(u32, String)>>("cars")?; // where, and which colour
    /// let by_colour = cars.index(|_, (_, colour)| colour.clone());
    /// cars.insert(&"B-AB 123".into(), &(417, "red".into()))?;
    /// cars.insert(&"B-CD 456".into(), &(23, "blue".into()))?;
    /// assert_eq!(by_colour.get(&"red".into()).next().unwrap().0, "B-AB 123");
    /// # Ok(())
    /// # }
    /// ```
    pub fn index<I>(&self, of: impl Fn(&K, &V) -> I + Send + Sync + 'static) -> Index<K, V, I>
    where
        I: Ord + Clone + Send + Sync + 'static,
    {
        let skipped = self.skipped.clone();
        let view = self.view(move |key, value| {
            let (key, value) = (skipped.count(decode_key(key))?, skipped.count(decode_value(value))?);
            Some(of(&key, &value))
        });
        Index { view, skipped: self.skipped.clone(), types: PhantomData }
    }

    fn view<I>(&self, sort: impl Fn(&Key, &Value) -> Option<I> + Send + Sync + 'static) -> Arc<View<I>>
    where
        I: Ord + Clone + Send + Sync + 'static,
    {
        let view = Arc::new(View::new(sort));
        self.opened.store.attach_from_start(self.stored(), Arc::new(WhileRead(Arc::downgrade(&view))));
        view
    }
}

/// Keeps a view up to date for as long as somebody reads it.
struct WhileRead<I>(Weak<View<I>>);

impl<I: Ord + Clone + Send + Sync> ChangeSink for WhileRead<I> {
    fn changed(&self, change: &store::Change) -> bool {
        self.0.upgrade().is_some_and(|view| view.changed(change))
    }
}

/// A table whose rows can be read in the order of their keys; see [`Table::ordered`]. Everything else is as with the
/// table, to which it dereferences.
pub struct Ordered<K, V> {
    table: Table<K, Lww<V>>,
    view: Arc<View<K>>,
}

impl<K, V> Ordered<K, V>
where
    K: Serialize + DeserializeOwned + Ord + Clone + Send + Sync + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// The rows whose keys lie in a range, in order, as of one moment.
    pub fn range(&self, range: impl RangeBounds<K>) -> Rows<K, V> {
        rows(self.view.range(range), &self.table.skipped)
    }

    /// All rows in the order of their keys, as of one moment.
    pub fn iter(&self) -> Rows<K, V> {
        self.range(..)
    }

    /// The row with the lowest key.
    pub fn first(&self) -> Option<(K, V)> {
        self.find(|row| self.view.next(row))
    }

    /// The row with the highest key.
    pub fn last(&self) -> Option<(K, V)> {
        self.find(|row| self.view.previous(row))
    }

    /// The first row on a way whose value can be read.
    fn find(&self, step: impl Fn(Option<&Sight<K>>) -> Option<Sight<K>>) -> Option<(K, V)> {
        let mut at = step(None)?;
        loop {
            match self.table.skipped.count(decode_value(&at.2)) {
                Some(value) => return Some((at.0, value)),
                None => at = step(Some(&at))?,
            }
        }
    }
}

impl<K, V> Deref for Ordered<K, V> {
    type Target = Table<K, Lww<V>>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

impl<K, V> Clone for Ordered<K, V> {
    fn clone(&self) -> Self {
        Self { table: self.table.clone(), view: Arc::clone(&self.view) }
    }
}

impl<K, V> fmt::Debug for Ordered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ordered").field(&self.table).finish()
    }
}

/// The rows of a table by a function of the row; see [`Table::index`]. It is kept up to date for as long as it, or a clone
/// of it, is there.
pub struct Index<K, V, I> {
    view: Arc<View<I>>,
    skipped: Skipped,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, I> Index<K, V, I>
where
    K: DeserializeOwned + 'static,
    V: DeserializeOwned + 'static,
    I: Ord + Clone + Send + Sync + 'static,
{
    /// The rows for which the function gives this, ordered by their encoded keys, as of one moment.
    pub fn get(&self, of: &I) -> Rows<K, V> {
        self.range((Bound::Included(of), Bound::Included(of)))
    }

    /// The rows for which the function gives something in this range, ordered by that, as of one moment.
    pub fn range<'a>(&self, range: impl RangeBounds<&'a I>) -> Rows<K, V>
    where
        I: 'a,
    {
        let owned = |bound: Bound<&&'a I>| bound.map(|of| (*of).clone());
        let range = (owned(range.start_bound()), owned(range.end_bound()));
        rows(self.view.range(range), &self.skipped)
    }

    /// How many rows there are in the index.
    pub fn len(&self) -> usize {
        self.view.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// How often a row was left out because the function panicked. Such rows are in the table, and not in here.
    pub fn left_out(&self) -> u64 {
        self.view.left_out()
    }
}

impl<K, V, I> Clone for Index<K, V, I> {
    fn clone(&self) -> Self {
        Self { view: Arc::clone(&self.view), skipped: self.skipped.clone(), types: PhantomData }
    }
}

impl<K, V, I> fmt::Debug for Index<K, V, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

fn rows<K, V>(found: Vec<(Key, Value)>, skipped: &Skipped) -> Rows<K, V>
where
    K: DeserializeOwned + 'static,
    V: DeserializeOwned + 'static,
{
    let decoded = found.into_iter().map(|(key, value)| Ok((decode_key(&key)?, decode_value(&value)?)));
    Rows::new(decoded, skipped.clone())
}
