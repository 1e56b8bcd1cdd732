//! Twenty roles on five nodes, one of which dies, or which come one after the other.

use std::time::Duration;

use unisono::roles::RoleSpec;
use unisono::sabotage::Rule;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

use super::stories::options;

const SECOND: Duration = Duration::from_secs(1);

/// Twenty roles, whose names and so whose places are others with each seed.
struct Stage {
    simulation: Simulation,
    roles: Vec<RoleSpec>,
    broken: Vec<Rule>,
}

impl Stage {
    fn new(seed: u64, broken: &[Rule]) -> Self {
        let roles = (0..20).map(|number| RoleSpec::new(format!("gate-{seed}-{number}"))).collect();
        Self { simulation: Simulation::new(seed), roles, broken: broken.to_vec() }
    }

    fn add(&mut self) -> NodeIndex {
        let name = format!("n{}", self.simulation.nodes().len());
        let options = self.roles.iter().cloned().fold(options(&name, &self.broken), NodeOptions::role);
        self.simulation.add(options)
    }

    /// Lets time pass until each role runs once, and then until nothing moves any more.
    fn rest(&mut self) -> Result<(), String> {
        let well = |simulation: &Simulation| {
            simulation.all_converged() && self.roles.iter().all(|role| simulation.running(&role.name).len() == 1)
        };
        self.simulation.run_for(SECOND);
        self.simulation.run_until(30 * SECOND, well).map_err(|timeout| timeout.to_string())?;
        self.simulation.run_for(5 * SECOND);
        Ok(())
    }

    fn hosts(&self) -> Vec<Vec<NodeIndex>> {
        self.roles.iter().map(|role| self.simulation.running(&role.name)).collect()
    }
}

/// What ran on the others goes on there.
pub(super) fn one_dies(seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut stage = Stage::new(seed, broken);
    let nodes: Vec<NodeIndex> = (0..5).map(|_| stage.add()).collect();
    stage.rest()?;
    let before = stage.hosts();
    stage.simulation.kill(nodes[0]);
    stage.rest()?;
    for (before, after) in before.iter().zip(stage.hosts()) {
        if before[..] != nodes[..1] && *before != after {
            return Err(format!(
                "seed {seed}: a role moved from {before:?} to {after:?}, though only another node died"
            ));
        }
    }
    Ok(())
}

/// The first runs everything; each that comes takes its share. The bound is ⌈1.25 · mean⌉ + 1.
pub(super) fn one_after_the_other(seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut stage = Stage::new(seed, broken);
    for number in 1..=5 {
        let newest = stage.add();
        stage.rest()?;
        // What was moved may be moved again after a minute.
        stage.simulation.run_for(70 * SECOND);
        stage.rest()?;
        let bound = 25_usize.div_ceil(number) + 1;
        for node in stage.simulation.nodes() {
            let load = stage.hosts().iter().filter(|hosts| hosts[..] == [node]).count();
            if load > bound {
                return Err(format!("seed {seed}: {node:?} hosts {load} where {bound} is its share, with {newest:?}"));
            }
        }
    }
    Ok(())
}
