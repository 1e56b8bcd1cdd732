//! Memory, queues and packets stay within their bounds.
//!
//! A cluster in trouble is where queues fill: whatever grows with the trouble ends the process that the library was
//! embedded in. The limits of packets are kept by whoever sends (the design, 10), so none may be refused as too large.

use std::collections::BTreeMap;

use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::store::Digest;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct Caps {
    /// Repair sessions that each process had begun when it was at rest, and what it held.
    pulls: BTreeMap<ReplicaId, (u64, Digest)>,
}

impl Caps {
    fn node(&self, scene: Scene<'_>, node: NodeIndex) -> Verdict {
        let simulation = scene.simulation;
        let known = simulation.nodes().len();
        let streams = simulation.open_streams(node);
        let most = 8 * known + 40;
        if streams > most {
            return Err(format!("{streams} streams open at {node:?}, more than {most}"));
        }
        let Some(engine) = simulation.engine(node) else { return Ok(()) };
        let stats = engine.stats();
        // Who leaves closes its store first.
        let refused = if scene.facts.leaving.contains(&node) { 0 } else { stats.own_writes_refused };
        if stats.oversized > 0 || refused > 0 {
            return Err(format!("{node:?} made messages too large or rows that its own store refused: {stats:?}"));
        }
        let store = simulation.store(node).stats();
        if store.holds > engine.sessions() as u64 {
            return Err(format!(
                "{node:?} keeps tombstones for {} sessions and has {}",
                store.holds,
                engine.sessions()
            ));
        }
        // Every key once, live or removed, and a few rows of the system for each process there ever was.
        let most = scene.story.written().len() as u64 + scene.facts.processes * 24 + 96;
        if store.live + store.tombstones > most {
            return Err(format!("{node:?} holds more rows than were ever written: {store:?}"));
        }
        if let Some((bytes, limit)) = simulation.oversized(node) {
            return Err(format!("{node:?} sent {bytes} bytes where {limit} is the limit"));
        }
        Ok(())
    }
}

impl Invariant for Caps {
    fn name(&self) -> &'static str {
        "memory, queues and packets stay within their bounds"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        scene.simulation.alive().into_iter().try_for_each(|node| self.node(scene, node))
    }

    /// At rest nobody has anything to repair: asked twice, 1.5 s apart, and the count has hardly moved. (Member lists are
    /// compared every 10 s with those who remember a dead member that oneself forgot; who repairs without end does so four
    /// times a second. Where rows are still written, because a role comes
    /// back or a load is told, that is no rest.)
    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        self.look(scene)?;
        for node in scene.simulation.alive() {
            let Some(engine) = scene.simulation.engine(node) else { continue };
            let (pulls, holds) = (engine.stats().pulls, scene.simulation.store(node).digest());
            let before = self.pulls.insert(engine.replica(), (pulls, holds));
            let rested = before.filter(|(_, before)| *before == holds);
            if let Some((before, _)) = rested.filter(|(before, _)| pulls > before + 4) {
                return Err(format!("{node:?} still repairs at rest: {before}, then {pulls} sessions"));
            }
        }
        Ok(())
    }
}
