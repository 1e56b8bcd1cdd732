//! A table as it was at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::opened::Opened;
use super::rows::Rows;
use super::skipped::Skipped;
use crate::store::Snapshot;
use crate::table::{Group, TableValue, decode_key, encode_key, fold};

/// A table as it was when [`Table::freeze`](super::Table::freeze) was called.
pub struct Frozen<K, T> {
    state: State,
    skipped: Skipped,
    types: PhantomData<fn() -> (K, T)>,
}

enum State {
    Rows(Snapshot),
    Shares(BTreeMap<Box<[u8]>, Group>),
}

impl<K, T> Frozen<K, T> {
    pub(super) fn take(opened: &Opened, skipped: Skipped) -> Self {
        let state = match &opened.groups {
            Some(groups) => State::Shares(groups.all()),
            None => State::Rows(opened.stored.snapshot()),
        };
        Self { state, skipped, types: PhantomData }
    }

    pub(super) fn of_rows(snapshot: Snapshot, skipped: Skipped) -> Self {
        Self { state: State::Rows(snapshot), skipped, types: PhantomData }
    }

    pub(super) fn of_shares(groups: BTreeMap<Box<[u8]>, Group>, skipped: Skipped) -> Self {
        Self { state: State::Shares(groups), skipped, types: PhantomData }
    }

    /// How many keys had a value, those of a foreign type included.
    pub fn len(&self) -> usize {
        match &self.state {
            State::Rows(snapshot) => snapshot.len(),
            State::Shares(groups) => groups.len(),
        }
    }

    /// Whether no key had a value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Serialize + DeserializeOwned, T: TableValue> Frozen<K, T> {
    /// What a key held; see [`Table::get`](super::Table::get).
    pub fn get(&self, key: &K) -> Option<T::Value> {
        let key = encode_key(key).ok()?;
        self.skipped.count(match &self.state {
            State::Rows(snapshot) => snapshot.get(&key).map(|row| T::read_row(&row)).transpose(),
            State::Shares(groups) => groups.get(&*key).map(fold::<T>).transpose().map(Option::flatten),
        })?
    }

    /// All keys and values, ordered by the encoded keys.
    pub fn iter(&self) -> Rows<K, T::Value> {
        Self { state: self.state.share(), skipped: self.skipped.clone(), types: PhantomData }.into_rows()
    }

    pub(super) fn into_rows(self) -> Rows<K, T::Value> {
        match self.state {
            State::Rows(snapshot) => {
                Rows::new(snapshot.iter().map(|(key, row)| Ok((decode_key(&key)?, T::read_row(&row)?))), self.skipped)
            }
            State::Shares(groups) => {
                let folded = |(key, group): (Box<[u8]>, Group)| {
                    let value = fold::<T>(&group)?;
                    Ok((decode_key(&key)?, value))
                };
                let rows = groups.into_iter().map(folded).filter_map(|row| match row {
                    Ok((key, value)) => value.map(|value| Ok((key, value))),
                    Err(error) => Some(Err(error)),
                });
                Rows::new(rows, self.skipped)
            }
        }
    }
}

impl State {
    fn share(&self) -> Self {
        match self {
            Self::Rows(snapshot) => Self::Rows(snapshot.clone()),
            Self::Shares(groups) => Self::Shares(groups.clone()),
        }
    }
}

impl<K, T> fmt::Debug for Frozen<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frozen").field("len", &self.len()).finish_non_exhaustive()
    }
}
