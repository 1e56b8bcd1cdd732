//! A converged component runs every role as often as asked for: never more, and after a while never less.
//!
//! What the whole is for (the design, 6): at most `count` instances within a converged component from convergence and
//! the stop grace on, at least `count` wherever enough nodes are. One more is allowed where a handover chose to overlap,
//! as long as a claim says so. Across a partition nothing is promised.

use std::collections::BTreeMap;
use std::time::Duration;

use super::oracle::Oracle;
use super::{Invariant, Scene, Verdict};
use crate::id::ReplicaId;
use crate::roles::ClaimState;
use crate::testkit::trial::Component;

/// How long after convergence superfluous instances may still be ending, besides what their tasks take for it.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long after convergence every instance must run.
pub(super) const START_GRACE: Duration = Duration::from_secs(5);

/// Too many instances of one role, in one view.
struct Excess {
    /// How many there should be.
    wanted: usize,
    since: Duration,
}

/// See the module.
#[derive(Default)]
pub(crate) struct RoleCount {
    /// Where there are too many, whatever else changes there: a view that converges on something new all the time, since
    /// tasks fail, say, still has to end what is too much.
    excesses: BTreeMap<(Vec<ReplicaId>, String), Excess>,
}

impl Invariant for RoleCount {
    fn name(&self) -> &'static str {
        "a converged component runs every role as often as asked for"
    }

    fn look(&mut self, scene: Scene<'_>) -> Verdict {
        let mut before = std::mem::take(&mut self.excesses);
        for component in &scene.facts.components {
            let Some(oracle) = Oracle::new(scene.simulation, &component.nodes) else { continue };
            for role in scene.facts.asked_names() {
                let key = (component.view.clone(), role.to_owned());
                let earlier = before.remove(&key);
                if let Some(excess) = look_at(scene, component, &oracle, role, earlier)? {
                    self.excesses.insert(key, excess);
                }
            }
        }
        let doubled = |node| Some((node, scene.simulation.doubled(node)?));
        match scene.simulation.alive().into_iter().find_map(doubled) {
            Some((node, role)) => Err(format!("{node:?} started {role:?} while a task of it ran there")),
            None => Ok(()),
        }
    }

    /// Exactly as often, as far as nothing is in the way, and only what was asked for.
    fn at_rest(&mut self, scene: Scene<'_>) -> Verdict {
        let Some(oracle) = Oracle::new(scene.simulation, &scene.simulation.alive()) else { return Ok(()) };
        let hosts = oracle.hosts(scene.simulation);
        for spec in oracle.picture.roles {
            if !scene.facts.is_asked(spec) {
                return Err(format!("nobody asked for {spec:?}"));
            }
            oracle.miscount(&hosts, spec).map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

fn look_at(
    scene: Scene<'_>,
    component: &Component,
    oracle: &Oracle<'_>,
    role: &str,
    earlier: Option<Excess>,
) -> Result<Option<Excess>, String> {
    let nodes = &component.nodes;
    let running = scene.simulation.running(role).iter().filter(|node| nodes.contains(node)).count();
    let spec = oracle.spec(role);
    let wanted = spec.map_or(0, |spec| oracle.wanted(spec));
    let lasts = scene.now() - component.since > START_GRACE && !scene.facts.hampered(component, component.since);
    if running < wanted && lasts {
        let hosts = oracle.hosts(scene.simulation);
        if let Some(why) = spec.and_then(|spec| oracle.miscount(&hosts, spec)) {
            return Err(format!("{why} in the converged component {nodes:?}"));
        }
    }
    let overlaps = |claim: &ClaimState| matches!(claim, ClaimState::Yielding { .. });
    let claims = oracle.picture.holdings.iter().filter(|holding| holding.role == role);
    let yielding = claims.filter(|holding| overlaps(&holding.claim.state)).count();
    if running <= wanted + yielding {
        return Ok(None);
    }
    let excess = earlier.filter(|excess| excess.wanted == wanted).unwrap_or(Excess { wanted, since: scene.now() });
    let lasted = scene.now() - excess.since;
    if lasted > STOP_GRACE + scene.facts.stop_grace && !scene.facts.hampered(component, excess.since) {
        return Err(format!(
            "{running} instances of {role:?} in the converged component {nodes:?}, which should run {wanted}"
        ));
    }
    Ok(Some(excess))
}
