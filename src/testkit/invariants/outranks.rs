//! A write ranks above everything that its author knew of its row.
//!
//! Whoever writes to a row that he sees means to replace it, whatever his clock shows and however far ahead the other's
//! was (rules 1 and 11 of the replicated map). A write that is acknowledged and ranks below
//! what its author saw would be undone by the first who holds both; so Cassandra and other stores that rank by the
//! host's clock alone lose updates when clocks differ (Kingsbury, "The trouble with timestamps", 2013).

use super::{Invariant, Scene, Verdict};
use crate::crdt::Entry;
use crate::testkit::NodeIndex;
use crate::testkit::trial::Written;

/// See the module.
pub(crate) struct Outranks;

impl Invariant for Outranks {
    fn name(&self) -> &'static str {
        "a write outranks what its author knew"
    }

    fn at_write(&mut self, scene: Scene<'_>, written: &Written) -> Verdict {
        let own = &written.entry;
        let is_author = |node: &NodeIndex| scene.simulation.store(*node).replica() == own.dot.replica;
        let Some(author) = scene.simulation.alive().into_iter().find(is_author) else { return Ok(()) };
        let context = scene.simulation.store(author).context();
        let others = scene.story.of(&written.key).map(|other| &other.entry).filter(|other| other.dot != own.dot);
        let known = others.filter(|other| context.contains(other.dot));
        // Where removals do not bind, an older row may have come back.
        let removal = known.clone().filter(|other| other.is_tombstone() && !scene.facts.removals_bind());
        let removed = removal.map(Entry::rank).max();
        match known.filter(|other| Some(other.rank()) > removed).find(|other| other.rank() >= own.rank()) {
            Some(other) => Err(format!("{author:?} wrote {own:?} to {:?} and knew {other:?}", written.key)),
            None => Ok(()),
        }
    }
}
