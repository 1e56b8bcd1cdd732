//! The value types that a table can have, as markers in its type.
//!
//! ```text
//!   Lww<V>             one row per key: the later write wins
//!   Set<T>, Bag<V>     a share per element and replica: an addition wins over a removal that did not see it
//!   Counter            a share per replica: the sum of what each counted
//!   MultiValue<V>      a share per replica: a write removes those it saw, concurrent ones stay
//!   Merge<C>           a share per replica: all of them merged
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use crdts::CvRDT;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lens::{RowError, decode_value};
use super::share::Share;

/// One winner per key: of concurrent writes the one with the highest stamp stays, everywhere the same one.
///
/// This is the right type for rows that one node at a time writes, and for rows where a newer value replaces an older
/// one as a whole. A value that several nodes add to at once loses additions this way: see [`Counter`] and [`Set`].
///
/// It is a marker and has no values: it stands in the type of a table, as in `Table<String, Lww<u32>>`.
pub struct Lww<V>(PhantomData<fn() -> V>);

/// A set per key, in which of a concurrent addition and removal of one element the addition wins.
///
/// A removal takes out what its node had seen; whoever adds the element at the same time elsewhere keeps it in. Each
/// element takes a row for each replica that added it; key and element together have 1,000 bytes, encoded.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = unisono::Cluster::builder().name("doc-set").port(24_000).start().await?;
/// # cluster.ready(std::time::Duration::from_secs(10)).await?;
/// use unisono::{Set, Table};
///
/// let tags: Table<String, Set<String>> = cluster.table("tags")?;
/// tags.add(&"B-AB 123".into(), &"electric".into())?;
/// tags.add(&"B-AB 123".into(), &"blue".into())?;
/// tags.remove(&"B-AB 123".into(), &"blue".into())?;
/// assert!(tags.get(&"B-AB 123".into()).unwrap().contains("electric"));
/// assert!(!tags.contains(&"B-AB 123".into(), &"blue".into()));
/// # Ok(())
/// # }
/// ```
pub struct Set<T>(PhantomData<fn() -> T>);

/// Several rows per key, each distinct one once: what a bag is to Erlang's users.
///
/// As [`Set`], but its rows need no order and may be as large as any value. They are read in the order of their bytes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = unisono::Cluster::builder().name("doc-bag").port(24_020).start().await?;
/// # cluster.ready(std::time::Duration::from_secs(10)).await?;
/// use unisono::{Bag, Table};
///
/// let stays: Table<String, Bag<(u32, u32)>> = cluster.table("stays")?; // when a car came and went
/// stays.insert(&"B-AB 123".into(), &(900, 930))?;
/// stays.insert(&"B-AB 123".into(), &(1_400, 1_445))?;
/// assert_eq!(stays.get(&"B-AB 123".into()).unwrap().len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct Bag<V>(PhantomData<fn() -> V>);

/// A whole number per key to which any node adds and from which any node takes away, at the same time if need be, also
/// across a split: nothing is lost.
///
/// Each replica counts on its own, and the value is the sum. When a process starts again under its node's name it takes
/// over what the former one counted, at its first write to that key after all members know all of it. (In one case that
/// is counted twice: if a split lasts until the other side is evicted, and over there is known more of the former run.)
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = unisono::Cluster::builder().name("doc-counter").port(24_040).start().await?;
/// # cluster.ready(std::time::Duration::from_secs(10)).await?;
/// use unisono::{Counter, Table};
///
/// let passages: Table<String, Counter> = cluster.table("passages")?;
/// passages.add(&"gate-1".into(), 3)?;
/// passages.add(&"gate-1".into(), -1)?;
/// assert_eq!(passages.get(&"gate-1".into()), Some(2));
/// # Ok(())
/// # }
/// ```
pub enum Counter {}

/// All values that were written at the same time: a write replaces those that its node had seen, and where two nodes
/// write without knowing of each other both values stay, until somebody writes again.
///
/// For values whose conflicts the application wants to settle by itself.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = unisono::Cluster::builder().name("doc-multi").port(24_060).start().await?;
/// # cluster.ready(std::time::Duration::from_secs(10)).await?;
/// use unisono::{MultiValue, Table};
///
/// let prices: Table<String, MultiValue<u32>> = cluster.table("prices")?;
/// prices.put(&"hour".into(), &150)?;
/// prices.put(&"hour".into(), &180)?;
/// assert_eq!(prices.get(&"hour".into()), Some(vec![180])); // several only after concurrent writes
/// # Ok(())
/// # }
/// ```
pub struct MultiValue<V>(PhantomData<fn() -> V>);

