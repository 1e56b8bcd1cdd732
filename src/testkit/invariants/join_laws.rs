//! Merging is idempotent, commutative and associative: whoever hears everything ends the same, in whatever order.
//!
//! What makes it a CRDT (Shapiro, Preguiça, Baquero, Zawirski, 2011), tried here on states that a hurt cluster came to
//! and not only on those that a generator thinks of.

use std::sync::Arc;

use super::{Invariant, Scene, Verdict};
use crate::crdt::Context;
use crate::id::ReplicaId;
use crate::sabotage::Sabotage;
use crate::store::{Row, Store, StoreConfig};
use crate::testkit::NodeIndex;
use crate::time::Now;

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
    let states: Vec<Vec<Row>> = nodes
        .iter()
        .map(|node| scene.simulation.store(*node).serve(&Context::default()).next_rows(usize::MAX).unwrap_or_default())
        .collect();
    let sabotage = scene.simulation.store(nodes[0]).sabotage();
    let merged = |states: &mut dyn Iterator<Item = &Vec<Row>>| merged(now, sabotage, states);
    let there = merged(&mut states.iter());
    let back = merged(&mut states.iter().rev());
    let twice = merged(&mut states.iter().chain(states.iter().rev()).chain(&states));
    if there != back || there != twice {
        return Err(format!("the states of {nodes:?} merge to {there:?}, {back:?} and {twice:?}"));
    }
    Ok(())
}

/// The sums over the live rows of a store that hears these states, one after the other.
fn merged(now: Now, sabotage: Sabotage, states: &mut dyn Iterator<Item = &Vec<Row>>) -> (u64, u64) {
    let store = Arc::new(Store::new(StoreConfig { sabotage, ..StoreConfig::new(ReplicaId(1), 1) }));
    for state in states {
        store.merge(now, state.clone());
    }
    let digest = store.digest();
    (digest.root, digest.owners)
}
