//! In the end every key has the highest-ranked value of all writes that survived.
//!
//! The promise to the application: a write that was acknowledged, and whose holders did not all die, is there for ever,
//! unless a later one replaced or removed it.

use super::{Invariant, Scene, Verdict};
use crate::crdt::Rank;
use crate::store::Store;

/// See the module.
pub(crate) struct FinalValue;

impl Invariant for FinalValue {
    fn name(&self) -> &'static str {
        "the final value is the winner over every write that survived"
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        for node in scene.simulation.alive() {
            let store = scene.simulation.store(node);
            for key in scene.story.keys() {
                check(scene, store, key).map_err(|why| format!("{node:?}: key {key:?} {why}"))?;
            }
        }
        Ok(())
    }
}

/// Removed rows may be forgotten, so "absent" stands for a removal that ranks high enough. Where removals do not bind,
/// only those puts do that nobody removed, nor anything above them.
fn check(scene: Scene<'_>, store: &Store, key: &str) -> Verdict {
    let mut written = scene.story.of(key);
    let removals_bind = scene.facts.removals_bind();
    let all = written.clone();
    let removed = |rank: Rank| all.clone().any(|other| other.entry.is_tombstone() && other.entry.rank() > rank);
    let binding = written.clone().filter(|written| written.survives).map(|written| written.entry.rank());
    match store.get(scene.story.table(), key.as_bytes()) {
        Some(value) => {
            let least = binding.filter(|rank| removals_bind || (!rank.removal && !removed(*rank))).max();
            match written.find(|written| written.entry.value.as_ref() == Some(&value)) {
                None => Err(format!("holds {value:?}, which nobody wrote")),
                Some(author) if Some(author.entry.rank()) < least => {
                    Err(format!("holds {:?}, though {least:?} survived", author.entry))
                }
                Some(_) => Ok(()),
            }
        }
        None => match binding.filter(|rank| !rank.removal).max() {
            Some(rank) if !removed(rank) => Err(format!("is gone, though {rank:?} survived")),
            _ => Ok(()),
        },
    }
}