/// Any state-based CRDT as a row: what implements [`crdts::CvRDT`], the types of the `crdts` crate or one's own.
///
/// Each replica holds a share, and what is read is all of them merged. A write puts the merged whole into one's own share,
/// so a row takes as much room as its value for each replica that wrote it. The whole has at most 64 KiB, encoded.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cluster = unisono::Cluster::builder().name("doc-merge").port(24_080).start().await?;
/// # cluster.ready(std::time::Duration::from_secs(10)).await?;
/// use unisono::{Merge, Table};
///
/// let seen: Table<String, Merge<crdts::GSet<String>>> = cluster.table("seen")?;
/// seen.update(&"gate-1".into(), |cars| cars.insert("B-AB 123".into()))?;
/// seen.update(&"gate-1".into(), |cars| cars.insert("B-CD 456".into()))?;
/// assert!(seen.get(&"gate-1".into()).unwrap().contains(&"B-AB 123".into()));
/// # Ok(())
/// # }
/// ```
pub struct Merge<C>(PhantomData<fn() -> C>);

/// What can stand in the second place of a [`Table`](crate::cluster::Table): [`Lww`], [`Set`], [`Bag`], [`Counter`],
/// [`MultiValue`] and [`Merge`]. Only this crate implements it, because replicas have to agree on how each one merges.
pub trait TableValue: sealed::Sealed + 'static {
    /// What one key holds when it is read.
    type Value: 'static;

    /// How it is called in the name of its store table, and whether it is made of shares; `None`: one row per key.
    #[doc(hidden)]
    const SHARES: Option<&'static str>;

    /// The value of one key from its row.
    #[doc(hidden)]
    fn read_row(row: &[u8]) -> Result<Self::Value, RowError> {
        let _ = row;
        Err(RowError::Decode { what: "value", why: "it is made of shares".to_owned() })
    }

    /// The value of one key from its shares, of which there is one at least.
    #[doc(hidden)]
    fn fold(shares: &[Share<'_>]) -> Result<Self::Value, RowError> {
        let _ = shares;
        Err(RowError::Decode { what: "value", why: "it is not made of shares".to_owned() })
    }
}

impl<V: Serialize + DeserializeOwned + 'static> TableValue for Lww<V> {
    type Value = V;
    const SHARES: Option<&'static str> = None;

    fn read_row(row: &[u8]) -> Result<V, RowError> {
        decode_value(row)
    }
}

impl<T: Serialize + DeserializeOwned + Ord + 'static> TableValue for Set<T> {
    type Value = BTreeSet<T>;
    const SHARES: Option<&'static str> = Some("set");

    fn fold(shares: &[Share<'_>]) -> Result<BTreeSet<T>, RowError> {
        shares.chunk_by(|one, next| one.part == next.part).map(|same| decode_value(same[0].part)).collect()
    }
}

impl<V: Serialize + DeserializeOwned + 'static> TableValue for Bag<V> {
    type Value = Vec<V>;
    const SHARES: Option<&'static str> = Some("bag");

    fn fold(shares: &[Share<'_>]) -> Result<Vec<V>, RowError> {
        distinct(shares.iter().map(|share| share.payload))
    }
}

impl TableValue for Counter {
    type Value = i64;
    const SHARES: Option<&'static str> = Some("counter");

    fn fold(shares: &[Share<'_>]) -> Result<i64, RowError> {
        shares.iter().try_fold(0_i64, |sum, share| Ok(sum.saturating_add(decode_value(share.payload)?)))
    }
}

impl<V: Serialize + DeserializeOwned + 'static> TableValue for MultiValue<V> {
    type Value = Vec<V>;
    const SHARES: Option<&'static str> = Some("multi");

    fn fold(shares: &[Share<'_>]) -> Result<Vec<V>, RowError> {
        distinct(shares.iter().map(|share| share.payload))
    }
}

impl<C: CvRDT + Serialize + DeserializeOwned + 'static> TableValue for Merge<C> {
    type Value = C;
    const SHARES: Option<&'static str> = Some("merge");

    fn fold(shares: &[Share<'_>]) -> Result<C, RowError> {
        let mut values = shares.iter().map(|share| decode_value::<C>(share.payload));
        let nothing = || RowError::Decode { what: "value", why: "it has no share".to_owned() };
        let first = values.next().ok_or_else(nothing)??;
        values.try_fold(first, |mut whole, next| {
            whole.merge(next?);
            Ok(whole)
        })
    }
}

/// Each distinct payload once, decoded, in the order of the bytes.
fn distinct<'a, V: DeserializeOwned>(payloads: impl Iterator<Item = &'a [u8]>) -> Result<Vec<V>, RowError> {
    payloads.collect::<BTreeSet<_>>().into_iter().map(decode_value).collect()
}

macro_rules! marker {
    ($($name:ident),*) => { $(
        impl<V> fmt::Debug for $name<V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl<V> sealed::Sealed for $name<V> {}
    )* };
}

marker!(Lww, Set, Bag, MultiValue, Merge);

impl fmt::Debug for Counter {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl sealed::Sealed for Counter {}

mod sealed {
    pub trait Sealed {}
}
