//! Every start of a role has a fencing token above all of that role that its node had seen.
//!
//! A resource that refuses tokens below the highest it saw is what keeps two instances from harming it during a
//! partition (Kleppmann, "How to do distributed locking", 2016); it works only if later starts have higher tokens.

use std::collections::BTreeMap;

use super::{Invariant, Scene, Verdict};
use crate::engine::Event;
use crate::id::ReplicaId;
use crate::roles::FencingToken;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct Fencing {
    /// The highest token of each role that a process saw.
    seen: BTreeMap<(ReplicaId, String), FencingToken>,
    /// How many events of each node were looked at.
    events: BTreeMap<NodeIndex, usize>,
}

impl Invariant for Fencing {
    fn name(&self) -> &'static str {
        "a start has a token above all that its node saw"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        for node in scene.simulation.alive() {
            let Some(status) = scene.simulation.status(node) else { continue };
            let events = scene.simulation.events(node);
            let from = self.events.insert(node, events.len()).unwrap_or(0);
            for event in &events[from..] {
                let Event::RoleStarted { role, token } = event else { continue };
                let seen = self.seen.get(&(status.replica, role.clone()));
                if token.replica == status.replica && seen.is_some_and(|seen| seen.as_u128() >= token.as_u128()) {
                    return Err(format!("{role:?} was started with {token} at {node:?}, which had seen {seen:?}"));
                }
            }
            for role in &status.roles {
                for host in &role.hosts {
                    let seen = self.seen.entry((status.replica, role.spec.name.clone())).or_insert(host.token);
                    *seen = host.token.max(*seen);
                }
            }
        }
        Ok(())
    }
}
