//! With [`Balance::Even`], a cluster to which no member came and from which none went for a while hosts evenly.
//!
//! That is what users expect of a cluster that was left alone (the design, 6): after a crash, a restart or a newcomer no node
//! has two instances more than another that could take one and is not busier. Nothing is demanded of pinned instances, which
//! were moved less than a minute ago, nor of those that are spread over zones, which comes first.

use std::time::Duration;

use super::oracle::Oracle;
use super::{Invariant, NodeIndex, Scene, Verdict};
use crate::roles::{Balance, RoleSpec};
use crate::testkit::trial::Component;

/// How long the view must have been the same: calm, a second until the first member says so, and the moves.
const EVEN_AFTER: Duration = Balance::CALM.saturating_add(Duration::from_secs(8));

/// See the module.
pub(crate) struct Evenness;

impl Invariant for Evenness {
    fn name(&self) -> &'static str {
        "calm brings evenness"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let is_quiet = |component: &&Component| {
            scene.facts.is_calm(component, scene.now())
                && scene.now() > component.view_since + EVEN_AFTER
                && !scene.facts.hampered(component, component.view_since)
        };
        scene.facts.components.iter().filter(is_quiet).try_for_each(|component| judge(scene, &component.nodes))
    }
}

fn judge(scene: Scene<'_>, nodes: &[NodeIndex]) -> Verdict {
    let Some(oracle) = Oracle::new(scene.simulation, nodes) else { return Ok(()) };
    if oracle.picture.balance != Balance::Even {
        return Ok(());
    }
    let hosts = oracle.hosts(scene.simulation);
    let loads = oracle.loads(&hosts);
    for spec in oracle.picture.roles.iter().filter(|spec| spec.spread_over.is_none()) {
        let movable = |node: &&NodeIndex| oracle.claim(&spec.name, **node).is_some_and(|held| !held.claim.pinned);
        for from in hosts[&spec.name].iter().filter(movable) {
            let gains = |to: &&NodeIndex| loads[*to] + 2 <= loads[from] && oracle.load(**to) <= oracle.load(*from);
            let may_go = |spec: &RoleSpec, to: NodeIndex| oracle.may_go(&hosts, spec, to);
            if let Some(to) = loads.keys().filter(gains).find(|to| may_go(spec, **to)) {
                return Err(format!("{:?} could go from {from:?} to {to:?}: {loads:?}", spec.name));
            }
        }
    }
    Ok(())
}
