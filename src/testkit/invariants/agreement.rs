//! Agreed means that every member of the view showed that very fingerprint.
//!
//! Roles start on agreement (the design, 5). Who took his own picture for everybody's would start what others already
//! run; each would find out a moment later and stop it again, and nobody but the role would have noticed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::testkit::NodeIndex;

/// See the module.
#[derive(Default)]
pub(crate) struct Agreement {
    /// Every fingerprint that a process showed since its start.
    shown: BTreeMap<ReplicaId, BTreeSet<String>>,
}

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "agreed is only what every member of the view showed"
    }

    fn at_status(&mut self, scene: Scene<'_>, node: NodeIndex) -> Verdict {
        let Some(status) = scene.simulation.status(node) else { return Ok(()) };
        let own = scene.simulation.store(node).replica();
        self.shown.entry(own).or_default().insert(status.fingerprint.clone());
        let mut view = status.members.iter().filter(|member| member.in_view && status.agreed);
        let showed = |replica| self.shown.get(&replica).is_some_and(|shown| shown.contains(&status.fingerprint));
        match view.find(|member| !showed(member.replica)) {
            Some(member) => {
                Err(format!("{node:?} agrees on {}, which {} never showed", status.fingerprint, member.node))
            }
            None => Ok(()),
        }
    }
}
