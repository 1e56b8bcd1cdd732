//! Agreed means that, by what a node holds, every member of its view reports the fingerprint that it computed itself.
//!
//! Roles start on agreement (the design, 5). Who took his own picture for everybody's would start what others already
//! run; each would find out a moment later and stop it again, and nobody but the role would have noticed.

use super::{Invariant, Scene, Verdict};
use crate::testkit::NodeIndex;

/// See the module.
pub(crate) struct Agreement;

impl Invariant for Agreement {
    fn name(&self) -> &'static str {
        "agreed is only what every member of the view reports"
    }

    fn at_change(&mut self, scene: Scene<'_>, node: NodeIndex) -> Verdict {
        let Some(engine) = scene.simulation.engine(node).filter(|engine| engine.agrees()) else { return Ok(()) };
        let own = engine.assignment().0;
        let reports = engine.reports();
        match engine.view().find(|member| reports.get(member) != Some(&own)) {
            Some(member) => {
                Err(format!("{node:?} agrees on {own}, and {member} reports {:?} to it", reports.get(&member)))
            }
            None => Ok(()),
        }
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        scene.simulation.alive().into_iter().try_for_each(|node| self.at_change(scene, node))
    }
}
