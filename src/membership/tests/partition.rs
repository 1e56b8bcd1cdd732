//! Cuts, and how they heal.

use std::time::Duration;

use super::network::{Network, identity};
use crate::id::ReplicaId;
use crate::membership::{Liveness, Timing};

#[test]
fn halves_that_held_each_other_as_down_are_one_again_within_five_seconds() {
    for (size, seed) in [(2, 1), (2, 2), (20, 1), (20, 2), (20, 3)] {
        let mut network = Network::joined(size, &Timing::lan(), seed);
        for node in 0..size / 2 {
            network.side[node] = 1;
        }
        network.run_until(Duration::from_secs(40), |network| network.all_see(size / 2 - 1));
        network.run(Duration::from_secs(10));
        network.side.fill(0);
        let took = network.run_until(Duration::from_secs(5), Network::whole);
        println!("{size} nodes, seed {seed}: whole after {took:?}");
    }
}

#[test]
fn a_node_cut_off_from_everybody_comes_back() {
    let mut network = Network::joined(6, &Timing::lan(), 4);
    network.side[3] = 1;
    network.run_until(Duration::from_secs(40), |network| {
        network.counts().iter().enumerate().all(|(node, count)| *count == if node == 3 { 0 } else { 4 })
    });
    network.side[3] = 0;
    let took = network.run_until(Duration::from_secs(5), Network::whole);
    println!("back after {took:?}");
}

#[test]
fn a_node_that_lost_everybody_accuses_nobody_further() {
    let timing = Timing::lan();
    let mut network = Network::joined(3, &timing, 5);
    // Both others are suspected, and one is proved gone while the other's suspicion runs.
    network.side[0] = 1;
    network.act(0, |swim, now| swim.suspect(now, ReplicaId(2)));
    network.act(0, |swim, now| swim.declare_down(now, ReplicaId(2)));
    network.act(0, |swim, now| swim.declare_down(now, ReplicaId(3)));
    let sent = network.swim(0).stats();
    network.run(timing.suspicion * 2);
    assert_eq!(network.swim(0).stats().suspects_told, sent.suspects_told);
    assert!(network.swim(0).members().all(|(_, state)| state == Liveness::Down));
    assert_eq!(network.swim(0).identity(), &identity(0));
}
