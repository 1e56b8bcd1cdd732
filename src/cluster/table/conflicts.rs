//! Writes that lost against concurrent ones, as a stream.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use std::sync::Arc;

use super::Table;
use super::skipped::Skipped;
use crate::cluster::events::{Lagged, item};
use crate::driver::Reader;
use crate::id::ReplicaId;
use crate::store::{self, ConflictSink};
use crate::table::{Lww, decode_key, decode_value};

/// How many conflicts a reader may be behind before it misses some.
const CAPACITY: usize = 1_024;

/// A write of another node that lost against a concurrent one of this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict<K, V> {
    /// The key that both wrote to.
    pub key: K,
    /// What this node had put, and what the key holds everywhere; `None` if it was a removal that won.
    pub winner: Option<V>,
    /// What the other had put; `None` if it was a removal, or not of this table's type.
    pub loser: Option<V>,
    /// Who wrote what was lost.
    pub loser_by: ReplicaId,
}

/// The stream of [`Table::conflicts`].
pub struct Conflicts<K, V> {
    conflicts: broadcast::Receiver<store::Conflict>,
    gone: Reader<bool>,
    skipped: Skipped,
    types: std::marker::PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, Lww<V>>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned + 'static,
{
    /// Writes of others that lost against concurrent ones of this node, from now on. The author of the winner is the one
    /// who hears of it, so listen on all nodes to hear of all.
    ///
    /// What is told is exact: neither had seen the other. Some are never told: where the loser was replaced before it came
    /// here, or was brought by a repair after that.
    pub fn conflicts(&self) -> Conflicts<K, V> {
        let (sender, conflicts) = broadcast::channel(CAPACITY);
        self.stored().watch_conflicts(Arc::new(Sink(sender)));
        let (gone, skipped) = (self.local.gone(), self.skipped.clone());
        Conflicts { conflicts, gone, skipped, types: std::marker::PhantomData }
    }
}

impl<K: DeserializeOwned, V: DeserializeOwned> Conflicts<K, V> {
    /// The next conflict, [`Lagged`] where the reader was more than 1,024 behind, and `None` once the node is gone and
    /// everything before was read.
    ///
    /// Cancel safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Conflict<K, V>, Lagged>> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.conflicts.recv() => item(received),
                _ = self.gone.wait_for(|gone| *gone) => None,
            };
            match received? {
                Ok(raw) => {
                    let Some(key) = self.skipped.count(decode_key(&raw.key)) else { continue };
                    let winner = raw.winner.as_ref().and_then(|row| decode_value(row).ok());
                    let loser = raw.loser.as_ref().and_then(|row| decode_value(row).ok());
                    return Some(Ok(Conflict { key, winner, loser, loser_by: raw.loser_by }));
                }
                Err(lagged) => return Some(Err(lagged)),
            }
        }
    }
}

impl<K, V> std::fmt::Debug for Conflicts<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conflicts").field("behind", &self.conflicts.len()).finish_non_exhaustive()
    }
}

struct Sink(broadcast::Sender<store::Conflict>);

impl ConflictSink for Sink {
    fn lost(&self, conflict: &store::Conflict) -> bool {
        self.0.send(conflict.clone()).is_ok()
    }
}
