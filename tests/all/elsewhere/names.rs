//! Two live nodes of one name are both told; of a node that was started elsewhere in the place of a dead one nobody says so.

use std::time::Duration;

use unisono::engine::{Event, Phase};
use unisono::testkit::{Delay, NodeIndex, NodeOptions, Rule, Simulation};

use super::{MILLISECOND, SECOND, cluster};

/// What a node said of others that have its name: whether it keeps it.
fn told(simulation: &Simulation, node: NodeIndex) -> Vec<bool> {
    let events = simulation.events(node).iter();
    events.filter_map(|event| if let Event::NameTaken { keeps, .. } = event { Some(*keeps) } else { None }).collect()
}

/// The later one has the name, and it makes no difference that a fifth of the datagrams is lost.
#[test]
fn two_live_nodes_of_one_name_are_both_told_once() {
    for seed in 0..40 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        simulation.network().add(Rule::loss(if seed < 20 { 0.0 } else { 0.2 })).keep();
        let second = simulation.add(NodeOptions::named("n01"));
        simulation.run_for(120 * SECOND);
        assert_eq!(told(&simulation, nodes[1]), [false], "seed {seed}: who had the name");
        assert_eq!(told(&simulation, second), [true], "seed {seed}: who has it now");
        let others = [nodes[0], nodes[2]].map(|node| told(&simulation, node).len());
        assert_eq!(others, [0, 0], "seed {seed}");
    }
}

/// A node whose clock is behind is refused as long as the other lives: it knows why, and waits.
#[test]
fn who_comes_with_a_name_that_is_taken_is_refused_told_and_let_in_once_it_is_free() {
    for seed in 0..20 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        let second = simulation.add(NodeOptions::named("n01").skew_ms(-60_000));
        simulation.run_for(40 * SECOND);
        assert_eq!(told(&simulation, nodes[1]), [true], "seed {seed}");
        assert_eq!(told(&simulation, second), [false], "seed {seed}");
        assert_eq!(simulation.status(second).unwrap().phase, Phase::Joining, "seed {seed}");
        assert!(simulation.converged(&nodes), "seed {seed}");
        let streams: usize = simulation.nodes().iter().map(|node| simulation.open_streams(*node)).sum();
        assert!(streams < 40, "seed {seed}: {streams} streams");
        simulation.kill(nodes[1]);
        simulation.run_until(30 * SECOND, |simulation| simulation.converged(&[nodes[0], nodes[2], second])).unwrap();
    }
}

/// A process dies, and its successor under the same name starts on another host within milliseconds, with a clock that is
/// right or wrong, while datagrams of the dead one are still under way and the others hold it for alive.
#[test]
fn a_node_that_moves_to_another_host_is_no_second_one() {
    for seed in 0..300 {
        let (mut simulation, nodes) = cluster(seed, 3, |options| options);
        simulation.network().set_base_delay(Delay::Exponential { mean: 20 * MILLISECOND });
        simulation.network().add(Rule::duplication(0.2)).keep();
        let others = [nodes[0], nodes[2]];
        match seed % 3 {
            0 => simulation.kill(nodes[1]),
            1 => simulation.unplug(nodes[1]),
            // As above, but one of the others stands still meanwhile, and comes back with what it believed.
            _ => {
                simulation.pause(nodes[2]);
                simulation.kill(nodes[1]);
            }
        }
        simulation.run_for(Duration::from_millis(seed % 40));
        let skew_ms = [0, -60_000, 60_000, -1_000][(seed / 3 % 4) as usize];
        let moved = simulation.add(NodeOptions::named("n01").skew_ms(skew_ms));
        simulation.run_for(Duration::from_millis(seed % 7 * 500));
        simulation.resume(nodes[2]);
        let there = [others[0], others[1], moved];
        simulation.run_until(60 * SECOND, |simulation| simulation.converged(&there)).unwrap();
        simulation.run_for(10 * SECOND);
        for node in there {
            assert_eq!(told(&simulation, node).len(), 0, "seed {seed}: {node:?}");
        }
    }
}
