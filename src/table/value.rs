//! The value types that a table can have, as markers in its type.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One winner per key: of concurrent writes the one with the highest stamp stays, everywhere the same one.
///
/// This is the right type for rows that one node at a time writes, and for rows where a newer value replaces an older
/// one as a whole. A value that several nodes add to at once, a counter say, loses additions this way.
///
/// It is a marker and has no values: it stands in the type of a table, as in `Table<String, Lww<u32>>`.
pub struct Lww<V>(PhantomData<fn() -> V>);

impl<V> fmt::Debug for Lww<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lww")
    }
}

/// What can stand in the second place of a [`Table`](crate::cluster::Table): [`Lww`], and more to come. Only this crate
/// implements it, because replicas have to agree on how each one merges.
pub trait TableValue: sealed::Sealed + 'static {
    /// What one row holds.
    type Value: Serialize + DeserializeOwned;
}

impl<V: Serialize + DeserializeOwned + 'static> TableValue for Lww<V> {
    type Value = V;
}

mod sealed {
    pub trait Sealed {}
    impl<V> Sealed for super::Lww<V> {}
}
