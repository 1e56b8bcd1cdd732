//! What a change costs in a cluster at rest: a few rows in datagrams, and no session.

use std::time::Duration;

use unisono::engine::EngineStats;
use unisono::roles::RoleSpec;
use unisono::sabotage::Rule;
use unisono::testkit::{NodeIndex, NodeOptions, Simulation};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// For so long after a change its cost is counted: more than digests are sent at the busy pace.
const AFTER: Duration = Duration::from_millis(1_500);

fn at_rest(seed: u64, size: usize, broken: &[Rule]) -> (Simulation, Vec<NodeIndex>) {
    let mut simulation = Simulation::new(seed);
    let options =
        |number: usize| broken.iter().fold(NodeOptions::named(&format!("n{number}")), |all, rule| all.sabotage(*rule));
    let nodes = (0..size).map(|number| simulation.add(options(number))).collect();
    simulation.run_until(60 * SECOND, Simulation::all_converged).unwrap();
    // The first exchanges of member lists are sessions too.
    simulation.run_for(25 * SECOND);
    (simulation, nodes)
}

fn stats(simulation: &Simulation, nodes: &[NodeIndex]) -> Vec<EngineStats> {
    nodes.iter().map(|node| simulation.engine(*node).unwrap().stats()).collect()
}

/// What each node sent since then: sessions that it opened, and bytes of rows.
fn cost(simulation: &Simulation, nodes: &[NodeIndex], before: &[EngineStats]) -> Vec<(u64, u64)> {
    let after = stats(simulation, nodes);
    let each = before.iter().zip(&after);
    each.map(|(before, after)| (after.pulls - before.pulls, after.row_bytes - before.row_bytes)).collect()
}

/// One row changes that the picture is drawn from: a role is asked for that no node can build.
fn role_added(simulation: &mut Simulation, nodes: &[NodeIndex]) -> Vec<EngineStats> {
    let before = stats(simulation, nodes);
    simulation.add_role(nodes[0], RoleSpec::new("lamp").kind("lamp"));
    before
}

/// Every member answers a change with a report of its own: in a cluster of 50, fifty rows that all are to get.
#[test]
fn a_row_that_changes_opens_no_session() {
    for (size, seeds) in [(3, 0..3), (17, 0..2), (18, 0..6), (25, 0..6), (50, 0..3)] {
        for seed in seeds {
            let (mut simulation, nodes) = at_rest(seed, size, &[]);
            let before = role_added(&mut simulation, &nodes);
            simulation.run_for(AFTER);
            let cost = cost(&simulation, &nodes, &before);
            let (sessions, bytes) = (cost.iter().map(|cost| cost.0).max(), cost.iter().map(|cost| cost.1).max());
            assert_eq!(sessions, Some(0), "{size} nodes, seed {seed}: {cost:?}");
            // Each row goes to four members from each, in a crowd, or to all from its author; that of the role besides the
            // reports.
            let budget = (size as u64 + 6) * 4 * 120;
            assert!(bytes.unwrap() < budget, "{size} nodes, seed {seed}: {bytes:?} bytes of rows, {budget} allowed");
            assert!(simulation.all_converged());
        }
    }
}

/// Whoever misses a row differs from all others, who differ from it.
#[test]
fn a_row_that_is_lost_costs_one_session_of_the_node_that_lacks_it() {
    for size in [3, 5, 10, 17] {
        for seed in 0..5 {
            let (mut simulation, nodes) = at_rest(seed, size, &[]);
            let before = stats(&simulation, &nodes);
            let cut = simulation.network().cut_one_way(&nodes[..1], &nodes[1..2]);
            simulation.add_role(nodes[0], RoleSpec::new("lamp").kind("lamp"));
            simulation.run_for(10 * MS);
            cut.heal();
            simulation.run_for(AFTER);
            let sessions: Vec<_> = cost(&simulation, &nodes, &before).iter().map(|cost| cost.0).collect();
            assert!(sessions.iter().sum::<u64>() <= 2 && sessions[1] >= 1, "{size} nodes, seed {seed}: {sessions:?}");
            assert!(simulation.all_converged());
        }
    }
}

/// A change in a large cluster at rest, for the canaries.
pub(crate) fn change_in_a_crowd(seed: u64, broken: &[Rule]) -> Result<(), String> {
    let (mut simulation, nodes) = at_rest(seed, 25, broken);
    let before = role_added(&mut simulation, &nodes);
    simulation.run_for(AFTER);
    let sessions: u64 = cost(&simulation, &nodes, &before).iter().map(|cost| cost.0).sum();
    if sessions > 0 { Err(format!("{sessions} sessions were opened over a change at rest")) } else { Ok(()) }
}
