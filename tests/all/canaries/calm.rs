//! A cluster that grows while nothing is lost, cut or killed: then much more must hold than under harm.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use unisono::engine::Event;
use unisono::id::ReplicaId;
use unisono::roles::RoleSpec;
use unisono::sabotage::Rule;
use unisono::testkit::{NodeIndex, Rng, Simulation};

use super::stories::options;

const SECOND: Duration = Duration::from_secs(1);

/// What must hold at every step.
#[derive(Default)]
struct Calm {
    roles: Vec<RoleSpec>,
    /// All fingerprints that each process ever showed.
    shown: BTreeMap<ReplicaId, BTreeSet<String>>,
    /// How many events of each node were looked at, and whether it was converged since its view changed.
    events: BTreeMap<NodeIndex, (usize, bool)>,
}

impl Calm {
    fn look(&mut self, simulation: &Simulation) -> Result<(), String> {
        for role in &self.roles {
            let running = simulation.running(&role.name);
            if running.len() > role.count as usize {
                return Err(format!("{} instances of {:?}: {running:?}", running.len(), role.name));
            }
        }
        for node in simulation.alive() {
            self.moves(simulation, node)?;
            let Some(status) = simulation.status(node) else { continue };
            self.shown.entry(status.replica).or_default().insert(status.fingerprint.clone());
        }
        for node in simulation.alive() {
            let Some(status) = simulation.status(node).filter(|status| status.agreed) else { continue };
            for member in status.members.iter().filter(|member| member.in_view) {
                if !self.shown.get(&member.replica).is_some_and(|shown| shown.contains(&status.fingerprint)) {
                    return Err(format!("{node:?} agrees on a fingerprint that {} never had", member.node));
                }
            }
        }
        Ok(())
    }

    /// A task is asked to stop only by a node that found all converged since its view changed the last time.
    fn moves(&mut self, simulation: &Simulation, node: NodeIndex) -> Result<(), String> {
        let (seen, converged) = self.events.entry(node).or_default();
        let events = simulation.events(node);
        for event in &events[*seen..] {
            match event {
                Event::Joined { .. } | Event::Rejoined { .. } | Event::Down { .. } => *converged = false,
                Event::Converged { .. } => *converged = true,
                Event::RoleStopped { role, .. } if !*converged => {
                    return Err(format!("{role:?} was stopped at {node:?} without convergence"));
                }
                _ => {}
            }
        }
        *seen = events.len();
        Ok(())
    }
}

/// Nodes join one after the other, and take over some of the roles that the first one runs.
pub(super) fn growth(seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut simulation = Simulation::new(seed);
    let mut roles = vec![RoleSpec::new("two").count(2)];
    roles.extend((0..8).map(|number| RoleSpec::new(format!("r{number}"))));
    let mut calm = Calm { roles: roles.clone(), ..Calm::default() };
    for number in 0..5 {
        let options = options(&format!("n{number}"), broken);
        simulation.add(roles.iter().fold(options, |options, role| options.role(role.clone())));
        let pause = Duration::from_millis(rng.between(100, 2_000) as u64);
        watch(&mut simulation, &mut calm, pause + if number == 0 { SECOND } else { Duration::ZERO })?;
    }
    watch(&mut simulation, &mut calm, 15 * SECOND)?;
    if !simulation.all_converged() {
        return Err("a calm cluster does not converge".to_owned());
    }
    for role in &roles {
        let running = simulation.running(&role.name).len();
        if running != role.count as usize {
            return Err(format!("{running} instances of {:?} in the end", role.name));
        }
    }
    Ok(())
}

/// One of four falls silent, and a fifth joins before anybody finds that out: nobody may agree in the silent one's name.
pub(super) fn one_is_mute(seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let nodes: Vec<_> = (0..4).map(|number| simulation.add(options(&format!("n{number}"), broken))).collect();
    let mut calm = Calm::default();
    watch(&mut simulation, &mut calm, 5 * SECOND)?;
    simulation.network().cut(&nodes[3..], &nodes[..3]).keep();
    let fifth = simulation.add(options("n4", broken));
    simulation.network().cut(&nodes[3..], &[fifth]).keep();
    watch(&mut simulation, &mut calm, 15 * SECOND)
}

fn watch(simulation: &mut Simulation, calm: &mut Calm, span: Duration) -> Result<(), String> {
    let mut complaint = None;
    let _ = simulation.run_until(span, |simulation| {
        complaint = calm.look(simulation).err();
        complaint.is_some()
    });
    complaint.map_or(Ok(()), Err)
}

#[test]
fn a_calm_cluster_grows() {
    for seed in 0..20 {
        growth(seed, &[]).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
