//! Every start of a role has a fencing token above all of that role that its node had seen.
//!
//! A resource that refuses tokens below the highest it saw is what keeps two instances from harming it during a
//! partition (Kleppmann, "How to do distributed locking", 2016); it works only if later starts have higher tokens.

use std::collections::BTreeMap;

use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::roles::FencingToken;

/// See the module.
#[derive(Default)]
pub(crate) struct Fencing {
    /// The highest token of each role that a process saw.
    seen: BTreeMap<(ReplicaId, String), FencingToken>,
    /// The token of its own last start.
    own: BTreeMap<(ReplicaId, String), FencingToken>,
}

impl Invariant for Fencing {
    fn name(&self) -> &'static str {
        "a start has a token above all that its node saw"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        for node in scene.simulation.alive() {
            let Some(status) = scene.simulation.status(node) else { continue };
            for role in &status.roles {
                let key = (status.replica, role.spec.name.clone());
                let seen = self.seen.get(&key).copied();
                // What it claims shows when it started, which may be long before the task runs.
                let claim = role.hosts.iter().find(|host| host.replica == status.replica);
                if let Some(token) = claim.map(|host| host.token).filter(|token| token.replica == status.replica) {
                    let is_new = self.own.insert(key.clone(), token) != Some(token);
                    if is_new && seen.is_some_and(|seen| seen.as_u128() >= token.as_u128()) {
                        return Err(format!(
                            "{:?} was started with {token} at {node:?}, which had seen {seen:?}",
                            key.1
                        ));
                    }
                }
                if let Some(highest) = role.hosts.iter().map(|host| host.token).chain(seen).max() {
                    self.seen.insert(key, highest);
                }
            }
        }
        Ok(())
    }
}
