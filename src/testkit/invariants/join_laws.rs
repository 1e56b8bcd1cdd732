//! Merging is idempotent, commutative and associative: whoever hears everything ends the same, in whatever order.
//!
//! What makes it a CRDT (Shapiro, Preguiça, Baquero, Zawirski, 2011), tried here on states that a hurt cluster came to
//! and not only on those that a generator thinks of.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Invariant, Scene, Verdict};
use crate::crdt::Context;
use crate::id::ReplicaId;
use crate::store::{Row, Store, StoreConfig};
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct JoinLaws {
    looks: u32,
}

/// Dear, so that it is tried on every so-manieth look only.
const EVERY: u32 = 16;

impl Invariant for JoinLaws {
    fn name(&self) -> &'static str {
        "merging is idempotent, commutative and associative"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        self.looks += 1;
        if self.looks.is_multiple_of(EVERY) { self.at_rest(scene) } else { Ok(()) }
    }

    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        let nodes = scene.simulation.alive();
        if nodes.is_empty() { Ok(()) } else { check(scene, &nodes[..nodes.len().min(3)]) }
    }
}

fn check(scene: Scene<'_>, nodes: &[NodeIndex]) -> Verdict {
    let now = scene.simulation.now_at(nodes[0]);
    let states: Vec<Vec<Row>> = nodes.iter().map(|node| rows(scene.simulation.store(*node))).collect();
    let sabotage = scene.simulation.store(nodes[0]).sabotage();
    // Rows of owners outside the roster would be refused.
    let roster: BTreeSet<ReplicaId> = states.iter().flatten().filter_map(Row::owner).collect();
    let merged = |states: &mut dyn Iterator<Item = &Vec<Row>>| {
        let store = Arc::new(Store::new(StoreConfig { sabotage, ..StoreConfig::new(ReplicaId(1), 1) }));
        store.set_roster(&roster, 1);
        for state in states {
            store.merge(now, state.clone());
        }
        store
    };
    let sums = |store: &Arc<Store>| (store.digest().root, store.digest().owners);
    let there = sums(&merged(&mut states.iter()));
    let back = sums(&merged(&mut states.iter().rev()));
    let twice = sums(&merged(&mut states.iter().chain(states.iter().rev()).chain(&states)));
    // The first with what the others come to together.
    let others = rows(&merged(&mut states[1..].iter()));
    let grouped = sums(&merged(&mut [&states[0], &others].into_iter()));
    if [back, twice, grouped] != [there; 3] {
        return Err(format!("the states of {nodes:?} merge to {there:?}, {back:?}, {twice:?} and {grouped:?}"));
    }
    Ok(())
}

fn rows(store: &Arc<Store>) -> Vec<Row> {
    store.serve(&Context::default()).next_rows(usize::MAX).unwrap_or_default()
}
