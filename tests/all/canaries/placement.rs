//! Twenty roles on five nodes, one of which dies.

use std::time::Duration;

use unisono::roles::RoleSpec;
use unisono::sabotage::Rule;
use unisono::testkit::{NodeIndex, Simulation};

use super::stories::options;

const SECOND: Duration = Duration::from_secs(1);

/// What ran on the others goes on there.
pub(super) fn one_dies(seed: u64, broken: &[Rule]) -> Result<(), String> {
    let mut simulation = Simulation::new(seed);
    let roles: Vec<RoleSpec> = (0..20).map(|number| RoleSpec::new(format!("gate-{number}"))).collect();
    let with_roles = |number: usize| {
        let options = options(&format!("n{number}"), broken);
        roles.iter().cloned().fold(options, unisono::testkit::NodeOptions::role)
    };
    let nodes: Vec<NodeIndex> = (0..5).map(|number| simulation.add(with_roles(number))).collect();
    let well = |simulation: &Simulation| {
        simulation.all_converged() && roles.iter().all(|role| simulation.running(&role.name).len() == 1)
    };
    simulation.run_until(30 * SECOND, well).map_err(|timeout| timeout.to_string())?;
    simulation.run_for(5 * SECOND);
    let hosts = |simulation: &Simulation| roles.iter().map(|role| simulation.running(&role.name)).collect::<Vec<_>>();
    let before = hosts(&simulation);
    simulation.kill(nodes[0]);
    simulation.run_for(SECOND);
    simulation.run_until(30 * SECOND, well).map_err(|timeout| timeout.to_string())?;
    simulation.run_for(5 * SECOND);
    for (before, after) in before.iter().zip(hosts(&simulation)) {
        if before[..] != nodes[..1] && *before != after {
            return Err(format!(
                "seed {seed}: a role moved from {before:?} to {after:?}, though only another node died"
            ));
        }
    }
    Ok(())
}
