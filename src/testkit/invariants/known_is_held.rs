//! A node that knows a write holds it, or something that ranks higher, or removed it.
//!
//! Rule 5 of the replicated map: a dot in the context means that the store holds an entry of its key with at least its
//! rank, or that the entry was collected. Every fast path leans on it: who knows a dot is never sent it again. Other
//! delta-CRDT libraries lost nine keys of ten to its violation (delta_crdt_ex, issues 45 and 65).

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Invariant, Scene, Verdict};
use crate::crdt::{Context, Entry};
use crate::id::ReplicaId;
use crate::store::Store;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct KnownIsHeld {
    /// By process: how much of the story was looked at, and which of it was not known then.
    looked: BTreeMap<ReplicaId, (usize, Vec<usize>)>,
    checked_all: Duration,
}

impl Invariant for KnownIsHeld {
    fn name(&self) -> &'static str {
        "a write that is known is held, outranked or removed"
    }

    fn at_change(&mut self, scene: Scene<'_>, node: NodeIndex) -> Verdict {
        let store = scene.simulation.store(node);
        let written = scene.story.written();
        let (looked, unknown) = self.looked.entry(store.replica()).or_default();
        unknown.extend(*looked..written.len());
        *looked = written.len();
        if unknown.is_empty() {
            return Ok(());
        }
        let context = store.context();
        let (new, still) = unknown.drain(..).partition(|index| context.contains(written[*index].entry.dot));
        *unknown = still;
        let new: Vec<usize> = new;
        new.into_iter().try_for_each(|index| check(scene, node, store, &context, &written[index].key))
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        if scene.now() < self.checked_all + Duration::from_secs(1) {
            return Ok(());
        }
        self.checked_all = scene.now();
        self.at_rest(scene)
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        for node in scene.simulation.alive() {
            let store = scene.simulation.store(node);
            let context = store.context();
            scene.story.keys().try_for_each(|key| check(scene, node, store, &context, key))?;
        }
        Ok(())
    }
}

fn check(scene: Scene<'_>, node: NodeIndex, store: &Store, context: &Context, key: &str) -> Verdict {
    let known = || scene.story.of(key).filter(|written| context.contains(written.entry.dot));
    let removals = scene.facts.removals_bind();
    // Where removals do not bind, a put that some removal outranks binds nobody either: it may have been collected, and its
    // author forgotten, by whoever this node heard of the put from.
    let removed = |rank| scene.story.of(key).any(|other| other.entry.is_tombstone() && other.entry.rank() > rank);
    let highest = known().map(|written| &written.entry).max_by_key(|entry| (entry.rank(), entry.dot));
    let Some(highest) = highest else { return Ok(()) };
    // Of an author who left nothing behind it is forgotten that he removed something.
    let forgotten = |entry: &Entry| entry.is_tombstone() && !store.has_heard_of(entry.dot.replica);
    if scene.story.of(key).any(|other| other.entry.rank() > highest.rank() && forgotten(&other.entry)) {
        return Ok(());
    }
    if highest.is_tombstone() || !removals && removed(highest.rank()) {
        return Ok(());
    }
    let Some(value) = store.get(scene.story.table(), key.as_bytes()) else {
        return Err(format!("{node:?} knows {highest:?} of {key:?} and holds nothing"));
    };
    let held = scene.story.of(key).find(|written| written.entry.value.as_ref() == Some(&value));
    match held {
        None => Err(format!("{node:?} holds {value:?} under {key:?}, which nobody wrote there")),
        Some(held) if held.entry.rank() < highest.rank() => {
            Err(format!("{node:?} holds {:?} under {key:?}, though it knows {highest:?}", held.entry))
        }
        Some(_) => Ok(()),
    }
}
